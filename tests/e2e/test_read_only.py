"""A function writes in /tmp; what it is made of stays as it was deployed."""

from tests.e2e.conftest import Deployer
from tests.e2e.worlds import World

PYTHON = """
    import os

    def outcome(path):
        try:
            with open(path, "a"):
                return "written"
        except PermissionError:
            return "refused"

    def handler(event, context):
        mine = f"/tmp/{context.aws_request_id}"
        paths = {"own": __file__, "new": os.environ["LAMBDA_TASK_ROOT"] + "/new", "tmp": mine}
        outcomes = {name: outcome(path) for name, path in paths.items()}
        os.remove(mine)
        return outcomes
"""
NODEJS = """
    import fs from "node:fs";
    const outcome = (path) => {
      try {
        fs.closeSync(fs.openSync(path, "a"));
        return "written";
      } catch (error) {
        return error.code === "EACCES" ? "refused" : error.code;
      }
    };
    export const handler = async (event, context) => {
      const mine = `/tmp/${context.awsRequestId}`;
      const own = import.meta.filename;
      const outcomes = { own: outcome(own), new: outcome(process.env.LAMBDA_TASK_ROOT + "/new"), tmp: outcome(mine) };
      fs.unlinkSync(mine);
      return outcomes;
    };
"""
EXPECTED = {"own": "refused", "new": "refused", "tmp": "written"}


def test_python(world: World, deploy: Deployer) -> None:
    assert world.invoke(deploy.function(PYTHON)).payload == EXPECTED


def test_nodejs(world: World, deploy: Deployer) -> None:
    assert world.invoke(deploy.function(NODEJS, runtime="nodejs22.x", timeout=10)).payload == EXPECTED

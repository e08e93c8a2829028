"""`funclet local --writable FOLDER`: where else a function may write on a developer's machine."""

import tempfile
from pathlib import Path

from tests.e2e.conftest import Deployer
from tests.e2e.worlds import LocalWorld

SOURCE = """
    def handler(event, context):
        try:
            with open(event["path"], "w") as file:
                file.write("by a function")
        except PermissionError:
            return "refused"
"""


def test_a_function_writes_where_the_command_line_says(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as outside:
        allowed, other = Path(outside, "allowed"), Path(outside, "other")
        allowed.mkdir()
        other.mkdir()
        world = LocalWorld(tmp_path, "--writable", str(allowed))
        try:
            function = Deployer(world).function(SOURCE)
            assert world.invoke(function, {"path": f"{allowed}/file"}).payload is None
            assert world.invoke(function, {"path": f"{other}/file"}).payload == "refused"
        finally:
            world.close()
        assert (allowed / "file").read_text() == "by a function"
        assert not any(other.iterdir())

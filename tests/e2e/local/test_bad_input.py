"""A wrong file is reported with its line; the rest goes on."""

from tests.e2e.conftest import Deployer
from tests.e2e.worlds import LocalWorld, eventually

WRONG_FIELD = """\
apiVersion: funclet.dev/v1
kind: Function
metadata: {name: wrong}
spec:
  runtime: python3.13
  handler: index.handler
  memorySize: 64
  code: {inline: "def handler(event, context): pass"}
"""


def test_a_wrong_value_is_reported_with_its_line(world: LocalWorld, deploy: Deployer) -> None:
    file = world.folder / "wrong-value.yaml"
    file.write_text(WRONG_FIELD)
    eventually(lambda: any(f"{file}:7: Function/wrong" in line for line in world.said))
    assert world.invoke(deploy.function("def handler(event, context): return 1")).payload == 1
    file.unlink()


def test_broken_yaml_is_reported_with_its_line(world: LocalWorld, deploy: Deployer) -> None:
    file = world.folder / "broken.yaml"
    file.write_text("apiVersion: funclet.dev/v1\nkind: Function\nmetadata: {name: broken\nspec: 1\n")
    eventually(lambda: any(line.startswith(f"{file}:") and "not YAML" in line for line in world.said))
    assert world.invoke(deploy.function("def handler(event, context): return 1")).payload == 1
    file.unlink()


def test_a_wrong_change_leaves_the_function_serving(world: LocalWorld, deploy: Deployer) -> None:
    function = deploy.function("def handler(event, context): return 1")
    deploy.function("def handler(event, context): return 2", name=function, timeout=0)
    eventually(lambda: any(f"Function/{function}" in line and "timeout" in line for line in world.said))
    assert world.invoke(function).payload == 1


def test_code_without_the_handler_is_reported_with_what_to_do(world: LocalWorld) -> None:
    file = world.folder / "no-handler.yaml"
    file.write_text(
        WRONG_FIELD.replace("  memorySize: 64\n", "").replace('{inline: "', '{files: {main.py: "').replace('"}', '"}}')
    )
    eventually(
        lambda: any(
            "Function default/wrong is not ready: InvalidCode" in line and "needs index.py" in line
            for line in world.said
        )
    )
    file.unlink()


def test_a_trigger_says_nothing_while_its_function_says_what_is_wrong(world: LocalWorld) -> None:
    file = world.folder / "no-handler-yet.yaml"
    wrong = WRONG_FIELD.replace("  memorySize: 64\n", "").replace("name: wrong", "name: not-yet")
    wrong = wrong.replace("inline: ", "files: {main.py: ").replace('"}', '"}}')
    trigger = "---\napiVersion: funclet.dev/v1\nkind: Trigger\nmetadata: {name: not-yet}\n"
    trigger += "spec: {function: {name: not-yet}, http: {path: /not-yet}}\n"
    file.write_text(wrong + trigger)
    eventually(lambda: any(line.startswith("Function default/not-yet is not ready") for line in world.said))
    file.write_text(wrong.replace("index.handler", "main.handler") + trigger)
    eventually(lambda: "Trigger default/not-yet is ready" in world.said)
    assert not [line for line in world.said if "Trigger default/not-yet is not ready" in line]
    file.unlink()

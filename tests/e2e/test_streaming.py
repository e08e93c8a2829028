"""InvokeWithResponseStream by boto3: pieces as they are made, errors half-way, and callers who want it whole."""

import base64
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.e2e.conftest import Deployer
from tests.e2e.worlds import World, eventually

EXAMPLE = Path(__file__).parents[2] / "examples" / "streaming"
SOURCE = """
    import json, os, time
    def handler(event, context):
        kind = event["kind"]
        return pieces(kind) if kind != "plain" else {"plain": True}

    def pieces(kind):
        print("telling")
        yield json.dumps(time.time()) + "\\n"
        if kind == "slow":
            time.sleep(1)
        if kind == "late":
            raise KeyError("late")
        if kind == "exit":
            os._exit(3)
        if kind == "endless":
            time.sleep(60)
        if kind == "large":
            for _ in range(20):
                yield b"x" * 1_000_000
        yield json.dumps(time.time()) + "\\n"
"""


def ask(world: World, function: str, kind: str, **more: Any) -> tuple[list[bytes], dict[str, str]]:
    """Pieces, and the last event."""
    answer = world.client.invoke_with_response_stream(FunctionName=function, Payload=json.dumps({"kind": kind}), **more)
    pieces: list[bytes] = []
    last: dict[str, str] = {}
    for event in answer["EventStream"]:
        if "PayloadChunk" in event:
            pieces.append(event["PayloadChunk"]["Payload"])
        else:
            last = event["InvokeComplete"]
    return pieces, last


@pytest.fixture
def function(deploy: Deployer) -> str:
    return deploy.function(SOURCE, timeout=3)


def test_pieces_arrive_while_the_function_runs(world: World, deploy: Deployer) -> None:
    function = deploy.function(SOURCE, timeout=70)
    answer = world.client.invoke_with_response_stream(FunctionName=function, Payload=json.dumps({"kind": "endless"}))
    made = next(iter(answer["EventStream"]))["PayloadChunk"]["Payload"]
    assert time.time() - float(made) < 30, "it runs for a minute"
    answer["EventStream"].close()


def test_the_log_comes_at_the_end(world: World, function: str) -> None:
    pieces, last = ask(world, function, "slow", LogType="Tail")
    assert len(pieces) == 2
    assert "telling\n" in base64.b64decode(last["LogResult"]).decode()
    assert "ErrorCode" not in last


def test_more_than_six_megabytes_can_be_streamed(world: World, deploy: Deployer) -> None:
    pieces, last = ask(world, deploy.function(SOURCE, timeout=60), "large")
    assert sum(map(len, pieces)) > 20_000_000
    assert last == {}


def test_a_caller_of_invoke_gets_it_whole(world: World, function: str) -> None:
    answer = world.client.invoke(FunctionName=function, Payload=json.dumps({"kind": "slow"}))
    assert len(answer["Payload"].read().splitlines()) == 2
    answer = world.client.invoke(FunctionName=function, Payload=json.dumps({"kind": "large"}))
    assert json.load(answer["Payload"])["errorType"] == "Function.ResponseSizeTooLarge"


def test_a_handler_that_does_not_stream_is_one_piece(world: World, function: str) -> None:
    (piece,), last = ask(world, function, "plain")
    assert (json.loads(piece), last) == ({"plain": True}, {})


@pytest.mark.parametrize(
    ("kind", "code"), [("late", "KeyError"), ("exit", "Runtime.ExitError"), ("endless", "Sandbox.Timedout")]
)
def test_what_fails_half_way_is_in_the_last_event(world: World, function: str, kind: str, code: str) -> None:
    pieces, last = ask(world, function, kind)
    assert len(pieces) == 1
    assert last["ErrorCode"] == code
    assert json.loads(last["ErrorDetails"])["errorType"] == code
    assert len(ask(world, function, "quick")[0]) == 2


def test_an_http_trigger_streams(world: World, deploy: Deployer) -> None:
    function = deploy.function(
        """
        import time
        def handler(event, context):
            return tell(event["pathParameters"]["who"]) if event["rawPath"] != "/no" else None

        def tell(who):
            yield {"statusCode": 201, "headers": {"Content-Type": "text/plain; charset=utf-8", "X-Who": who}}
            yield f"{time.time()}\\n"
            time.sleep(60)
    """,
        timeout=70,
    )
    path = f"/{function}"
    world.wait_ready("Trigger", deploy.trigger(function, http={"path": f"{path}/{{who}}"}))
    with httpx.stream("GET", f"{world.url}{path}/me", timeout=60) as answer:
        assert (answer.status_code, answer.headers["x-who"]) == (201, "me")
        made = next(answer.iter_lines())
        assert time.time() - float(made) < 30, "it runs for a minute"


def test_streams_are_metered(world: World, function: str) -> None:
    labels = {"namespace": world.namespace, "function": function}
    ask(world, function, "slow")
    eventually(lambda: world.metric("funclet_invocations_total", outcome="ok", **labels) == 1)
    assert world.metric("funclet_billed_milliseconds_total", **labels) >= 1000


def test_the_example_tells_its_story(world: World, deploy: Deployer) -> None:
    resource = yaml.safe_load((EXAMPLE / "function.yaml").read_text())
    deploy.apply("Function", "story", resource["spec"])
    world.wait_ready("Function", "story")
    command = [sys.executable, str(EXAMPLE / "read.py"), world.endpoint]
    told = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("Once upon a time there was a function ")

"""Whatever goes wrong inside of a function: the caller gets Lambda's error, and the next call works."""

import os
import signal
from typing import Any

import pytest
from tests.runtime.agent_client import REQUEST_ID, Agent, Connection, handler_pid, is_over, wait_until

TROUBLE = """
import os, subprocess, sys, time
def lambda_handler(event, context):
    print('doing', event)
    if event == 'raise':
        raise ValueError('bad value')
    if event == 'sleep':
        time.sleep(60)
    if event == 'exit':
        sys.exit(3)
    if event == 'leave':
        os._exit(0)
    if event == 'kill':
        os.kill(os.getpid(), 9)
    if event == 'set':
        return {1}
    if event == 'child':
        return subprocess.Popen(['sleep', '60']).pid
    return os.getpid()
"""


def exit_error(reason: str) -> dict[str, str]:
    return {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: {REQUEST_ID} Error: {reason}"}


def test_an_exception_has_lambdas_shape(agent: Agent) -> None:
    agent.specialise(TROUBLE)
    answer = agent.invoke("raise")
    assert answer.status == 200
    assert answer.headers["x-amz-function-error"] == "Unhandled"
    line = TROUBLE.splitlines().index("        raise ValueError('bad value')") + 1
    path = agent.task_root / "index.py"
    assert answer.json == {
        "errorMessage": "bad value",
        "errorType": "ValueError",
        "requestId": REQUEST_ID,
        "stackTrace": [f"  File \"{path}\", line {line}, in lambda_handler\n    raise ValueError('bad value')\n"],
    }
    assert agent.invoke("ok").json == handler_pid(agent)


@pytest.mark.parametrize(
    ("event", "kind", "message"),
    [
        (b'"set"', "Runtime.MarshalError", "Unable to marshal response: Object of type set is not JSON serializable"),
        (b"x", "Runtime.UnmarshalError", "Unable to unmarshal input: Expecting value"),
        (b'{"a": x}', "Runtime.UnmarshalError", "Unable to unmarshal input: Expecting value: line 1 column 7"),
        (b"{} {}", "Runtime.UnmarshalError", "Unable to unmarshal input: Extra data"),
        (b"\xff", "Runtime.UnmarshalError", "Unable to unmarshal input: 'utf-8' codec can't decode"),
        (
            b"{",
            "Runtime.UnmarshalError",
            "Unable to unmarshal input: Expecting property name enclosed in double quotes",
        ),
    ],
)
def test_what_is_not_json(agent: Agent, event: bytes, kind: str, message: str) -> None:
    agent.specialise(TROUBLE)
    answer = agent.invoke(body=event)
    assert answer.headers["x-amz-function-error"] == "Unhandled"
    assert answer.json["errorType"] == kind
    assert answer.json["errorMessage"].startswith(message)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ("exit", "Runtime exited with error: exit status 3"),
        ("leave", "Runtime exited without providing a reason"),
        ("kill", "Runtime exited with error: signal: killed"),
    ],
)
def test_a_crash_is_answered_and_the_next_call_gets_a_fresh_process(agent: Agent, event: str, reason: str) -> None:
    agent.specialise(TROUBLE)
    first = agent.invoke("ok").json
    answer = agent.invoke(event, x_amz_log_type="Tail")
    assert answer.headers["x-amz-function-error"] == "Unhandled"
    assert answer.json == exit_error(reason)
    assert agent.invoke("ok").json != first
    assert f"doing {event}\nEND RequestId: {REQUEST_ID}\nREPORT " in agent.log


def test_a_timeout_is_answered_and_the_next_call_gets_a_fresh_process(agent: Agent) -> None:
    agent.specialise(TROUBLE, timeout_seconds=1)
    first = agent.invoke("ok").json
    answer = agent.invoke("sleep")
    assert answer.headers["x-amz-function-error"] == "Unhandled"
    assert answer.headers["x-funclet-duration-us"] == "1000000"
    assert answer.json == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {REQUEST_ID} Error: Task timed out after 1.00 seconds",
    }
    assert agent.invoke("ok").json != first
    assert f"{REQUEST_ID} Task timed out after 1.00 seconds" in agent.log


def test_a_connection_that_waits_survives_the_crash_of_another_ones_invocation(agent: Agent) -> None:
    agent.specialise(TROUBLE, timeout_seconds=1)
    agent.invoke("ok")
    waiting = Connection(agent.slots[0])
    headers = {"x-funclet-token": "invoke-token", "lambda-runtime-aws-request-id": "second"}
    sleeping = agent.send("sleep")
    wait_until(lambda: "doing sleep" in agent.log)
    waiting.send("POST", "/invoke", b'"ok"', headers)
    assert sleeping.receive().json["errorType"] == "Sandbox.Timedout"
    assert waiting.receive().json == handler_pid(agent)
    waiting.close()


def test_idle_connections_survive_a_crash_between_invocations(agent: Agent) -> None:
    agent.specialise(TROUBLE)
    first = agent.invoke("ok").json
    wait_until(lambda: "REPORT" in agent.log)  # it is idle now, and not in the middle of the answer
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: "handler process ended" in agent.log)
    assert agent.invoke("ok").json != first


def test_what_a_function_started_does_not_outlive_its_process(agent: Agent) -> None:
    agent.specialise(TROUBLE)
    pid = agent.invoke("child").json
    agent.invoke("kill")
    wait_until(lambda: is_over(pid))


@pytest.mark.parametrize(
    ("files", "handler", "kind", "message"),
    [
        (
            {"index.py": "import nowhere\n"},
            "index.f",
            "Runtime.ImportModuleError",
            "Unable to import module 'index': No module named 'nowhere'",
        ),
        ({"index.py": "x = 1\n"}, "index.f", "Runtime.HandlerNotFound", "Handler 'f' missing on module 'index'"),
        ({"index.py": "def f(:\n"}, "index.f", "Runtime.UserCodeSyntaxError", "Syntax error in module 'index': "),
        ({"index.py": ""}, "index", "Runtime.MalformedHandlerName", "Bad handler 'index'"),
        ({"index.py": "raise KeyError('gone')\n"}, "index.f", "KeyError", "'gone'"),
        ({"index.py": "import os\nos._exit(7)\n"}, "index.f", "Runtime.ExitError", f"RequestId: {REQUEST_ID} Error: "),
    ],
)
def test_every_call_of_a_function_that_cannot_start_says_why(
    agent: Agent, files: dict[str, str], handler: str, kind: str, message: str
) -> None:
    agent.specialise(files, handler=handler)
    for _ in range(3):
        answer = agent.invoke()
        assert answer.headers["x-amz-function-error"] == "Unhandled"
        error: dict[str, Any] = answer.json
        assert error["errorType"] == kind
        assert error["errorMessage"].startswith(message)


def test_sigterm_lets_the_current_invocation_end(agent: Agent) -> None:
    agent.specialise(
        "import time\ndef lambda_handler(event, context):\n    print('on')\n    time.sleep(0.3)\n    return 1\n"
    )
    connection = agent.send()
    wait_until(lambda: "\non\n" in agent.log)
    agent.process.terminate()
    assert connection.receive().json == 1
    assert agent.process.wait(60) == 0

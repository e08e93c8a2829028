"""A runtime that the agent does not start: in a container beside it, as with functions that are packaged as images."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.agent_client import REQUEST_ID, Agent, wait_until
from tests.runtime.bootstraps import ECHO
from tests.runtime.pod import Pod

IMAGE: dict[str, Any] = {"runtime": "image", "handler": ""}


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    with Pod(tmp_path) as started:
        yield started


def start(pod: Pod, body: str, **changes: Any) -> Agent:
    """Both containers, and the agent specialised for the image's function."""
    pod.start_runtime(body)
    agent = pod.start_agent()
    answer = agent.specialise(b"", **IMAGE, **changes)
    assert answer.status == 200, answer.body
    return agent


def failure(reason: str) -> dict[str, str]:
    return {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: {REQUEST_ID} Error: {reason}"}


def test_it_serves_one_invocation_after_the_other(pod: Pod) -> None:
    agent = start(pod, ECHO)
    first, second = agent.invoke({"n": 1}), agent.invoke({"n": 2})
    assert (first.json["event"], second.json["event"]) == ({"n": 1}, {"n": 2})
    assert first.json["pid"] == second.json["pid"]
    assert int(first.headers["x-funclet-init-us"]) > 0
    assert "x-funclet-init-us" not in second.headers
    assert int(second.headers["x-funclet-max-memory-mib"]) > 0
    assert agent.status()["init"]["state"] == "succeeded"


def test_what_asked_before_the_instance_was_specialised_is_served(pod: Pod) -> None:
    pod.start_runtime(ECHO)
    agent = pod.start_agent()
    assert agent.status()["state"] == "generic"
    agent.specialise(b"", **IMAGE)
    assert agent.invoke("x").json["event"] == "x"


def test_a_second_specialisation_is_refused(pod: Pod) -> None:
    agent = start(pod, ECHO)
    assert agent.specialise(b"", **IMAGE).status == 409


def test_a_crash_is_told_and_ends_the_instance(pod: Pod) -> None:
    agent = start(pod, "next_invocation()\nos._exit(3)\n")
    answer = agent.invoke()
    assert answer.json == failure("Runtime exited without providing a reason")
    assert answer.headers["x-amz-function-error"] == "Unhandled"
    assert answer.headers["connection"] == "close"
    assert agent.process.wait(60) == 0
    assert "Status: error\tError Type: Runtime.ExitError" in agent.log


def test_a_timeout_is_told_and_ends_the_runtime_and_all_that_it_started(pod: Pod) -> None:
    body = "next_invocation()\nif os.fork() == 0:\n    os.setsid()\ntime.sleep(600)\n"
    runtime = pod.start_runtime(body)
    agent = pod.start_agent()
    agent.specialise(b"", **IMAGE, timeout_seconds=1)
    answer = agent.invoke()
    message = f"RequestId: {REQUEST_ID} Error: Task timed out after 1.00 seconds"
    assert answer.json == {"errorType": "Sandbox.Timedout", "errorMessage": message}
    assert runtime.wait(60) != 0
    assert agent.process.wait(60) == 0
    wait_until(lambda: pod.processes == ["sleep"])


def test_an_answer_is_whole_although_the_runtime_ends_right_after_it(pod: Pod) -> None:
    agent = start(pod, "request_id, _, event = next_invocation()\nrespond(request_id, 'x' * 5_000_000)\n")
    assert agent.invoke().json == "x" * 5_000_000
    assert agent.process.wait(60) == 0


@pytest.mark.parametrize("calls_first", [True, False])
def test_a_failed_init_phase_is_told_to_the_first_caller(pod: Pod, calls_first: bool) -> None:
    """Whether the call came before the end of the init phase or after it."""
    gate = pod.folder / "gate"
    runtime = pod.start_runtime(f"while not os.path.exists({str(gate)!r}):\n    time.sleep(0.01)\nos._exit(1)\n")
    agent = pod.start_agent()
    agent.specialise(b"", **IMAGE)
    if calls_first:
        connection = agent.send()
        gate.touch()
        answer = connection.receive()
    else:
        gate.touch()
        runtime.wait(60)
        wait_until(lambda: agent.status()["init"]["state"] == "failed")
        answer = agent.invoke()
    assert answer.json == failure("Runtime exited without providing a reason")
    assert agent.process.wait(60) == 0


def test_the_error_that_the_runtime_gives_for_its_init_phase_is_the_callers(pod: Pod) -> None:
    told = {"errorType": "Function.NoSuchModule", "errorMessage": "there is no app"}
    agent = start(
        pod, f"call('POST', '/init/error', json.dumps({told}), {{'Lambda-Runtime-Function-Error-Type': 'X'}})"
    )
    wait_until(lambda: agent.status()["init"]["state"] == "failed")
    assert agent.invoke().json == told
    assert agent.process.wait(60) == 0


def test_it_ends_in_order_when_it_is_asked_to(pod: Pod) -> None:
    body = "import signal\nsignal.signal(signal.SIGTERM, lambda *_: (print('bye', flush=True), os._exit(0)))\n"
    runtime = pod.start_runtime(body + ECHO)
    agent = pod.start_agent()
    agent.specialise(b"", **IMAGE)
    agent.invoke()
    pod.terminate_agent()
    assert runtime.wait(60) == 0
    assert agent.process.wait(60) == 0
    assert "bye" in pod.log


def test_the_log_has_lambdas_lines_and_not_the_functions(pod: Pod) -> None:
    """The function's own output goes to its own container's log."""
    agent = start(pod, ECHO)
    answer = agent.invoke("one", x_amz_log_type="Tail")
    tail = base64.b64decode(answer.headers["x-amz-log-result"]).decode()
    assert re.fullmatch(r"START .*\nEND .*\nREPORT .*Init Duration: [\d.]+ ms\t\n", tail)
    assert "event one" in pod.log


def test_processes_of_no_other_container_are_touched(pod: Pod) -> None:
    bystander = pod.run("sleep", "600")  # as the agent's own container has it from `kubectl exec`
    agent = start(pod, "next_invocation()\nos._exit(0)\n")
    agent.invoke()
    assert agent.process.wait(60) == 0
    assert bystander.poll() is None

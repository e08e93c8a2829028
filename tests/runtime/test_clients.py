"""AWS's own runtime clients, unmodified, each from its registry: the same story for all of them."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.runtime import builds
from tests.runtime.agent_client import REQUEST_ID, Agent, package

BUILD_SECONDS = 600
ERRORS = {
    "python": {"errorType": "ValueError", "errorMessage": "bad value"},
    "go": {"errorType": "errorString", "errorMessage": "bad value"},
}
"""What each language makes of the same error."""
STREAMING = ("go",)


@pytest.fixture(scope="module", params=builds.CLIENTS, ids=lambda client: str(client.name))
def function(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Agent]]:
    """One instance for the whole story, as on Lambda."""
    client: builds.Client = request.param
    code = package(builds.files_of(builds.build(client)))
    with Agent(tmp_path_factory.mktemp(client.name)) as agent:
        answer = agent.specialise(code, runtime=client.runtime, handler=client.handler, timeout_seconds=5)
        assert answer.status == 200, answer.body
        yield client.name, agent


pytestmark = pytest.mark.timeout(BUILD_SECONDS)


def test_the_handler_gets_event_and_context(function: tuple[str, Agent]) -> None:
    _, agent = function
    trace, context = "Root=1-5e1b4151-43a0913a12345678;Sampled=1", '{"custom":{"a":"b"}}'
    answer = agent.invoke({"n": "ü"}, lambda_runtime_trace_id=trace, lambda_runtime_client_context=context)
    assert "x-amz-function-error" not in answer.headers, answer.body
    seen: dict[str, Any] = answer.json
    assert 0 < seen.pop("remaining_ms") <= 5000
    assert seen == {
        "event": {"n": "ü"},
        "request_id": REQUEST_ID,
        "arn": "arn:aws:lambda:us-east-1:000000000000:function:hello",
        "name": "hello",
        "memory_mib": 128,
        "custom": {"a": "b"},
        "trace": trace,
    }
    assert int(answer.headers["x-funclet-init-us"]) > 0


def test_what_it_prints_is_in_the_log(function: tuple[str, Agent]) -> None:
    _, agent = function
    agent.invoke("good news")
    assert "good news" in agent.log.partition("doing")[2]


def test_an_error_is_the_languages_own(function: tuple[str, Agent]) -> None:
    name, agent = function
    answer = agent.invoke("fail")
    assert answer.headers["x-amz-function-error"] == "Unhandled"
    assert ERRORS[name].items() <= answer.json.items()
    assert agent.invoke(1).json["event"] == 1


def test_a_streamed_answer(function: tuple[str, Agent]) -> None:
    name, agent = function
    if name in STREAMING:
        assert agent.invoke("stream").body == b"one two three"


def test_an_exit_is_answered_for_and_the_next_call_works(function: tuple[str, Agent]) -> None:
    _, agent = function
    answer = agent.invoke("exit")
    message = f"RequestId: {REQUEST_ID} Error: Runtime exited with error: exit status 3"
    assert answer.json == {"errorType": "Runtime.ExitError", "errorMessage": message}
    assert agent.invoke(2).json["event"] == 2


def test_a_timeout_is_answered_for_and_the_next_call_works(function: tuple[str, Agent]) -> None:
    _, agent = function
    answer = agent.invoke("sleep")
    message = f"RequestId: {REQUEST_ID} Error: Task timed out after 5.00 seconds"
    assert answer.json == {"errorType": "Sandbox.Timedout", "errorMessage": message}
    assert agent.invoke(3).json["event"] == 3

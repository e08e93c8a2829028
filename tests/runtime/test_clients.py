"""AWS's own runtime clients, unmodified, each from its registry: the same story for all of them.

awslambdaric (Python), aws-lambda-ric (Node.js), aws-lambda-java-runtime-interface-client, aws-lambda-go, and for Rust
lambda_runtime.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.steps import run
from tests.runtime import builds
from tests.runtime.agent_client import REQUEST_ID, Agent, package

pytestmark = pytest.mark.timeout(900)
"""The first run on a machine builds them."""

TIMEOUT_SECONDS = 3
ERRORS = {
    "python": {"errorType": "ValueError", "errorMessage": "bad value"},
    "nodejs": {"errorType": "RangeError", "errorMessage": "bad value"},
    "java": {"errorType": "java.lang.IllegalArgumentException", "errorMessage": "bad value"},
    "go": {"errorType": "errorString", "errorMessage": "bad value"},
    "rust": {"errorMessage": "bad value"},
}
"""What each language makes of the same error."""


def start(language: builds.Language, folder: Path, *, runtime: Path | None = None, **changes: Any) -> Agent:
    """An instance that runs the language's function, by default with the runtime as it was built."""
    brings_own = language.runtime.startswith("provided")
    runtime = runtime or (folder / "no-runtime" if brings_own else builds.build_runtime(language))
    agent = Agent(folder, FUNCLET_RUNTIME_ROOT=str(runtime))
    code = package(builds.files_of(builds.build_function(language)))
    settings = {"runtime": language.runtime, "handler": language.handler, "timeout_seconds": TIMEOUT_SECONDS}
    answer = agent.specialise(code, **{**settings, **changes})
    assert answer.status == 200, answer.body
    return agent


@pytest.fixture(scope="module", params=builds.LANGUAGES, ids=lambda language: str(language.name))
def function(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Agent]]:
    """One instance for the whole story."""
    language: builds.Language = request.param
    with start(language, tmp_path_factory.mktemp(language.name)) as agent:
        yield language.name, agent


def test_the_handler_gets_event_and_context(function: tuple[str, Agent]) -> None:
    _, agent = function
    trace, context = "Root=1-5e1b4151-43a0913a12345678;Sampled=1", '{"custom":{"a":"b"}}'
    answer = agent.invoke({"n": "ü"}, lambda_runtime_trace_id=trace, lambda_runtime_client_context=context)
    assert "x-amz-function-error" not in answer.headers, answer.body
    seen: dict[str, Any] = answer.json
    assert 0 < seen.pop("remaining_ms") <= TIMEOUT_SECONDS * 1000
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


def test_an_exit_is_answered_for_and_the_next_call_works(function: tuple[str, Agent]) -> None:
    _, agent = function
    answer = agent.invoke("exit")
    message = f"RequestId: {REQUEST_ID} Error: Runtime exited with error: exit status 3"
    assert answer.json == {"errorType": "Runtime.ExitError", "errorMessage": message}
    assert agent.invoke(2).json["event"] == 2


def test_a_timeout_is_answered_for_and_the_next_call_works(function: tuple[str, Agent]) -> None:
    _, agent = function
    answer = agent.invoke("sleep")
    message = f"RequestId: {REQUEST_ID} Error: Task timed out after {TIMEOUT_SECONDS}.00 seconds"
    assert answer.json == {"errorType": "Sandbox.Timedout", "errorMessage": message}
    assert agent.invoke(3).json["event"] == 3


def streamed(agent: Agent, event: Any) -> tuple[bytes, dict[str, str]]:
    """What a caller gets who reads a stream: all pieces, and the trailers."""
    connection = agent.send(event, lambda_runtime_function_response_mode="streaming")
    assert connection.receive_head()["transfer-encoding"] == "chunked"
    pieces = b""
    while piece := connection.receive_chunk():
        pieces += piece
    return pieces, connection.receive_trailers()


def test_java_starts_from_the_archive_of_its_client(tmp_path: Path) -> None:
    """As in the image: train has run where the runtime is."""
    runtime = tmp_path / "var-runtime"
    shutil.copytree(builds.build_runtime(builds.JAVA), runtime)
    run([builds.RUNTIMES_FOLDER / "java" / "train", runtime])
    told = {"JAVA_TOOL_OPTIONS": "-Xlog:class+load"}
    with start(builds.JAVA, tmp_path, runtime=runtime, environment=told, timeout_seconds=30) as agent:
        assert agent.invoke(1).json["event"] == 1
        client = "com.amazonaws.services.lambda.runtime.api.client.AWSLambda source: shared objects file (top)"
        assert client in agent.log


PRELUDES = {
    "go": b"",
    "rust": b'{"statusCode":200,"headers":{"content-type":"application/octet-stream"},"cookies":[]}' + bytes(8),
}
"""lambda_runtime puts status and headers before every stream."""


@pytest.mark.parametrize("language", [builds.GO, builds.RUST], ids=lambda language: str(language.name))
def test_a_stream_comes_as_it_is_made(language: builds.Language, tmp_path: Path) -> None:
    gate, prelude = tmp_path / "gate", PRELUDES[language.name]
    with start(language, tmp_path, handler="index.stream") as agent:
        connection = agent.send({"gate": str(gate)}, lambda_runtime_function_response_mode="streaming")
        assert connection.receive_head()["transfer-encoding"] == "chunked"
        received = b""
        while len(received) < len(prelude + b"one "):
            received += connection.receive_chunk()
        assert received == prelude + b"one "
        gate.touch()
        while piece := connection.receive_chunk():
            received += piece
        assert received == prelude + b"one two three"
        assert "lambda-runtime-function-error-type" not in connection.receive_trailers()
        assert agent.invoke({"gate": str(gate)}).body == prelude + b"one two three"


def test_go_fails_in_the_middle_of_a_stream(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    with start(builds.GO, tmp_path, handler="index.stream") as agent:
        pieces, trailers = streamed(agent, {"gate": str(gate), "end": "fail"})
        assert pieces == b"one two "
        assert trailers["lambda-runtime-function-error-type"] == "errorString"
        broken = agent.invoke({"gate": str(gate), "end": "fail"})
        assert {"errorType": "errorString", "errorMessage": "half way"}.items() <= broken.json.items()


def test_nodejs_streams_its_answer_and_an_error_in_the_middle(tmp_path: Path) -> None:
    with start(builds.NODEJS, tmp_path, handler="index.stream") as agent:
        assert agent.invoke(1).body == b"one two three"
        broken = agent.invoke("fail")
        assert broken.headers["x-amz-function-error"] == "Unhandled"
        assert {"errorType": "RangeError", "errorMessage": "half way"}.items() <= broken.json.items()
        pieces, trailers = streamed(agent, 1)
        assert pieces == b"one two three"
        assert "lambda-runtime-function-error-type" not in trailers
        pieces, trailers = streamed(agent, "fail")
        assert pieces == b"one two "
        assert trailers["lambda-runtime-function-error-type"] == "RangeError"


@pytest.mark.parametrize(
    ("language", "handler", "kind"),
    [
        (builds.NODEJS, "nowhere.handle", "Runtime.ImportModuleError"),
        (builds.NODEJS, "index.nothing", "Runtime.HandlerNotFound"),
        (builds.JAVA, "Nowhere::handleRequest", "java.lang.ClassNotFoundException"),
    ],
    ids=["nodejs-module", "nodejs-function", "java-class"],
)
def test_a_handler_that_is_not_there(language: builds.Language, handler: str, kind: str, tmp_path: Path) -> None:
    with start(language, tmp_path, handler=handler) as agent:
        answer = agent.invoke()
        assert answer.headers["x-amz-function-error"] == "Unhandled"
        assert answer.json["errorType"] == kind

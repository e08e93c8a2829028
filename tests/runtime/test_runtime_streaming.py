"""Runtimes that stream through the Runtime API, to callers who read a stream."""

import base64
import json
from pathlib import Path

import pytest
from tests.runtime.agent_client import Agent, Connection, resident_mib
from tests.runtime.test_runtime_api import start

GATED = """
import base64
while True:
    request_id, headers, event = next_invocation()
    api.putrequest('POST', BASE + f'/invocation/{request_id}/response')
    api.putheader('Transfer-Encoding', 'chunked')
    api.putheader('Content-Type', 'text/plain')
    api.putheader('Lambda-Runtime-Function-Response-Mode', 'streaming')
    api.endheaders()
    def send(part):
        api.send(b'%x\\r\\n%b\\r\\n' % (len(part), part))
    send(b'one, ')
    if event['kind'] == 'exit':
        time.sleep(0.1)
        sys.exit(3)
    if event['kind'] == 'large':
        for _ in range(10):
            send(b'x' * 1_000_000)
    while not os.path.exists(event['gate']):
        time.sleep(0.005)
    send(b'two')
    api.send(b'0\\r\\n')
    if event['kind'] == 'fail':
        body = base64.b64encode(b'{"errorMessage":"half way","errorType":"Broken"}')
        api.send(b'Lambda-Runtime-Function-Error-Type: Broken\\r\\n')
        api.send(b'Lambda-Runtime-Function-Error-Body: ' + body + b'\\r\\n')
    api.send(b'\\r\\n')
    assert api.getresponse().read() == b'{"status":"OK"}\\n'
"""


def ask_for_stream(agent: Agent, kind: str, gate: Path) -> Connection:
    connection = agent.send(
        {"kind": kind, "gate": str(gate)}, lambda_runtime_function_response_mode="streaming", x_amz_log_type="Tail"
    )
    assert connection.receive_head()["content-type"] == "text/plain"
    return connection


def test_a_caller_who_reads_a_stream_gets_it_as_it_comes(agent: Agent, tmp_path: Path) -> None:
    start(agent, GATED)
    gate = tmp_path / "gate"
    connection = ask_for_stream(agent, "good", gate)
    assert connection.receive_chunk() == b"one, "
    gate.touch()
    assert [connection.receive_chunk() for _ in range(2)] == [b"two", b""]
    trailers = connection.receive_trailers()
    assert int(trailers["x-funclet-duration-us"]) > 0
    assert b"REPORT" in base64.b64decode(trailers["x-amz-log-result"])
    connection = ask_for_stream(agent, "fail", gate)
    assert [connection.receive_chunk() for _ in range(3)] == [b"one, ", b"two", b""]
    trailers = connection.receive_trailers()
    assert trailers["lambda-runtime-function-error-type"] == "Broken"
    assert json.loads(base64.b64decode(trailers["lambda-runtime-function-error-body"]))["errorMessage"] == "half way"


def test_a_streams_runtime_waits_for_its_caller(agent: Agent, tmp_path: Path) -> None:
    start(agent, GATED, timeout_seconds=60)
    gate = tmp_path / "gate"
    gate.touch()
    connection = ask_for_stream(agent, "large", gate)
    received = b""
    while chunk := connection.receive_chunk():
        received += chunk
        assert resident_mib(agent.process.pid) < 22
    assert received == b"one, " + b"x" * 10_000_000 + b"two"


@pytest.mark.parametrize(("kind", "error_type"), [("exit", "Runtime.ExitError"), ("wait", "Sandbox.Timedout")])
def test_a_stream_that_breaks_off_says_why(agent: Agent, tmp_path: Path, kind: str, error_type: str) -> None:
    start(agent, GATED)
    gate = tmp_path / "gate"
    connection = ask_for_stream(agent, kind, gate)
    assert [connection.receive_chunk() for _ in range(2)] == [b"one, ", b""]
    assert connection.receive_trailers()["lambda-runtime-function-error-type"] == error_type
    gate.touch()
    answer = agent.invoke({"kind": "good", "gate": str(gate)})
    assert answer.body == b"one, two"

"""The Runtime API as any `bootstrap` sees it, and what callers get of it."""

import base64
import json
import os
import re
import time
from typing import Any

import pytest
from tests.runtime.agent_client import REQUEST_ID, Agent, wait_until
from tests.runtime.bootstraps import ECHO, runtime

PROVIDED: dict[str, Any] = {"runtime": "provided.al2023", "handler": "any.thing"}


def start(agent: Agent, body: str, **changes: Any) -> None:
    answer = agent.specialise(runtime(body), **PROVIDED, **changes)
    assert answer.status == 200, answer.body


def failure(kind: str, reason: str) -> dict[str, str]:
    return {"errorType": kind, "errorMessage": f"RequestId: {REQUEST_ID} Error: {reason}"}


def test_an_invocation_goes_through_the_runtime(agent: Agent) -> None:
    start(agent, ECHO)
    trace, client = "Root=1-5e1b4151-43a0913a12345678;Sampled=1", '{"custom":{"a":"b"}}'
    before = time.time()
    answer = agent.invoke({"a": "ü"}, lambda_runtime_trace_id=trace, lambda_runtime_client_context=client)
    assert answer.status == 200
    assert "x-amz-function-error" not in answer.headers
    assert answer.json["event"] == {"a": "ü"}
    headers = answer.json["headers"]
    assert headers["lambda-runtime-aws-request-id"] == REQUEST_ID
    assert headers["lambda-runtime-invoked-function-arn"] == "arn:aws:lambda:us-east-1:000000000000:function:hello"
    assert headers["lambda-runtime-trace-id"] == trace
    assert headers["lambda-runtime-client-context"] == client
    assert headers["content-type"] == "application/json"
    deadline_ms = int(headers["lambda-runtime-deadline-ms"])  # rounded down
    assert int((before + 3) * 1000) <= deadline_ms <= (time.time() + 3) * 1000


def test_a_runtime_is_told_what_the_caller_named(agent: Agent) -> None:
    start(agent, ECHO)
    arn = "arn:aws:lambda:us-east-1:000000000000:function:hello:live"
    headers = agent.invoke({}, lambda_runtime_invoked_function_arn=arn).json["headers"]
    assert headers["lambda-runtime-invoked-function-arn"] == arn


def test_the_next_invocation_finds_the_same_runtime(agent: Agent) -> None:
    start(agent, ECHO)
    pids = {agent.invoke(i).json["pid"] for i in range(3)}
    assert len(pids) == 1


def test_the_first_answer_pays_for_the_init_phase(agent: Agent) -> None:
    start(agent, ECHO)
    first, second = agent.invoke(1), agent.invoke(2)
    assert int(first.headers["x-funclet-init-us"]) > 0
    assert "x-funclet-init-us" not in second.headers
    assert int(second.headers["x-funclet-duration-us"]) > 0
    assert int(second.headers["x-funclet-max-memory-mib"]) > 0
    assert agent.status()["init"]["state"] == "succeeded"


def test_the_log_has_lambdas_lines_and_ends_in_the_answer_if_asked(agent: Agent) -> None:
    start(agent, ECHO)
    agent.invoke("one")
    answer = agent.invoke("two", x_amz_log_type="Tail")
    tail = base64.b64decode(answer.headers["x-amz-log-result"]).decode()
    lines = tail.splitlines()
    assert lines[:3] == [f"START RequestId: {REQUEST_ID} Version: $LATEST", "event two", f"END RequestId: {REQUEST_ID}"]
    assert re.fullmatch(
        rf"REPORT RequestId: {REQUEST_ID}\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB"
        r"\tMax Memory Used: \d+ MB\t",
        lines[3],
    )
    assert tail in agent.log


ENVIRONMENT = """
while True:
    request_id, headers, event = next_invocation()
    respond(request_id, {'variables': dict(os.environ), 'folder': os.getcwd(), 'arguments': sys.argv})
"""


def test_the_environment_is_lambdas(agent: Agent) -> None:
    start(agent, ENVIRONMENT, environment={"GREETING": "hi", "AWS_REGION": "nowhere"})
    seen = agent.invoke().json
    variables = seen["variables"]
    expected = {
        "AWS_LAMBDA_FUNCTION_NAME": "hello",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/hello",
        "AWS_REGION": "us-east-1",
        "LAMBDA_TASK_ROOT": str(agent.task_root),
        "LAMBDA_RUNTIME_DIR": str(agent.runtime_root),
        "TZ": ":UTC",
        "_HANDLER": "any.thing",
        "GREETING": "hi",
    }
    assert expected.items() <= variables.items()
    assert variables["AWS_LAMBDA_RUNTIME_API"].startswith("127.0.0.1:")
    assert "AWS_EXECUTION_ENV" not in variables
    assert not [name for name in variables if name.startswith("FUNCLET_")]
    assert variables["LD_LIBRARY_PATH"].endswith(f"{agent.task_root}/lib:{agent.opt_root}/lib")
    assert variables["PATH"].endswith(f":{agent.opt_root}/bin")
    assert seen["folder"] == str(agent.task_root)


RULES = """
seen = []
seen.append(call('POST', '/invocation/none/response', '1')[::2])
request_id, headers, event = next_invocation()
seen.append(call('POST', '/invocation/other/response', '1')[::2])
seen.append(call('GET', '/invocation/next')[::2])
seen.append(call('POST', '/init/error', '{}')[::2])
seen.append(call('GET', '/nothing')[::2])
respond(request_id, [[status, json.loads(body)] for status, body in seen])
request_id, headers, event = next_invocation()
first = respond(request_id, 'x' * 6291556)[::2]
request_id, headers, event = next_invocation()
respond(request_id, [first[0], json.loads(first[1])])
next_invocation()
"""


def test_who_breaks_the_rules_is_told(agent: Agent) -> None:
    start(agent, RULES)
    refused = {"errorType": "InvalidStateTransition"}
    expected: list[tuple[int, dict[str, str]]] = [
        (403, refused),
        (400, {"errorType": "InvalidRequestID", "errorMessage": "Invalid request ID"}),
        (403, refused),
        (403, refused),
        (404, {}),
    ]
    for (status, body), (wanted, words) in zip(agent.invoke().json, expected, strict=True):
        assert status == wanted
        assert words.items() <= body.items()


def test_an_answer_that_is_too_large_is_the_functions_error(agent: Agent) -> None:
    start(agent, RULES)
    agent.invoke()
    answer = agent.invoke()
    assert answer.headers["x-amz-function-error"] == "Unhandled"
    message = "Response payload size exceeded maximum allowed payload size (6291556 bytes)."
    assert answer.json == {"errorType": "Function.ResponseSizeTooLarge", "errorMessage": message}
    status, body = agent.invoke().json
    assert (status, body["errorType"]) == (413, "RequestEntityTooLarge")


def test_six_megabytes_each_way(agent: Agent) -> None:
    start(agent, ECHO.replace("print('event', event)", ""))
    event = "x" * (6 * 1024 * 1024 - 1000)
    assert agent.invoke(event).json["event"] == event


STREAM = """
while True:
    request_id, headers, event = next_invocation()
    api.putrequest('POST', BASE + f'/invocation/{request_id}/response')
    api.putheader('Transfer-Encoding', 'chunked')
    api.putheader('Lambda-Runtime-Function-Response-Mode', 'streaming')
    api.putheader('Trailer', 'Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body')
    api.endheaders()
    for part in (b'"one ', b'two ', b'three"'):
        api.send(b'%x\\r\\n%b\\r\\n' % (len(part), part))
    api.send(b'0\\r\\n')
    if event == 'fail':
        import base64
        body = base64.b64encode(b'{"errorMessage":"half way","errorType":"Broken"}')
        api.send(b'Lambda-Runtime-Function-Error-Type: Broken\\r\\n')
        api.send(b'Lambda-Runtime-Function-Error-Body: ' + body + b'\\r\\n')
    api.send(b'\\r\\n')
    assert api.getresponse().read() == b'{"status":"OK"}\\n'
"""


def test_a_streamed_answer(agent: Agent) -> None:
    start(agent, STREAM)
    assert agent.invoke().json == "one two three"
    broken = agent.invoke("fail")
    assert broken.headers["x-amz-function-error"] == "Unhandled"
    assert broken.json == {"errorMessage": "half way", "errorType": "Broken"}
    assert agent.invoke().json == "one two three"


FAILING = """
while True:
    request_id, headers, event = next_invocation()
    print('doing', event)
    if event == 'error':
        body = json.dumps({'errorMessage': 'no', 'errorType': 'Refusal', 'stackTrace': []})
        call('POST', f'/invocation/{request_id}/error', body, {'Lambda-Runtime-Function-Error-Type': 'Handler.Refusal'})
        continue
    if event == 'exit':
        sys.exit(3)
    if event == 'leave':
        os._exit(0)
    if event == 'kill':
        os.kill(os.getpid(), 9)
    if event == 'sleep':
        time.sleep(60)
    if event == 'answer and exit':
        respond(request_id, os.getpid())
        sys.exit(1)
    respond(request_id, os.getpid())
"""


def test_a_functions_error_is_passed_on_as_it_is(agent: Agent) -> None:
    start(agent, FAILING)
    pid = agent.invoke("ok").json
    answer = agent.invoke("error", x_amz_log_type="Tail")
    assert answer.headers["x-amz-function-error"] == "Unhandled"
    assert answer.json == {"errorMessage": "no", "errorType": "Refusal", "stackTrace": []}
    tail = base64.b64decode(answer.headers["x-amz-log-result"]).decode()
    assert tail.rstrip("\n").endswith("\tStatus: error\tError Type: Handler.Refusal\t")
    assert agent.invoke("ok").json == pid


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ("exit", "Runtime exited with error: exit status 3"),
        ("leave", "Runtime exited without providing a reason"),
        ("kill", "Runtime exited with error: signal: killed"),
    ],
)
def test_a_runtime_that_dies_is_answered_for_and_replaced(agent: Agent, event: str, reason: str) -> None:
    start(agent, FAILING)
    pid = agent.invoke("ok").json
    answer = agent.invoke(event)
    assert answer.headers["x-amz-function-error"] == "Unhandled"
    assert answer.json == failure("Runtime.ExitError", reason)
    assert agent.invoke("ok").json != pid


def test_a_runtime_that_dies_after_its_answer_is_replaced(agent: Agent) -> None:
    start(agent, FAILING)
    pid = agent.invoke("answer and exit").json
    assert agent.invoke("ok").json != pid


def test_the_timeout_is_enforced(agent: Agent) -> None:
    start(agent, FAILING, timeout_seconds=1)
    pid = agent.invoke("ok").json
    began = time.monotonic()
    answer = agent.invoke("sleep", x_amz_log_type="Tail")
    assert time.monotonic() - began >= 1
    assert answer.headers["x-amz-function-error"] == "Unhandled"
    assert answer.json == failure("Sandbox.Timedout", "Task timed out after 1.00 seconds")
    assert int(answer.headers["x-funclet-duration-us"]) == 1_000_000
    tail = base64.b64decode(answer.headers["x-amz-log-result"]).decode()
    assert f"{REQUEST_ID} Task timed out after 1.00 seconds" in tail
    assert "\tStatus: timeout\t" in tail
    assert agent.invoke("ok").json != pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_runtime_that_cannot_start_says_why_to_every_caller(agent: Agent) -> None:
    body = "call('POST', '/init/error', json.dumps({'errorMessage': 'no such handler', 'errorType': 'Init.Error'}), "
    body += "{'Lambda-Runtime-Function-Error-Type': 'Runtime.NoSuchHandler'})\nsys.exit(1)\n"
    start(agent, body)
    for _ in range(2):
        answer = agent.invoke()
        assert answer.headers["x-amz-function-error"] == "Unhandled"
        assert answer.json == {"errorMessage": "no such handler", "errorType": "Init.Error"}
    assert "\tPhase: init\tStatus: error\tError Type: Runtime.NoSuchHandler\t" in agent.log
    assert agent.status()["init"]["state"] == "failed"


def test_a_runtime_that_exits_at_once(agent: Agent) -> None:
    start(agent, "sys.exit(4)")
    expected = failure("Runtime.ExitError", "Runtime exited with error: exit status 4")
    assert [agent.invoke().json for _ in range(2)] == [expected] * 2


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"index.py": ""}, "Couldn't find valid bootstrap(s): [{root}/task/bootstrap {root}/opt/bootstrap]"),
        ({"bootstrap": "echo"}, "fork/exec {root}/task/bootstrap: permission denied"),
        ({"bootstrap": b"\x7fELF nonsense"}, "fork/exec {root}/task/bootstrap: exec format error"),
        ({"bootstrap": "#!/no/such/shell\n"}, "fork/exec {root}/task/bootstrap: no such file or directory"),
    ],
)
def test_a_package_without_a_runtime(agent: Agent, files: dict[str, str | bytes], reason: str) -> None:
    agent.specialise(files, **PROVIDED)
    expected = failure("Runtime.InvalidEntrypoint", reason.format(root=agent.task_root.parent))
    assert [agent.invoke().json for _ in range(2)] == [expected] * 2


def test_an_init_phase_that_hangs_is_repeated_within_the_invocation(agent: Agent) -> None:
    """The init limit is Lambda's, 10 s: the first caller waits for its rest, then for the function's own timeout."""
    start(agent, "print('starting', flush=True)\ntime.sleep(60)", timeout_seconds=1)
    answer = agent.invoke()
    assert answer.json == failure("Sandbox.Timedout", "Task timed out after 1.00 seconds")
    assert agent.log.count("starting\n") == 2
    report = re.search(r"INIT_REPORT Init Duration: (\d+)\.\d\d ms\tPhase: init\tStatus: timeout\t\n", agent.log)
    assert report is not None
    assert int(report[1]) >= 10_000


def test_sigterm_lets_the_invocation_end_and_reaches_the_runtime(agent: Agent) -> None:
    body = """
import signal
def end(*_):
    print('goodbye')
    sys.exit()
signal.signal(signal.SIGTERM, end)
request_id, headers, event = next_invocation()
print('on', flush=True)
time.sleep(0.3)
respond(request_id, 'done')
next_invocation()
"""
    start(agent, body)
    connection = agent.send()
    wait_until(lambda: "\non\n" in agent.log)
    agent.process.terminate()
    assert connection.receive().json == "done"
    assert agent.process.wait(60) == 0
    assert "goodbye\n" in agent.log


def test_slots_are_environments_of_their_own(agent: Agent) -> None:
    start(agent, ECHO, concurrency=2)
    pids = {agent.invoke(slot=slot).json["pid"] for slot in (0, 1)}
    assert len(pids) == 2


def test_what_a_runtime_leaves_running_ends_with_it(agent: Agent) -> None:
    body = "import subprocess\nchild = subprocess.Popen(['sleep', '60']).pid\n"
    body += "request_id, *_ = next_invocation()\nrespond(request_id, child)\nsys.exit(1)\n"
    start(agent, body)
    child = agent.invoke().json

    def is_gone() -> bool:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return True
        return False

    wait_until(is_gone)


def test_json_log_lines(agent: Agent) -> None:
    start(agent, ECHO, log_format="JSON")
    answer = agent.invoke("x", x_amz_log_type="Tail")
    lines = base64.b64decode(answer.headers["x-amz-log-result"]).decode().splitlines()
    assert json.loads(lines[0])["type"] == "platform.start"
    assert json.loads(lines[-1])["record"]["status"] == "success"


def test_a_stranger_gets_nothing(agent: Agent) -> None:
    start(agent, ECHO)
    answer = agent.invoke(x_funclet_token="wrong")
    assert answer.status == 401
    assert agent.invoke("still there").json["event"] == "still there"

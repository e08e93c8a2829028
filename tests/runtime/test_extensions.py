"""External and internal extensions: registered before the runtime starts, told of every invocation, told of the end."""

import json
import re
from typing import Any

import pytest
from tests.runtime.agent_client import REQUEST_ID, Agent
from tests.runtime.bootstraps import ECHO, runtime
from tests.runtime.extension_programs import install

FOLLOWER = """
say('registered', json.dumps(register('INVOKE', 'SHUTDOWN')))
while True:
    event = next_event()
    say('got', json.dumps(event))
    if event['eventType'] == 'SHUTDOWN':
        say('variables', json.dumps(sorted(os.environ)))
        sys.exit()
"""


def start(agent: Agent, body: str = ECHO, **changes: Any) -> None:
    agent.specialise(runtime(body), runtime="provided.al2023", handler="any.thing", **changes)


def said(agent: Agent, words: str) -> list[Any]:
    """The JSON that extensions have printed after these words."""
    return [json.loads(rest) for rest in re.findall(rf"^{words} (.*)$", agent.log, re.MULTILINE)]


def test_an_external_extension_follows_the_functions_life(agent: Agent) -> None:
    install(agent, follower=FOLLOWER)
    start(agent)
    assert agent.invoke({"n": 1}, lambda_runtime_trace_id="Root=1-2-3").json["event"] == {"n": 1}
    assert agent.invoke({"n": 2}).json["event"] == {"n": 2}
    agent.process.terminate()
    assert agent.process.wait(60) == 0
    facts = {"functionName": "hello", "functionVersion": "$LATEST", "handler": "any.thing", "accountId": "000000000000"}
    assert said(agent, "follower registered") == [[200, facts]]
    first, second, last = said(agent, "follower got")
    assert first["eventType"] == second["eventType"] == "INVOKE"
    assert first["requestId"] == REQUEST_ID
    assert first["invokedFunctionArn"] == "arn:aws:lambda:us-east-1:000000000000:function:hello"
    assert first["tracing"] == {"type": "X-Amzn-Trace-Id", "value": "Root=1-2-3"}
    assert first["deadlineMs"] > 0
    assert (last["eventType"], last["shutdownReason"]) == ("SHUTDOWN", "spindown")
    [variables] = said(agent, "follower variables")
    assert {"AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_NAME", "AWS_REGION"} <= set(variables)
    assert not {"_HANDLER", "LAMBDA_TASK_ROOT", "AWS_EXECUTION_ENV"} & set(variables)


def test_the_runtime_starts_when_all_extensions_have_registered(agent: Agent) -> None:
    slow = "time.sleep(0.3)\nregister('INVOKE')\nsay('in')\n" + "while True:\n    next_event()\n"
    install(agent, slow=slow, quick="register()\nnext_event()\n")
    start(agent, "print('the runtime starts')\n" + ECHO)
    assert agent.invoke(1).json["event"] == 1
    assert agent.log.index("slow in") < agent.log.index("the runtime starts")


def test_the_next_invocation_waits_for_extensions_that_are_not_done(agent: Agent) -> None:
    worker = "register('INVOKE')\nwhile True:\n    next_event()\n    time.sleep(0.2)\n    say('done')\n"
    install(agent, worker=worker)
    start(agent)
    agent.invoke(1)
    agent.invoke(2)
    log = agent.log
    assert log.index("worker done") < log.rindex("START RequestId")


def test_an_extension_that_overruns_the_timeout_is_ended_with_the_runtime(agent: Agent) -> None:
    sleeper = "register('INVOKE')\nnext_event()\ntime.sleep(60)\n"
    install(agent, sleeper=sleeper, witness=FOLLOWER)
    start(agent, timeout_seconds=3)
    pid = agent.invoke(1).json["pid"]
    assert agent.invoke(2).json["pid"] != pid
    reasons = [event["shutdownReason"] for event in said(agent, "witness got") if event["eventType"] == "SHUTDOWN"]
    assert reasons == ["timeout"]


def test_an_extension_that_is_still_at_work_hears_of_the_end_when_it_asks(agent: Agent) -> None:
    worker = FOLLOWER.replace("    say('got'", "    time.sleep(0.3)\n    say('got'")
    install(agent, worker=worker)
    start(agent)
    agent.invoke(1)
    agent.process.terminate()
    assert agent.process.wait(60) == 0
    assert [event["eventType"] for event in said(agent, "worker got")] == ["INVOKE", "SHUTDOWN"]


def test_the_others_hear_that_the_runtime_has_failed(agent: Agent) -> None:
    install(agent, witness=FOLLOWER)
    start(agent, "next_invocation()\nsys.exit(1)\n")
    assert agent.invoke().json["errorType"] == "Runtime.ExitError"
    assert agent.invoke().json["errorType"] == "Runtime.ExitError"
    reasons = [event["shutdownReason"] for event in said(agent, "witness got") if event["eventType"] == "SHUTDOWN"]
    assert reasons[0] == "failure"


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        ("sys.exit(2)\n", "Extension.Crash", "exit status 2"),
        (
            "register()\ncall('POST', '/init/error', '{}', {'Lambda-Extension-Function-Error-Type': 'Bad.Key'})\n",
            "Extension.InitError",
            "broken: Bad.Key",
        ),
    ],
)
def test_an_extension_that_cannot_start_fails_the_function(agent: Agent, body: str, kind: str, reason: str) -> None:
    install(agent, broken=body)
    start(agent)
    answer = agent.invoke()
    assert answer.json == {"errorType": kind, "errorMessage": f"RequestId: {REQUEST_ID} Error: {reason}"}


def test_an_extension_that_is_no_program(agent: Agent) -> None:
    folder = agent.opt_root / "extensions"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("no program")
    start(agent)
    message = f"RequestId: {REQUEST_ID} Error: fork/exec {folder}/notes.txt: permission denied"
    assert agent.invoke().json == {"errorType": "Extension.LaunchError", "errorMessage": message}


INTERNAL = """
def extension(method, path, body=None, headers={}):
    api.request(method, '/2020-01-01/extension' + path, body, headers)
    answer = api.getresponse()
    return answer.status, answer.getheader('lambda-extension-identifier'), json.loads(answer.read())

def register(name, *events):
    return extension('POST', '/register', json.dumps({'events': events}), {'Lambda-Extension-Name': name})

told = [register('inner', 'SHUTDOWN')[2], register('', 'INVOKE')[2], register('inner', 'NONSENSE')[2]]
status, identifier, _ = register('inner', 'INVOKE')
told += [status, register('inner', 'INVOKE')[2]]
told += [extension('GET', '/event/next')[2]]
told += [extension('GET', '/event/next', None, {'Lambda-Extension-Identifier': 'nobody'})[2]]
own = http.client.HTTPConnection(host)
own.request('GET', '/2020-01-01/extension/event/next', None, {'Lambda-Extension-Identifier': identifier})
request_id, headers, event = next_invocation()
told += [json.loads(own.getresponse().read())['eventType'], register('late', 'INVOKE')[2]]
respond(request_id, told)
next_invocation()
"""


def test_an_internal_extension_and_the_rules_of_registering(agent: Agent) -> None:
    start(agent, INTERNAL)
    told = agent.invoke().json
    assert [fact["errorType"] if isinstance(fact, dict) else fact for fact in told] == [
        "Extension.InvalidEventType",
        "Extension.InvalidExtensionName",
        "Extension.InvalidEventType",
        200,
        "Extension.InvalidExtensionState",
        "Extension.MissingExtensionIdentifier",
        "Extension.UnknownExtensionIdentifier",
        "INVOKE",
        "Extension.RegistrationClosed",
    ]


PYTHON = """
import os

def lambda_handler(event, context):
    print('doing', event)
    if event == 'fail':
        raise ValueError('bad value')
    if event == 'pieces':
        return (piece for piece in ('one ', 'two'))
    return [event, context.aws_request_id, context.function_name, context.client_context.custom,
            0 < context.get_remaining_time_in_millis() <= 3000, os.environ['_X_AMZN_TRACE_ID'],
            context.memory_limit_in_mb]
"""


def test_a_python_function_has_extensions_too(agent: Agent) -> None:
    install(agent, follower=FOLLOWER)
    agent.specialise(PYTHON)
    client = '{"custom":{"a":"b"}}'
    seen = agent.invoke("x", lambda_runtime_trace_id="Root=1-2-3", lambda_runtime_client_context=client).json
    assert seen == ["x", REQUEST_ID, "hello", {"a": "b"}, True, "Root=1-2-3", "128"]
    failed = agent.invoke("fail")
    assert failed.headers["x-amz-function-error"] == "Unhandled"
    assert (failed.json["errorType"], failed.json["errorMessage"]) == ("ValueError", "bad value")
    assert failed.json["stackTrace"][0].endswith("raise ValueError('bad value')\n")
    assert agent.invoke("pieces").body == b"one two"
    assert [event["eventType"] for event in said(agent, "follower got")][:2] == ["INVOKE", "INVOKE"]


def test_a_python_function_with_extensions_that_cannot_start_says_why(agent: Agent) -> None:
    install(agent, follower=FOLLOWER)
    agent.specialise("import nowhere")
    error = agent.invoke().json
    assert (error["errorType"], error["errorMessage"]) == (
        "Runtime.ImportModuleError",
        "Unable to import module 'index': No module named 'nowhere'",
    )


def test_a_wrapper_script_starts_a_python_function(agent: Agent) -> None:
    source = "import os\ndef lambda_handler(event, context): return os.environ['WRAPPED']"
    files = {"index.py": source, "wrapper": '#!/bin/sh\nexport WRAPPED=yes\nexec "$@"\n'}
    agent.specialise(files, environment={"AWS_LAMBDA_EXEC_WRAPPER": str(agent.task_root / "wrapper")})
    assert agent.invoke().json == "yes"

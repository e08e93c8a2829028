"""Generic, specialised, invoked: what a caller gets from a healthy function, and what the function sees."""

import base64
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.agent_client import REQUEST_ID, Agent, Answer, Connection, resident_mib, wait_until

ECHO = "def lambda_handler(event, context):\n    return {'event': event}\n"


def test_a_generic_agent_is_small_and_says_so(agent: Agent) -> None:
    assert agent.status() == {
        "state": "generic",
        "function": None,
        "revision": None,
        "slots": [],
        "init": {"state": "pending", "duration_ms": None},
    }
    assert resident_mib(agent.process.pid) <= 20


def test_a_generic_agent_loads_nothing_heavy(agent: Agent) -> None:
    agent.specialise(
        "import sys\nloaded = sorted(sys.modules)\ndef lambda_handler(event, context):\n    return loaded\n"
    )
    heavy = {
        "asyncio",
        "ssl",
        "http",
        "email",
        "urllib",
        "logging",
        "hashlib",
        "zipfile",
        "funclet",
        "kopf",
        "kubernetes",
    }
    assert heavy.isdisjoint(agent.invoke().json)


def test_warm_invocations_share_a_process_and_pay_init_once(agent: Agent) -> None:
    assert agent.specialise(ECHO).status == 200
    first, second = agent.invoke({"n": 1}), agent.invoke({"n": 2})
    assert (first.status, first.json, second.json) == (200, {"event": {"n": 1}}, {"event": {"n": 2}})
    assert int(first.headers["x-funclet-init-us"]) > 0
    assert "x-funclet-init-us" not in second.headers
    assert int(second.headers["x-funclet-duration-us"]) < 3_000_000
    assert 1 <= int(second.headers["x-funclet-max-memory-mib"]) < 128
    assert "x-amz-function-error" not in second.headers
    status = agent.status()
    assert (status["state"], status["function"], status["init"]["state"]) == (
        "specialised",
        "default/hello",
        "succeeded",
    )


def test_a_second_specialisation_is_refused(agent: Agent) -> None:
    agent.specialise(ECHO)
    slots = agent.slots
    second = agent.specialise(ECHO, function="default/other")
    assert second.status == 409
    assert second.json == {"function": "default/hello", "revision": "0123456789abcdef", "slots": slots}


def test_wrong_tokens_are_refused(agent: Agent) -> None:
    assert agent.control("GET", "/v1/status", token="wrong").status == 401
    assert agent.control("POST", "/v1/specialise", b"code", token="").status == 401
    agent.specialise(ECHO)
    assert agent.invoke(x_funclet_token="wrong").status == 401
    assert agent.invoke(1).status == 200
    assert agent.invoke(x_funclet_token="wrong").status == 401


def test_what_is_remembered_of_a_gateways_requests_is_no_more_than_what_they_share(agent: Agent) -> None:
    agent.specialise(ECHO)
    for number, token in ((1, "invoke-token"), (2, "invoke-token"), (3, "invoke-tokem"), (4, "invoke-token")):
        connection = Connection(agent.slots[0])
        first = f"host: funclet\r\nx-funclet-token: {token}\r\ncontent-type: application/json\r\n"
        rest = f"lambda-runtime-aws-request-id: id-{number}\r\ncontent-length: 1\r\n\r\n{number}"
        connection.send_raw(f"POST /invoke HTTP/1.1\r\n{first}{rest}".encode())
        answer = connection.receive()
        assert (answer.status, answer.json.get("event")) == ((200, number) if token == "invoke-token" else (401, None))
        connection.close()


def test_a_circle_in_an_answer_does_not_harm_the_next_one(agent: Agent) -> None:
    code = "circle = []\ncircle.append(circle)\nplain = {'a': [1.5, None, 'ü']}\n"
    agent.specialise(code + "def lambda_handler(event, context):\n    return globals()[event]\n")
    for _ in range(2):
        message = "Unable to marshal response: Circular reference detected"
        assert agent.invoke("circle").json["errorMessage"] == message
        assert agent.invoke("plain").body == '{"a": [1.5, null, "ü"]}'.encode()


def test_what_is_not_our_http_is_refused(agent: Agent) -> None:
    assert agent.control("GET", "/v2/status").status == 404
    agent.specialise(ECHO)
    connection = Connection(agent.slots[0])
    connection.send("GET", "/", headers={"x-funclet-token": "invoke-token"})
    assert connection.receive().status == 404
    assert connection.is_closed_by_peer()
    connection.close()


def test_strangers_connections_cannot_keep_a_gateway_out(agent: Agent) -> None:
    agent.specialise(ECHO)
    agent.invoke(1)
    strangers = [Connection(agent.slots[0]) for _ in range(210)]
    strangers[-1].send_raw(b"POST /invoke HTTP/1.1\r\nx-funclet")
    assert strangers[0].is_closed_by_peer()
    assert agent.invoke(2).json == {"event": 2}
    late = Connection(agent.slots[0])
    late.send("POST", "/invoke", b"3", {"x-funclet-token": "invoke-token"})
    assert late.receive().json == {"event": 3}
    for connection in [*strangers, late]:
        connection.close()


def test_a_large_event_and_a_large_answer_pass(agent: Agent) -> None:
    agent.specialise("def lambda_handler(event, context):\n    return event * 2\n")
    text = "ü" * 1_000_000
    assert agent.invoke(text).json == text * 2


def test_an_empty_payload_is_an_empty_object(agent: Agent) -> None:
    agent.specialise(ECHO)
    assert agent.invoke(body=b"").json == {"event": {}}
    assert agent.invoke(body=b" [1] ").json == {"event": [1]}


CONTEXT = """
import os, sys
def lambda_handler(event, context):
    facts = {name: getattr(context, name) for name in (
        "function_name", "function_version", "invoked_function_arn", "memory_limit_in_mb", "aws_request_id",
        "log_group_name", "log_stream_name", "tenant_id")}
    return facts | {
        "remaining": context.get_remaining_time_in_millis(),
        "identity": context.identity.cognito_identity_id,
        "client": context.client_context.client.app_title,
        "custom": context.client_context.custom,
        "environment": dict(os.environ), "cwd": os.getcwd(), "path": sys.path[0],
    }
"""


def test_a_version_is_told_its_number_and_each_call_what_its_caller_named(agent: Agent) -> None:
    agent.specialise({"main.py": FACTS}, handler="main.handler", function="default/hello:3", function_version="3")
    arn = "arn:aws:lambda:us-east-1:000000000000:function:hello:live"
    seen = agent.invoke(lambda_runtime_invoked_function_arn=arn).json
    assert seen == ["hello", "3", "3", arn]
    assert agent.invoke().json[3] == "arn:aws:lambda:us-east-1:000000000000:function:hello"


FACTS = """
import os
def handler(event, context):
    version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
    return [context.function_name, context.function_version, version, context.invoked_function_arn]
"""


def test_context_and_environment_are_lambdas(agent: Agent) -> None:
    agent.specialise({"app/main.py": CONTEXT}, handler="app/main.lambda_handler", environment={"GREETING": "Hello"})
    client = json.dumps({"client": {"app_title": "shop"}, "custom": {"a": "b"}})
    seen = agent.invoke(lambda_runtime_client_context=client, lambda_runtime_trace_id="Root=1-2").json
    assert seen["function_name"] == "hello"
    assert seen["function_version"] == "$LATEST"
    assert seen["invoked_function_arn"] == "arn:aws:lambda:us-east-1:000000000000:function:hello"
    assert (seen["memory_limit_in_mb"], seen["aws_request_id"]) == ("128", REQUEST_ID)
    assert (seen["identity"], seen["tenant_id"], seen["client"], seen["custom"]) == (None, None, "shop", {"a": "b"})
    assert 0 < seen["remaining"] <= 3000
    assert seen["cwd"] == seen["path"] == str(agent.task_root)
    environment = seen["environment"]
    assert environment["GREETING"] == "Hello"
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == "hello"
    assert environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "128"
    assert environment["AWS_LAMBDA_LOG_STREAM_NAME"] == seen["log_stream_name"]
    assert environment["_X_AMZN_TRACE_ID"] == "Root=1-2"
    assert not [name for name in environment if name.startswith("FUNCLET_")]


def test_reserved_variables_are_lambdas_whatever_the_function_says(agent: Agent) -> None:
    reserved = {
        "_HANDLER": "index.lambda_handler",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        "AWS_LAMBDA_FUNCTION_NAME": "hello",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/hello",
        "LAMBDA_TASK_ROOT": str(agent.task_root),
    }
    defaults = {"TZ": ":UTC", "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR"}
    agent.specialise(
        "import os\ndef lambda_handler(event, context):\n    return dict(os.environ)\n",
        environment=dict.fromkeys(reserved, "mine") | {"TZ": "Europe/Paris"},
    )
    seen = agent.invoke().json
    assert {name: seen[name] for name in reserved} == reserved
    assert {name: seen[name] for name in defaults} == defaults | {"TZ": "Europe/Paris"}
    assert os.path.isdir(seen["LAMBDA_RUNTIME_DIR"])
    assert "AWS_LAMBDA_LOG_LEVEL" not in seen


def test_the_log_has_lambdas_lines_and_its_tail_is_in_the_answer(agent: Agent) -> None:
    agent.specialise(
        "import logging\n"
        "def lambda_handler(event, context):\n"
        "    logging.warning('careful')\n    print('x' * event, 'done', end='')\n"
    )
    answer = agent.invoke(10, x_amz_log_type="Tail")
    lines = base64.b64decode(answer.headers["x-amz-log-result"]).decode().splitlines()
    assert lines[0] == f"START RequestId: {REQUEST_ID} Version: $LATEST"
    assert lines[1].startswith("[WARNING]\t20")
    assert lines[1].endswith(f"Z\t{REQUEST_ID}\tcareful")
    assert lines[2] == "xxxxxxxxxx done"
    assert lines[3] == f"END RequestId: {REQUEST_ID}"
    assert lines[4].startswith(f"REPORT RequestId: {REQUEST_ID}\tDuration: ")
    assert "\tMemory Size: 128 MB\tMax Memory Used: " in lines[4]
    assert "\tInit Duration: " in lines[4]
    assert "\n".join(lines) in agent.log
    assert len(base64.b64decode(agent.invoke(9000, x_amz_log_type="Tail").headers["x-amz-log-result"])) == 4096
    assert "x-amz-log-result" not in agent.invoke(1).headers


def test_json_log_lines(agent: Agent) -> None:
    agent.specialise(ECHO, log_format="JSON")
    agent.invoke(1)
    wait_until(lambda: "platform.report" in agent.log)
    kinds = [json.loads(line).get("type") for line in agent.log.splitlines()]
    assert kinds[-2:] == ["platform.start", "platform.report"]


LOGGING = """
import logging
def lambda_handler(event, context):
    for level in ('debug', 'info', 'warning', 'error'):
        getattr(logging, level)(level)
    if event == 'fail':
        raise ValueError
"""


@pytest.mark.parametrize(
    ("levels", "own", "platform", "failing"),
    [
        ({}, ["info", "warning", "error"], ["start", "report"], ["start", "runtimeDone", "report"]),
        (
            {"application_log_level": "ERROR", "system_log_level": "WARN"},
            ["error"],
            [],
            ["runtimeDone", "report"],
        ),
        (
            {"application_log_level": "DEBUG", "system_log_level": "DEBUG"},
            ["debug", "info", "warning", "error"],
            ["start", "runtimeDone", "report"],
            ["start", "runtimeDone", "report"],
        ),
    ],
)
def test_json_log_levels(
    agent: Agent, levels: dict[str, Any], own: list[str], platform: list[str], failing: list[str]
) -> None:
    agent.specialise(LOGGING, log_format="JSON", **levels)

    def lines_of(event: str) -> list[dict[str, Any]]:
        tail = base64.b64decode(agent.invoke(event, x_amz_log_type="Tail").headers["x-amz-log-result"]).decode()
        return [json.loads(line) for line in tail.splitlines() if line.startswith("{")]

    lines = lines_of("work")
    assert [line["message"] for line in lines if "message" in line] == own
    assert [line["type"] for line in lines if "type" in line] == [f"platform.{kind}" for kind in platform]
    lines = lines_of("fail")
    assert [line["errorType"] for line in lines if line.get("message") == ""] == ["ValueError"]
    assert [line["type"] for line in lines if "type" in line] == [f"platform.{kind}" for kind in failing]


def test_a_log_level_that_does_not_exist_is_refused(agent: Agent) -> None:
    refused = agent.specialise(ECHO, log_format="JSON", system_log_level="LOUD")
    assert (refused.status, refused.json["message"]) == (
        400,
        "system_log_level must be one of DEBUG, INFO, WARN, not 'LOUD'",
    )


def test_quick_invocations_in_a_row_do_not_wake_the_agent(agent: Agent) -> None:
    agent.specialise(ECHO, timeout_seconds=60)
    agent.invoke(1)
    status = Path(f"/proc/{agent.process.pid}/status")

    def switches() -> int:
        return int(status.read_text().partition("\nvoluntary_ctxt_switches:")[2].split()[0])

    wait_until(lambda: agent.status()["init"]["state"] == "succeeded")
    before = switches()
    for _ in range(200):
        agent.invoke(1)
    assert switches() - before < 100  # half a one for each; what it does each second is no matter


def test_two_slots_serve_two_invocations_at_once(agent: Agent, tmp_path: Path) -> None:
    """Each call waits for the other one's file: it ends only if both run at the same time."""
    agent.specialise(
        "import os, time\n"
        "def lambda_handler(event, context):\n"
        "    open(event['mine'], 'w').close()\n"
        "    while not os.path.exists(event['other']): time.sleep(0.001)\n"
        "    return os.getpid()\n",
        concurrency=2,
    )
    assert len(set(agent.slots)) == 2
    names = [str(tmp_path / "first"), str(tmp_path / "second")]
    answers: list[Answer] = []

    def call(slot: int) -> None:
        answers.append(agent.invoke({"mine": names[slot], "other": names[1 - slot]}, slot=slot))

    threads = [threading.Thread(target=call, args=[slot]) for slot in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers} == {200}
    assert len({answer.json for answer in answers}) == 2

"""Clients of Lambda that other people wrote, each behind the same door: what was asked for, and what came of it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from botocore.exceptions import ClientError
from tests.cluster.steps import run
from tests.e2e.worlds import World
from tests.runtime import builds

NODEJS_SOURCES = Path(__file__).parent / "clients" / "nodejs"
ERROR_SENTENCE = re.compile(
    r"An error occurred \((?P<name>\w+)\) when calling the Invoke operation(?: \(reached max retries: 0\))?: "
    r"(?P<message>.*)"
)
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass(frozen=True)
class Outcome:
    """What a client made of the answer; None is what it did not tell."""

    status: int | None = None
    payload: str = ""
    function_error: str | None = None
    """FunctionError of Invoke, ErrorCode of a stream."""
    executed_version: str | None = None
    log_result: str | None = None
    error: str | None = None
    """The name of the exception."""
    message: str = ""
    reason: str | None = None


@dataclass(frozen=True)
class Sdk:
    """A client: `call(world, operation, parameters)`, with Lambda's names for both; Payload is text."""

    name: str
    call: Callable[[World, str, dict[str, str]], Outcome]
    streams: bool = True
    """Whether it has InvokeWithResponseStream."""


def call_boto3(world: World, operation: str, parameters: dict[str, str]) -> Outcome:
    """In this process."""
    try:
        if operation == "Invoke":
            return _whole(world.client.invoke(**parameters))
        return _streamed(world.client.invoke_with_response_stream(**parameters))
    except ClientError as error:
        answer = error.response
        return Outcome(
            answer["ResponseMetadata"]["HTTPStatusCode"],
            error=answer["Error"]["Code"],
            message=answer["Error"]["Message"],
            reason=answer.get("Reason"),
        )


def _whole(answer: dict[str, Any]) -> Outcome:
    return Outcome(
        answer["StatusCode"], answer["Payload"].read().decode(), answer.get("FunctionError"),
        answer.get("ExecutedVersion"), answer.get("LogResult"),
    )  # fmt: skip


def _streamed(answer: dict[str, Any]) -> Outcome:
    events = list(answer["EventStream"])
    payload = b"".join(event["PayloadChunk"]["Payload"] for event in events if "PayloadChunk" in event)
    end = events[-1]["InvokeComplete"]
    return Outcome(
        answer["StatusCode"], payload.decode(), end.get("ErrorCode"), answer.get("ExecutedVersion"),
        end.get("LogResult"),
    )  # fmt: skip


def call_aws(world: World, operation: str, parameters: dict[str, str]) -> Outcome:
    """`aws lambda invoke`: options in place of parameters, the payload in a file, errors as a sentence."""
    assert operation == "Invoke"
    with TemporaryDirectory() as folder:
        out, payload = Path(folder, "out"), Path(folder, "payload")
        if "Payload" in parameters:
            payload.write_text(parameters["Payload"])
            parameters = {**parameters, "Payload": f"fileb://{payload}"}
        options = [part for name, value in parameters.items() for part in (_option(name), value)]
        command = [str(Path(sys.executable).with_name("aws")), "lambda", "invoke", "--endpoint-url", world.endpoint]
        environment = {**os.environ, **CREDENTIALS, "AWS_MAX_ATTEMPTS": "1"}
        done = subprocess.run([*command, *options, out], capture_output=True, text=True, env=environment, timeout=60)
        if done.returncode != 0:
            return _read_sentence(done.stderr)
        answer = json.loads(done.stdout)
        return Outcome(
            answer["StatusCode"], out.read_text(), answer.get("FunctionError"), answer.get("ExecutedVersion"),
            answer.get("LogResult"),
        )  # fmt: skip


def _option(name: str) -> str:
    """FunctionName as --function-name."""
    return "-" + "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name)


def _read_sentence(text: str) -> Outcome:
    sentence = ERROR_SENTENCE.search(text)
    assert sentence, text
    return Outcome(error=sentence["name"], message=sentence["message"])


def call_nodejs(world: World, operation: str, parameters: dict[str, str]) -> Outcome:
    """A process of Node.js for each call: clients/nodejs/invoke.mjs."""
    request = json.dumps({"endpoint": world.endpoint, "operation": operation, "input": parameters})
    script = _nodejs_client() / "invoke.mjs"
    done = subprocess.run(["node", script], input=request, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return Outcome(**json.loads(done.stdout))


def _nodejs_client() -> Path:
    return builds.build("client", "nodejs-sdk", NODEJS_SOURCES, make_nodejs_client, builds.NODE_TOOLS[:2])


def make_nodejs_client(sources: Path, target: Path) -> None:
    """The script with what package-lock.json names."""
    for name in ("invoke.mjs", "package.json", "package-lock.json"):
        shutil.copy(sources / name, target)
    run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], folder=target)


BOTO3 = Sdk("boto3", call_boto3)
AWS_CLI = Sdk("aws-cli", call_aws, streams=False)
NODEJS = Sdk("aws-sdk-js", call_nodejs)
SDKS = (BOTO3, AWS_CLI, NODEJS)

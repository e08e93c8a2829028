"""Clients of Lambda that other people wrote, each behind the same door: what was asked for, and what came of it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from botocore.exceptions import ClientError
from tests.cluster import doctor
from tests.cluster.steps import run
from tests.e2e.worlds import World
from tests.runtime import builds

NODEJS_SOURCES = Path(__file__).parent / "clients" / "nodejs"
ERROR_SENTENCE = re.compile(
    r"An error occurred \((?P<name>\w+)\) when calling the Invoke operation(?: \(reached max retries: 0\))?: "
    r"(?P<message>.*)"
)
AWS_CLI_2_NEEDS = (doctor.Need("/usr/bin/aws", "awscli"),)
BINARY_AS_TEXT = ["--cli-binary-format", "raw-in-base64-out"]
"""Version 2 takes payloads in base64 otherwise."""
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


def call_aws(
    find_program: Callable[[], str], options: list[str], world: World, operation: str, parameters: dict[str, str]
) -> Outcome:
    """`aws lambda invoke`: options in place of parameters, the payload in a file, errors as a sentence."""
    assert operation == "Invoke"
    with TemporaryDirectory() as folder:
        out, payload = Path(folder, "out"), Path(folder, "payload")
        if "Payload" in parameters:
            payload.write_text(parameters["Payload"])
            parameters = {**parameters, "Payload": f"file://{payload}"}
        told = [part for name, value in parameters.items() for part in (_option(name), value)]
        command = [find_program(), "lambda", "invoke", "--endpoint-url", world.endpoint, *options, *told, str(out)]
        environment = {**os.environ, **CREDENTIALS, "AWS_MAX_ATTEMPTS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180)
        if done.returncode != 0:
            return _read_sentence(done.stderr)
        answer = json.loads(done.stdout)
        return Outcome(
            answer["StatusCode"], out.read_text(), answer.get("FunctionError"), answer.get("ExecutedVersion"),
            answer.get("LogResult"),
        )  # fmt: skip


def _find_aws_1() -> str:
    """Ours, from PyPI."""
    return str(Path(sys.executable).with_name("aws"))


@cache
def _find_aws_2() -> str:
    """AWS's own installation of it, else Debian's package, which is installed if it is not there."""
    found = next((program for program in _programs("aws") if _is_aws_2(program)), None)
    if found is None:
        doctor.require(AWS_CLI_2_NEEDS)
        found = "/usr/bin/aws"
        assert _is_aws_2(found), f"{found} is no version 2"
    return found


def _programs(name: str) -> Iterator[str]:
    """All of this name on the PATH."""
    return (found for folder in os.get_exec_path() if (found := shutil.which(name, path=folder)))


def _is_aws_2(program: str) -> bool:
    told = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=180)
    return told.stdout.startswith("aws-cli/2.")


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
    done = subprocess.run(["node", script], input=request, capture_output=True, text=True, timeout=180)
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
AWS_CLI_1 = Sdk("aws-cli 1", partial(call_aws, _find_aws_1, []), streams=False)
AWS_CLI_2 = Sdk("aws-cli 2", partial(call_aws, _find_aws_2, BINARY_AS_TEXT), streams=False)
AWS_CLIS = (AWS_CLI_1, AWS_CLI_2)
NODEJS = Sdk("aws-sdk-js", call_nodejs)
SDKS = (BOTO3, *AWS_CLIS, NODEJS)

"""Lambda's management API, as its clients use it: boto3 with its waiters, and the AWS CLI."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import uuid
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from botocore.exceptions import ClientError
from tests.e2e.worlds import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Deployer
    from tests.e2e.worlds import World

ROLE = "arn:aws:iam::000000000000:role/anybody"
FAST = {"Delay": 1, "MaxAttempts": 90}
"""How often waiters look: AWS's own choice for function_active is every five seconds."""


def zipped(text: str, **more: bytes) -> bytes:
    """A package whose handler is index.handler."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("index.py", text)
        for name, content in more.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def says(word: str) -> bytes:
    return zipped(f"def handler(event, context): return {word!r}\n")


class Maker:
    """Makes functions by the API, and deletes what is left after the test."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._made: list[str] = []

    def new_name(self) -> str:
        name = f"m-{uuid.uuid4().hex[:8]}"
        self._made.append(name)
        return name

    def make(self, package: bytes, **more: Any) -> str:
        name = self.new_name()
        self._client.create_function(
            **{
                "FunctionName": name,
                "Runtime": "python3.13",
                "Handler": "index.handler",
                "Role": ROLE,
                "Code": {"ZipFile": package},
                **more,
            }
        )
        self._client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=FAST)
        return name

    def clean(self) -> None:
        for name in self._made:
            with contextlib.suppress(self._client.exceptions.ResourceNotFoundException):
                self._client.delete_function(FunctionName=name)


@pytest.fixture
def client(world: World) -> Any:
    return world.client


@pytest.fixture
def maker(client: Any) -> Iterator[Maker]:
    made = Maker(client)
    yield made
    made.clean()


def await_word(world: World, function: str, word: str, **more: Any) -> None:
    """Callers get this answer: a gateway may be a moment behind control."""
    eventually(lambda: world.invoke_known(function, **more).payload == word)


def update(client: Any, function: str, package: bytes, **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = client.update_function_code(FunctionName=function, ZipFile=package, **more)
    client.get_waiter("function_updated_v2").wait(FunctionName=function, WaiterConfig=FAST)
    return answer


def refused(client: Any, operation: str, **params: Any) -> tuple[str, int, str]:
    """The exception's name, the status and the message."""
    with pytest.raises(ClientError) as caught:
        getattr(client, operation)(**params)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], str(caught.value)


def test_a_function_is_made_invoked_changed_and_deleted(world: World, client: Any, maker: Maker) -> None:
    package = says("first")
    function = maker.make(package, Description="d", Environment={"Variables": {"A": "b"}}, Tags={"team": "shop"})
    assert world.invoke_known(function).payload == "first"

    found = client.get_function(FunctionName=function)
    configuration = found["Configuration"]
    assert (configuration["State"], configuration["LastUpdateStatus"]) == ("Active", "Successful")
    assert configuration["CodeSha256"] == base64.b64encode(hashlib.sha256(package).digest()).decode()
    assert configuration["CodeSize"] == len(package)
    assert configuration["Role"] == ROLE
    assert configuration["Environment"] == {"Variables": {"A": "b"}}
    assert found["Tags"] == {"team": "shop"}
    assert httpx.get(found["Code"]["Location"], timeout=60).content == package
    assert client.get_function_configuration(FunctionName=configuration["FunctionArn"])["Description"] == "d"

    update(client, function, says("second"))
    await_word(world, function, "second")
    client.update_function_configuration(FunctionName=function, Timeout=7, MemorySize=256)
    client.get_waiter("function_updated_v2").wait(FunctionName=function, WaiterConfig=FAST)
    changed = client.get_function_configuration(FunctionName=function)
    assert (changed["Timeout"], changed["MemorySize"], changed["Description"]) == (7, 256, "d")
    assert changed["RevisionId"] != configuration["RevisionId"]

    client.delete_function(FunctionName=function)
    assert refused(client, "get_function", FunctionName=function)[:2] == ("ResourceNotFoundException", 404)


def test_a_package_larger_than_any_event_is_taken(world: World, client: Any, maker: Maker) -> None:
    ballast = os.urandom(9 * 1024 * 1024)
    text = "import os\ndef handler(event, context): return os.path.getsize('ballast')\n"
    function = maker.make(zipped(text, ballast=ballast))
    assert world.invoke_known(function).payload == len(ballast)
    location = client.get_function(FunctionName=function)["Code"]["Location"]
    assert len(httpx.get(location, timeout=60).content) > len(ballast)


def test_versions_and_aliases_lead_callers(world: World, client: Any, maker: Maker) -> None:
    function = maker.make(says("first"), Publish=True)
    assert client.publish_version(FunctionName=function)["Version"] == "1", "nothing has changed"
    update(client, function, says("second"))
    second = client.publish_version(FunctionName=function, Description="the second")
    assert second["Version"] == "2"
    assert second["FunctionArn"].endswith(f":{function}:2")
    versions = client.list_versions_by_function(FunctionName=function)["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", "1", "2"]

    alias = client.create_alias(FunctionName=function, Name="Live_1", FunctionVersion="1")
    await_word(world, function, "first", Qualifier="Live_1")
    changed = client.update_alias(
        FunctionName=function, Name="Live_1", FunctionVersion="2", RevisionId=alias["RevisionId"]
    )
    await_word(world, function, "second", Qualifier="Live_1")
    assert client.get_alias(FunctionName=function, Name="Live_1")["RevisionId"] == changed["RevisionId"]
    weights = {"AdditionalVersionWeights": {"1": 0.25}}
    client.update_alias(FunctionName=function, Name="Live_1", RoutingConfig=weights)
    (listed,) = client.list_aliases(FunctionName=function, FunctionVersion="1")["Aliases"]
    assert listed["RoutingConfig"] == weights
    shown = client.get_function_configuration(FunctionName=function, Qualifier="Live_1")
    assert (shown["Version"], shown["FunctionArn"].rpartition(":")[2]) == ("2", "Live_1")

    assert refused(client, "delete_function", FunctionName=function, Qualifier="1")[0] == "ResourceConflictException"
    client.delete_alias(FunctionName=function, Name="Live_1")
    client.delete_function(FunctionName=function, Qualifier="1")
    versions = client.list_versions_by_function(FunctionName=function)["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", "2"]


def test_functions_are_listed_page_by_page(client: Any, maker: Maker) -> None:
    names = {maker.make(says("x")) for _ in range(3)}
    pages = list(client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2}))
    assert all(len(page["Functions"]) <= 2 for page in pages)
    assert names <= {function["FunctionName"] for page in pages for function in page["Functions"]}


def test_what_is_set_apart_from_the_configuration(client: Any, maker: Maker) -> None:
    function = maker.make(says("x"))
    arn = client.get_function_configuration(FunctionName=function)["FunctionArn"]
    named = {"FunctionName": function}

    client.put_function_concurrency(**named, ReservedConcurrentExecutions=5)
    assert client.get_function_concurrency(**named)["ReservedConcurrentExecutions"] == 5
    assert client.get_function(**named)["Concurrency"] == {"ReservedConcurrentExecutions": 5}
    client.delete_function_concurrency(**named)
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(**named)

    assert refused(client, "get_function_event_invoke_config", **named)[0] == "ResourceNotFoundException"
    client.put_function_event_invoke_config(**named, MaximumRetryAttempts=1)
    to_itself = {"OnFailure": {"Destination": arn}}
    client.update_function_event_invoke_config(**named, DestinationConfig=to_itself)
    found = client.get_function_event_invoke_config(**named)
    assert (found["MaximumRetryAttempts"], found["MaximumEventAgeInSeconds"]) == (1, 21600)
    assert found["DestinationConfig"]["OnFailure"] == {"Destination": arn}
    client.delete_function_event_invoke_config(**named)
    assert client.list_function_event_invoke_configs(**named)["FunctionEventInvokeConfigs"] == []

    client.put_function_recursion_config(**named, RecursiveLoop="Allow")
    assert client.get_function_recursion_config(**named)["RecursiveLoop"] == "Allow"

    client.tag_resource(Resource=arn, Tags={"team": "shop", "cost centre": "7/b"})
    client.untag_resource(Resource=arn, TagKeys=["team"])
    assert client.list_tags(Resource=arn)["Tags"] == {"cost centre": "7/b"}
    assert client.get_account_settings()["AccountUsage"]["FunctionCount"] >= 1


def test_refusals_have_lambdas_names(client: Any, maker: Maker) -> None:
    function = maker.make(says("x"))
    good = {"Runtime": "python3.13", "Handler": "index.handler", "Role": ROLE, "Code": {"ZipFile": says("x")}}
    invalid = ("InvalidParameterValueException", 400)

    assert refused(client, "create_function", FunctionName=function, **good)[:2] == ("ResourceConflictException", 409)
    for params, words in (
        ({"FunctionName": "Big_Name"}, "FunctionName is Big_Name; it must be"),
        ({"Code": {"ZipFile": b"no zip"}}, "Code.ZipFile"),
        ({"Code": {"S3Bucket": "bucket", "S3Key": "k"}}, "Code.ZipFile"),
        ({"MemorySize": 99999}, "MemorySize is 99999: Input should be less than or equal to 10240"),
        ({"Runtime": "ruby3.3"}, "Runtime is 'ruby3.3'"),
        ({"Layers": ["arn:aws:lambda:us-east-1:000000000000:layer:l:1"]}, "Layers"),
    ):
        answer = refused(client, "create_function", **{"FunctionName": maker.new_name(), **good, **params})
        assert answer[:2] == invalid, answer
        assert words in answer[2]
    stale = {"FunctionName": function, "RevisionId": "2ff0f9c1-6b0e-4f0f-9f0e-000000000000"}
    assert refused(client, "update_function_configuration", Timeout=5, **stale)[:2] == (
        "PreconditionFailedException",
        412,
    )
    assert refused(client, "publish_version", CodeSha256="a" * 43 + "=", FunctionName=function)[:2] == invalid
    missing = {"FunctionName": function, "Name": "live", "FunctionVersion": "7"}
    assert refused(client, "create_alias", **missing)[:2] == ("ResourceNotFoundException", 404)
    policy = {"FunctionName": function, "StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "*"}
    assert refused(client, "add_permission", **policy)[:2] == invalid
    assert refused(client, "get_policy", FunctionName=function)[:2] == ("ResourceNotFoundException", 404)
    assert refused(client, "list_layers")[:2] == ("UnknownOperationException", 404)


def test_a_package_without_its_handler_makes_a_failed_function(client: Any, maker: Maker) -> None:
    function = maker.new_name()
    client.create_function(
        FunctionName=function, Runtime="python3.13", Handler="other.handler", Role=ROLE, Code={"ZipFile": says("x")}
    )

    def state() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get_function_configuration(FunctionName=function)
        return None if found["State"] == "Pending" else found

    found = eventually(state)
    assert (found["State"], found["StateReasonCode"]) == ("Failed", "InvalidZipFileException")
    assert "other" in found["StateReason"]


def test_requests_must_be_signed(world: World, client: Any, maker: Maker) -> None:
    function = maker.make(says("x"))
    url = f"{world.endpoint}/2015-03-31/functions/{function}"
    for answer in (httpx.get(url, timeout=60), httpx.delete(url, timeout=60)):
        assert answer.status_code == 403
        assert answer.headers["x-amzn-errortype"] == "MissingAuthenticationTokenException"
    forged = httpx.get(f"{url}/code?sha256={'0' * 64}&expires=9999999999&signature={'0' * 64}", timeout=60)
    assert forged.status_code == 403
    assert client.get_function(FunctionName=function)["Configuration"]["FunctionName"] == function


def test_terraforms_sequence_for_a_function_and_its_alias(client: Any, maker: Maker) -> None:
    """What hashicorp/aws calls for aws_lambda_function with publish and aws_lambda_alias: apply, refresh, destroy."""
    function = maker.make(says("first"), Publish=True, Architectures=["x86_64"], PackageType="Zip")
    named = {"FunctionName": function}
    found = client.get_function(**named)["Configuration"]
    assert client.get_function_code_signing_config(**named).get("CodeSigningConfigArn", "") == ""
    client.get_waiter("function_updated_v2").wait(**named, WaiterConfig=FAST)
    versions = client.list_versions_by_function(**named, MaxItems=10000)["Versions"]
    assert versions[-1]["Version"] == "1"
    assert client.list_tags(Resource=found["FunctionArn"])["Tags"] == {}
    client.create_alias(**named, Name="live", FunctionVersion="1")
    assert client.get_alias(**named, Name="live")["FunctionVersion"] == "1"
    client.update_function_configuration(**named, Timeout=9, Description="", Role=f"{ROLE}/else")
    client.get_waiter("function_updated_v2").wait(**named, WaiterConfig=FAST)
    assert client.get_function_configuration(**named)["Role"] == f"{ROLE}/else"
    update(client, function, says("second"))
    published = client.publish_version(**named)["Version"]
    client.update_alias(**named, Name="live", FunctionVersion=published)
    client.delete_alias(**named, Name="live")
    client.delete_function(**named)
    assert refused(client, "get_function", **named)[0] == "ResourceNotFoundException"


def test_what_somebody_applied_is_shown_too(world: World, client: Any, deploy: Deployer) -> None:
    function = deploy.function("def handler(event, context): return 'applied'\n")
    found = client.get_function_configuration(FunctionName=function)
    assert (found["State"], found["Handler"]) == ("Active", "index.handler")


def aws(world: World, *arguments: str) -> Any:
    """What the AWS CLI printed."""
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": world.key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": world.key.secret_access_key,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    command = [str(Path(sys.executable).with_name("aws")), "--endpoint-url", world.endpoint, "lambda", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def test_the_aws_cli_does_the_same(world: World, maker: Maker, tmp_path: Path) -> None:
    function, package, out = maker.new_name(), tmp_path / "code.zip", tmp_path / "out.json"
    package.write_bytes(says("by the CLI"))
    named = ("--function-name", function)
    code = ("--zip-file", f"fileb://{package}")
    made = aws(world, "create-function", *named, "--runtime", "python3.13", "--handler", "index.handler",
               "--role", ROLE, *code)  # fmt: skip
    assert made["FunctionName"] == function
    world.client.get_waiter("function_active_v2").wait(FunctionName=function, WaiterConfig=FAST)
    world.invoke_known(function)
    aws(world, "invoke", *named, str(out))
    assert json.loads(out.read_text()) == "by the CLI"
    package.write_bytes(says("anew"))
    aws(world, "update-function-code", *named, *code)
    assert aws(world, "publish-version", *named)["Version"] == "1"
    alias = aws(world, "create-alias", *named, "--name", "live", "--function-version", "1")
    assert alias["AliasArn"].endswith(f":{function}:live")
    aws(world, "delete-function", *named)

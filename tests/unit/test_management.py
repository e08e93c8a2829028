"""From Lambda's parameters to resources and back: tables."""

import base64
import hashlib
from typing import Any

import pytest

from funclet.api.alias import Alias
from funclet.api.function import Function
from funclet.api.version import Version
from funclet.core.archive import pack
from funclet.core.arn import account_id
from funclet.core.management.alias_spec import alias_answer, changed_alias, resource_name
from funclet.core.management.annotations import ROLE, annotate, tagged, tags_of
from funclet.core.management.code import ZIP_LIMIT_BYTES, read_code, to_base64, to_hex
from funclet.core.management.configuration import NO_ROLE, configuration_of, snapshot_of, snapshot_of_version, state_of
from funclet.core.management.destinations import destination_arn, read_destination
from funclet.core.management.event_invoke import changed_config, find_answer
from funclet.core.management.function_spec import changed_spec, check_spec
from funclet.core.management.refusals import Refusal

DIGEST = "ab" * 32
REGION = "eu-central-1"
BASE = {"runtime": "python3.13", "handler": "index.handler", "code": {"packageSha256": DIGEST}}
QUEUE_ARN = "arn:aws:sqs:eu-central-1:123456789012:dead"
QUEUE = {"sqsQueueUrl": "https://sqs.eu-central-1.amazonaws.com/123456789012/dead"}
RESOLVED = {
    **BASE,
    "timeout": 3,
    "memorySize": 128,
    "ephemeralStorage": {"size": 512},
    "loggingConfig": {"logFormat": "Text"},
}


@pytest.mark.parametrize(
    ("before", "params", "changes"),
    [
        (
            {},
            {"Timeout": 9, "MemorySize": 256, "Description": "d"},
            {"timeout": 9, "memorySize": 256, "description": "d"},
        ),
        ({}, {"Runtime": "nodejs22.x", "Handler": "a.b"}, {"runtime": "nodejs22.x", "handler": "a.b"}),
        ({}, {"Environment": {"Variables": {"A": "1"}}}, {"environment": {"variables": {"A": "1"}}}),
        (
            {"environment": {"variables": {"B": "2"}, "secrets": {"S": {"name": "s", "key": "k"}}}},
            {"Environment": {}},
            {"environment": {"variables": {}, "secrets": {"S": {"name": "s", "key": "k"}}}},
        ),
        ({}, {"EphemeralStorage": {"Size": 1024}}, {"ephemeralStorage": {"size": 1024}}),
        (
            {},
            {"LoggingConfig": {"LogFormat": "JSON", "SystemLogLevel": "WARN"}},
            {"loggingConfig": {"logFormat": "JSON", "systemLogLevel": "WARN"}},
        ),
        (
            {"loggingConfig": {"logFormat": "JSON", "systemLogLevel": "WARN"}},
            {"LoggingConfig": {"LogFormat": "Text"}},
            {"loggingConfig": {"logFormat": "Text"}},
        ),
        ({}, {"DeadLetterConfig": {"TargetArn": QUEUE_ARN}}, {"deadLetterConfig": {"target": QUEUE}}),
        ({}, {"VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []}, "KMSKeyArn": "", "Layers": []}, {}),
        ({}, {"TracingConfig": {"Mode": "PassThrough"}, "SnapStart": {"ApplyOn": "None"}}, {}),
        ({"timeout": 5}, {}, {}),
        (
            {},
            {"LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/f"}},
            {"loggingConfig": {"logFormat": "Text"}},
        ),
    ],
)
def test_parameters_change_what_they_name(before: Any, params: Any, changes: Any) -> None:
    spec = {**BASE, **before}
    changed = changed_spec(spec, params, "default", "f")
    assert changed == {**spec, **changes}
    check_spec(changed)


def test_an_empty_dead_letter_config_takes_it_away() -> None:
    spec = {**BASE, "deadLetterConfig": {"target": QUEUE}}
    assert changed_spec(spec, {"DeadLetterConfig": {"TargetArn": ""}}, "default", "f") == BASE


def test_an_image_has_its_own_settings() -> None:
    image = {"packageType": "Image", "code": {"imageUri": "shop/prices:1"}}
    changed = changed_spec(image, {"ImageConfig": {"Command": ["a.b"], "EntryPoint": []}}, "default", "f")
    assert changed["imageConfig"] == {"command": ["a.b"]}
    check_spec(changed)
    assert changed_spec(changed, {"ImageConfig": {}}, "default", "f") == image


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"Layers": ["arn"]}, "Layers is not there in Funclet"),
        ({"VpcConfig": {"SubnetIds": ["subnet-1"]}}, "VpcConfig is not there"),
        ({"TracingConfig": {"Mode": "Active"}}, "TracingConfig.Mode Active is not there"),
        ({"SnapStart": {"ApplyOn": "PublishedVersions"}}, "SnapStart.ApplyOn PublishedVersions is not there"),
        ({"Architectures": ["arm64"]}, "Architectures arm64 is not there"),
        ({"LoggingConfig": {"LogGroup": "mine"}}, "LoggingConfig.LogGroup is not there"),
        (
            {"DeadLetterConfig": {"TargetArn": "arn:aws:sns:x:123456789012:t"}},
            "DeadLetterConfig.TargetArn is arn:aws:sns",
        ),
    ],
)
def test_what_funclet_has_not_is_refused_by_its_name(params: Any, words: str) -> None:
    with pytest.raises(Refusal, match=words) as refused:
        changed_spec(BASE, params, "default", "f")
    assert (refused.value.error.status, refused.value.error.error_type) == (400, "InvalidParameterValueException")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"memorySize": 99999}, "MemorySize is 99999: Input should be less than or equal to 10240"),
        ({"timeout": 0}, "Timeout is 0: Input should be greater than or equal to 1"),
        ({"runtime": "ruby3.3"}, "Runtime is 'ruby3.3': Input should be 'python3.11'"),
        ({"handler": "index"}, "handler must be module.function"),
        ({"environment": {"variables": {"A": "x" * 5000}}}, "environment.variables take 5001 bytes"),
    ],
)
def test_a_spec_that_cannot_be_is_refused_with_its_value(changes: Any, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        check_spec({**BASE, **changes})


def zipped() -> bytes:
    return pack({"index.py": b"def handler(e, c): ..."})


def test_code_is_an_archive_or_an_image() -> None:
    assert read_code({"ZipFile": base64.b64encode(zipped()).decode()}) == zipped()
    assert read_code({"ImageUri": "shop/prices:1"}) == "shop/prices:1"


@pytest.mark.parametrize(
    ("params", "status", "words"),
    [
        ({}, 400, "Exactly one of Code.ZipFile and Code.ImageUri"),
        ({"ZipFile": "eA==", "ImageUri": "x"}, 400, "Exactly one of"),
        ({"ZipFile": "%%%"}, 400, "Code.ZipFile must be base64"),
        ({"ZipFile": base64.b64encode(b"no zip").decode()}, 400, "Could not unzip uploaded file"),
        ({"S3Bucket": "b", "S3Key": "k"}, 400, "Code.S3Bucket is not there"),
        ({"ZipFile": base64.b64encode(bytes(ZIP_LIMIT_BYTES + 1)).decode()}, 413, "at most 52428800"),
    ],
)
def test_other_code_is_refused(params: Any, status: int, words: str) -> None:
    with pytest.raises(Refusal, match=words) as refused:
        read_code(params, "Code.")
    assert refused.value.error.status == status


def test_digests_are_base64_to_callers() -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    assert to_hex("CodeSha256", to_base64(digest)) == digest
    with pytest.raises(Refusal, match="CodeSha256 is abc; it must be base64 of a SHA-256"):
        to_hex("CodeSha256", "abc")


@pytest.mark.parametrize(
    ("arn", "place"),
    [
        (QUEUE_ARN, QUEUE),
        (f"arn:aws:lambda:{REGION}:{account_id('shop')}:function:other", {"function": "other"}),
        (f"arn:aws:lambda:{REGION}:{account_id('shop')}:function:other:live", {"function": "other:live"}),
    ],
)
def test_destinations_and_their_arns(arn: str, place: dict[str, str]) -> None:
    assert read_destination("Destination", arn, "shop") == place
    assert destination_arn(place, REGION, "shop") == arn


def test_a_function_of_another_namespace_is_no_destination() -> None:
    with pytest.raises(Refusal, match="of the same namespace"):
        read_destination("Destination", f"arn:aws:lambda:{REGION}:{account_id('other')}:function:f", "shop")


def function(spec: Any = BASE, status: Any = None, **metadata: Any) -> Function:
    told = {"name": "f", "namespace": "shop", "uid": "u", "generation": 2, "creationTimestamp": "2026-05-03T09:00:00Z"}
    return Function.model_validate({"metadata": {**told, **metadata}, "spec": spec, "status": status or {}})


def ready(status: str, reason: str, *, generation: int = 2, active: bool = True) -> dict[str, Any]:
    condition = {"type": "Ready", "status": status, "reason": reason, "message": "why", "lastTransitionTime": "t"}
    revision = {"revision": "r", "generation": 1, "codeSha256": DIGEST, "codeSize": 7, "spec": RESOLVED}
    told = {"observedGeneration": generation, "conditions": [condition]}
    return {**told, "active": revision} if active else told


@pytest.mark.parametrize(
    ("status", "state", "update", "code"),
    [
        ({}, "Pending", "InProgress", "Creating"),
        (ready("True", "Resolved"), "Active", "Successful", None),
        (ready("True", "Resolved", generation=1), "Active", "InProgress", None),
        (ready("False", "InvalidCode", active=False), "Failed", "Failed", "InvalidZipFileException"),
        (ready("False", "RuntimeNotFound", active=False), "Failed", "Failed", "InvalidRuntime"),
        (ready("False", "SecretNotFound", active=False), "Failed", "Failed", "InvalidConfiguration"),
        (ready("False", "PackageStoreUnavailable", active=False), "Pending", "InProgress", "Creating"),
        (ready("False", "PackageStoreUnavailable"), "Active", "InProgress", None),
        (ready("False", "InvalidCode"), "Active", "Failed", None),
    ],
)
def test_states_follow_the_condition(status: Any, state: str, update: str, code: str | None) -> None:
    found = state_of(function(status=status))
    assert (found["State"], found["LastUpdateStatus"], found.get("StateReasonCode")) == (state, update, code)
    assert ("LastUpdateStatusReason" in found) == (update == "Failed")


def test_a_functions_configuration() -> None:
    spec = {**BASE, "environment": {"variables": {"A": "1"}}, "deadLetterConfig": {"target": QUEUE}, "timeout": 9}
    shown = configuration_of(snapshot_of(function(spec, ready("True", "Resolved"), annotations={ROLE: "r"})), REGION)
    assert shown["FunctionArn"] == f"arn:aws:lambda:{REGION}:{account_id('shop')}:function:f"
    assert shown["CodeSha256"] == base64.b64encode(bytes.fromhex(DIGEST)).decode()
    assert shown["LastModified"] == "2026-05-03T09:00:00.000+0000"
    assert shown["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": "/aws/lambda/f"}
    assert shown["DeadLetterConfig"] == {"TargetArn": QUEUE_ARN}
    expected = {
        "Timeout": 9,
        "MemorySize": 128,
        "CodeSize": 7,
        "Version": "$LATEST",
        "Role": "r",
        "Runtime": "python3.13",
    }
    assert shown.items() >= expected.items()
    assert "ImageConfigResponse" not in shown


def test_the_revision_id_changes_with_the_spec_alone() -> None:
    def revision(**metadata: Any) -> str:
        return snapshot_of(function(**metadata)).revision_id

    assert revision() == revision(labels={"a": "b"})
    assert len({revision(), revision(generation=3), revision(uid="other")}) == 3


def test_code_that_control_has_not_seen_yet_is_shown_by_its_new_digest() -> None:
    new = function({**BASE, "code": {"packageSha256": "cd" * 32}}, ready("True", "Resolved", generation=1))
    shown = snapshot_of(new, 11)
    assert (shown.code_sha256, shown.code_size, snapshot_of(new).code_size) == ("cd" * 32, 11, 0)


def test_a_versions_configuration_is_of_its_snapshot() -> None:
    snapshot = {"revision": "r", "generation": 1, "codeSha256": DIGEST, "codeSize": 7, "spec": RESOLVED}
    content = {"metadata": {"name": "f-1", "uid": "v"}, "spec": {"function": {"name": "f"}, "description": "first"}}
    unpublished = Version.model_validate(content)
    published = Version.model_validate({**content, "status": {"version": 3, "snapshot": snapshot}})
    assert snapshot_of_version(unpublished, function()) is None
    found = snapshot_of_version(published, function())
    assert found is not None
    shown = configuration_of(found, REGION, "3")
    expected = {"Version": "3", "Description": "first", "CodeSize": 7, "State": "Active", "Role": NO_ROLE}
    assert shown.items() >= expected.items()
    assert shown["FunctionArn"].endswith(":function:f:3")


def test_names_of_alias_resources_are_apart_and_fit() -> None:
    names = {
        resource_name("f", "live"),
        resource_name("f", "Live"),
        resource_name("f", "l_ve"),
        resource_name("f-l", "ive"),
    }
    names.add(resource_name("f" * 63, "x" * 128))
    assert len(names) == 5
    assert all(len(name) <= 63 and name == name.lower() and "_" not in name for name in names)


def test_aliases_change_what_is_given() -> None:
    spec = changed_alias({"function": {"name": "f"}, "name": "live"}, {"FunctionVersion": "1", "Description": "d"})
    weighted = changed_alias(spec, {"RoutingConfig": {"AdditionalVersionWeights": {"2": 0.5}}})
    assert weighted == {**spec, "routingConfig": {"additionalVersionWeights": {"2": 0.5}}}
    shown = alias_answer(Alias.model_validate({"metadata": {"name": "a"}, "spec": weighted}), "arn")
    assert shown["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.5}}
    assert (shown["Name"], shown["FunctionVersion"], shown["Description"]) == ("live", "1", "d")
    assert "RoutingConfig" not in alias_answer(Alias.model_validate({"metadata": {"name": "a"}, "spec": spec}), "arn")
    with pytest.raises(Refusal, match="another version than functionVersion"):
        changed_alias(weighted, {"FunctionVersion": "2"})


def test_event_invoke_configs_are_those_that_were_put() -> None:
    resource = {"metadata": {"namespace": "shop", "creationTimestamp": "2026-05-03T09:00:00Z"}, "spec": BASE}
    assert find_answer(resource, "arn", REGION) is None
    config = changed_config({}, {"MaximumRetryAttempts": 0}, "shop")
    config = changed_config(config, {"DestinationConfig": {"OnFailure": {"Destination": QUEUE_ARN}}}, "shop")
    answer = find_answer({**resource, "spec": {**BASE, "eventInvokeConfig": config}}, "arn", REGION)
    assert answer == {
        "FunctionArn": "arn",
        "LastModified": 1777798800.0,
        "MaximumRetryAttempts": 0,
        "MaximumEventAgeInSeconds": 21600,
        "DestinationConfig": {"OnSuccess": {}, "OnFailure": {"Destination": QUEUE_ARN}},
    }


def test_tags_are_kept_as_they_are() -> None:
    resource = tagged(annotate({"metadata": {}}, {ROLE: "r"}), {"cost centre": "7/b"})
    assert tags_of(resource) == {"cost centre": "7/b"}
    assert tagged(resource, {})["metadata"]["annotations"] == {ROLE: "r"}
    with pytest.raises(Refusal, match="at most 50, not 51"):
        tagged(resource, {str(number): "" for number in range(51)})

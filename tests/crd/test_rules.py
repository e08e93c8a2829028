"""Every rule and bound of the CRDs: one object that is accepted and one that is refused, by a real API server."""

from typing import Any

import httpx
import pytest

Object = dict[str, Any]

BASE: dict[str, Object] = {
    "functions": {"runtime": "python3.13", "handler": "index.lambda_handler", "code": {"inline": "x"}},
    "versions": {"function": {"name": "hello"}},
    "aliases": {"function": {"name": "hello"}, "name": "live", "functionVersion": "1"},
    "triggers": {"function": {"name": "hello"}, "http": {"path": "/hello"}},
}

KINDS = {"functions": "Function", "versions": "Version", "aliases": "Alias", "triggers": "Trigger"}

REFERENCE = {"name": "s", "key": "k"}
DIGEST = "a" * 64
ONE_CODE = "code must have exactly one of inline, files, configMap, url, imageUri or packageSha256"
ONE_DESTINATION = "a destination must have exactly one of function, subject, sqsQueueUrl or url"
OTHER_SUBJECT = "a destination's subject must not have wildcards, nor begin with $, _INBOX. or funclet."
OTHER_LETTERS = "deadLetterSubject must not begin with $, _INBOX. or funclet."
ONE_SOURCE = "spec must have exactly one of http, jetstream, sqs, schedule"
QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
QUEUE_ARN = "arn:aws:sqs:eu-west-1:123456789012:orders"
ONE_QUEUE = "sqs must have exactly one of queueUrl and queueArn"
FIFO_BATCHES = "a FIFO queue takes a batchSize of at most 10"


def route(path: str) -> Object:
    return {"http": {"path": path}}


def stream(**fields: Any) -> Object:
    return {"http": None, "jetstream": {"stream": "ORDERS", **fields}}


def sqs(**fields: Any) -> Object:
    return {"http": None, "sqs": {"queueUrl": QUEUE, **fields}}


def by_arn(**fields: Any) -> Object:
    given = {"queueArn": QUEUE_ARN, **fields}
    return {"http": None, "sqs": {name: value for name, value in given.items() if value is not None}}


def schedule(expression: str, **fields: Any) -> dict[str, Any]:
    return {"http": None, "schedule": {"scheduleExpression": expression, **fields}}


async def create(api: httpx.AsyncClient, plural: str, name: str, changes: Object) -> httpx.Response:
    """A dry run of creating the base object with these changes; a change to None takes a field away."""
    spec = {key: value for key, value in {**BASE[plural], **changes}.items() if value is not None}
    body = {"apiVersion": "funclet.dev/v1", "kind": KINDS[plural], "metadata": {"name": name}, "spec": spec}
    return await api.post(
        f"/apis/funclet.dev/v1/namespaces/default/{plural}",
        params={"dryRun": "All", "fieldValidation": "Strict"},
        json=body,
    )


def weights(**parts: float) -> Object:
    """An Alias with other versions, each `v` and its number."""
    return {"routingConfig": {"additionalVersionWeights": {name[1:]: part for name, part in parts.items()}}}


def on_success(**destination: str) -> Object:
    """A Function whose events' successes go to this destination."""
    return {"eventInvokeConfig": {"destinationConfig": {"onSuccess": destination}}}


CONFIG = {"entryPoint": ["/run"], "command": ["app.handler"], "workingDirectory": "/srv"}
PULL = {"imagePullSecrets": [{"name": "registry"}]}


def image(**changes: Any) -> Object:
    """A Function that is packaged as an image."""
    return {"packageType": "Image", "runtime": None, "handler": None, "code": {"imageUri": "shop/prices:1"}, **changes}


CASES: list[tuple[str, Object, Object, str]] = [
    ("functions", {"runtime": "python3.11"}, {"runtime": "ruby3.3"}, 'Unsupported value: "ruby3.3"'),
    ("functions", {"handler": "a.b"}, {"handler": "nodots"}, "handler must be module.function"),
    ("functions", {"runtime": "nodejs22.x"}, {"runtime": "nodejs22.x", "handler": "a"}, "module.function"),
    (
        "functions",
        {"runtime": "java21", "handler": "a.B::c"},
        {"handler": "a b.c"},
        "spec.handler in body should match",
    ),
    ("functions", {"runtime": "provided.al2023", "handler": "x"}, {"runtime": "provided"}, "Unsupported value"),
    ("functions", {"handler": "a.b"}, {"handler": "a." + "b" * 127}, "may not be more than 128"),
    ("functions", {}, {"code": None}, "spec.code: Required value"),
    ("functions", {}, {"runtime": None}, "runtime and handler must be given, or packageType Image"),
    ("functions", {}, {"handler": None}, "runtime and handler must be given, or packageType Image"),
    ("functions", image(), image(runtime="python3.13"), "takes neither runtime nor handler"),
    ("functions", image(), image(handler="index.handler"), "takes neither runtime nor handler"),
    ("functions", image(), image(code={"inline": "x"}), "packageType Image and code.imageUri belong together"),
    ("functions", {}, {"code": {"imageUri": "shop/prices:1"}}, "packageType Image and code.imageUri belong together"),
    ("functions", image(), {**image(), "packageType": "Oci"}, 'Unsupported value: "Oci"'),
    ("functions", image(), image(code={"imageUri": "shop/prices: 1"}), "spec.code.imageUri in body should match"),
    ("functions", image(layers=[]), image(layers=[{"files": {"a": "x"}}]), "packageType Image takes no layers"),
    ("functions", image(imageConfig=CONFIG), {"imageConfig": CONFIG}, "imageConfig needs packageType Image"),
    (
        "functions",
        image(imageConfig={"command": ["x"] * 1500}),
        image(imageConfig={"command": ["x"] * 1501}),
        "must have at most 1500 items",
    ),
    (
        "functions",
        image(imageConfig={"entryPoint": ["x"] * 1500}),
        image(imageConfig={"entryPoint": ["x"] * 1501}),
        "must have at most 1500 items",
    ),
    (
        "functions",
        image(imageConfig={"workingDirectory": "/" * 1000}),
        image(imageConfig={"workingDirectory": "/" * 1001}),
        "may not be more than 1000",
    ),
    (
        "functions",
        image(scaling={"concurrencyPerInstance": 1}),
        image(scaling={"concurrencyPerInstance": 2}),
        "packageType Image serves one invocation at a time",
    ),
    ("functions", image(pod=PULL), {"pod": PULL}, "pod.imagePullSecrets and pod.imagePullPolicy need packageType"),
    (
        "functions",
        image(pod={"imagePullPolicy": "Never"}),
        image(pod={"imagePullPolicy": "Sometimes"}),
        'Unsupported value: "Sometimes"',
    ),
    ("functions", {"code": {"files": {"index.py": "x"}}}, {"code": {}}, ONE_CODE),
    ("functions", {"code": {"packageSha256": DIGEST}}, {"code": {"packageSha256": DIGEST, "inline": "x"}}, ONE_CODE),
    ("functions", {}, {"code": {"packageSha256": "A"}}, "spec.code.packageSha256 in body should match"),
    ("functions", {"code": {"configMap": REFERENCE}}, {"code": {"inline": "", "files": {"a.py": ""}}}, ONE_CODE),
    (
        "functions",
        {"layers": [{"files": {"python/a.py": "x"}}] * 5},
        {"layers": [{"files": {"python/a.py": "x"}}] * 6},
        "must have at most 5 items",
    ),
    ("functions", {"layers": [{"configMap": REFERENCE}]}, {"layers": [{}]}, "a layer must have exactly one of"),
    (
        "functions",
        {"layers": []},
        {"layers": [{"directory": "./x"}]},
        "a layer: a directory is read by `funclet local` alone",
    ),
    ("functions", {}, {"layers": [{"url": "https://x.org/a.zip"}]}, "a layer: url and sha256 belong together"),
    ("functions", {}, {"code": {"directory": "./src"}}, "code: a directory is read by `funclet local` alone"),
    (
        "functions",
        {"code": {"url": "https://x.org/a.zip", "sha256": DIGEST}},
        {"code": {"url": "http://x"}},
        "give both",
    ),
    ("functions", {}, {"code": {"url": "ftp://x", "sha256": DIGEST}}, "spec.code.url in body should match"),
    ("functions", {}, {"code": {"url": "http://x", "sha256": "ABC"}}, "spec.code.sha256 in body should match"),
    ("functions", {}, {"code": {"files": {}}}, "should have at least 1 properties"),
    ("functions", {"memorySize": 128}, {"memorySize": 127}, "should be greater than or equal to 128"),
    ("functions", {"memorySize": 10240}, {"memorySize": 10241}, "should be less than or equal to 10240"),
    ("functions", {"timeout": 1}, {"timeout": 0}, "should be greater than or equal to 1"),
    ("functions", {"timeout": 900}, {"timeout": 901}, "should be less than or equal to 900"),
    ("functions", {"ephemeralStorage": {"size": 512}}, {"ephemeralStorage": {"size": 511}}, "than or equal to 512"),
    ("functions", {"ephemeralStorage": {"size": 10240}}, {"ephemeralStorage": {"size": 10241}}, "equal to 10240"),
    ("functions", {"loggingConfig": {"logFormat": "JSON"}}, {"loggingConfig": {"logFormat": "XML"}}, '"XML"'),
    (
        "functions",
        {"loggingConfig": {"logFormat": "JSON", "systemLogLevel": "WARN", "applicationLogLevel": "TRACE"}},
        {"loggingConfig": {"systemLogLevel": "WARN"}},
        "need logFormat JSON",
    ),
    (
        "functions",
        {"environment": {"variables": {"A_1": "x"}}},
        {"environment": {"variables": {"1A": "x"}}},
        "names must have at most 256 characters and match ^[a-zA-Z][a-zA-Z0-9_]*$",
    ),
    (
        "functions",
        {"environment": {"secrets": {"A": REFERENCE}}},
        {"environment": {"secrets": {"A-B": REFERENCE}}},
        "names must have at most 256 characters and match ^[a-zA-Z][a-zA-Z0-9_]*$",
    ),
    (
        "functions",
        {"environment": {"variables": {"A": "x"}, "secrets": {"B": REFERENCE}}},
        {"environment": {"variables": {"A": "x"}, "secrets": {"A": REFERENCE}}},
        "a variable must be in variables or in secrets, not in both",
    ),
    (
        "functions",
        {"environment": {"variables": {"A": "x" * 4095}}},
        {"environment": {"variables": {"A": "x" * 4096}}},
        "environment.variables must take at most 4096 characters",
    ),
    (
        "functions",
        {"provisionedConcurrentExecutions": 2, "reservedConcurrentExecutions": 2},
        {"provisionedConcurrentExecutions": 3, "reservedConcurrentExecutions": 2},
        "provisionedConcurrentExecutions must not exceed reservedConcurrentExecutions",
    ),
    ("functions", {"reservedConcurrentExecutions": 0}, {"reservedConcurrentExecutions": -1}, "than or equal to 0"),
    ("functions", {"provisionedConcurrentExecutions": 1}, {"provisionedConcurrentExecutions": 0}, "or equal to 1"),
    ("functions", {"scaling": {"maxInstances": 1000}}, {"scaling": {"maxInstances": 1001}}, "or equal to 1000"),
    ("functions", {"scaling": {"concurrencyPerInstance": 100}}, {"scaling": {"concurrencyPerInstance": 101}}, "to 100"),
    ("functions", {"scaling": {"idleTimeoutSeconds": 1}}, {"scaling": {"idleTimeoutSeconds": 0}}, "or equal to 1"),
    ("functions", {"scaling": {"idleTimeoutSeconds": 86400}}, {"scaling": {"idleTimeoutSeconds": 86401}}, "to 86400"),
    ("functions", {"scaling": {"keepAlive": "Adaptive"}}, {"scaling": {"keepAlive": "Clever"}}, '"Clever"'),
    (
        "functions",
        {"pod": {"tolerations": [{"key": "a", "operator": "Exists"}]}},
        {"pod": {"tolerations": [{"operator": "Sometimes"}]}},
        '"Sometimes"',
    ),
    (
        "functions",
        {"eventInvokeConfig": {"maximumRetryAttempts": 2, "maximumEventAgeInSeconds": 21600}},
        {"eventInvokeConfig": {"maximumRetryAttempts": 3}},
        "should be less than or equal to 2",
    ),
    ("functions", {}, {"eventInvokeConfig": {"maximumEventAgeInSeconds": 59}}, "greater than or equal to 60"),
    ("functions", on_success(function="next"), on_success(function="next", url="http://x"), ONE_DESTINATION),
    ("functions", on_success(url="https://x"), on_success(), ONE_DESTINATION),
    ("functions", on_success(sqsQueueUrl="https://x"), on_success(sqsQueueUrl="x"), "sqsQueueUrl in body should match"),
    ("functions", on_success(subject="a.b"), on_success(subject="funclet.events.other.victim"), OTHER_SUBJECT),
    ("functions", on_success(subject="a.b"), on_success(subject="a.*"), OTHER_SUBJECT),
    (
        "functions",
        {"deadLetterConfig": {"target": {"subject": "a"}}},
        {"deadLetterConfig": {}},
        "target: Required value",
    ),
    ("functions", {"recursiveLoop": "Allow"}, {"recursiveLoop": "Perhaps"}, '"Perhaps"'),
    ("functions", {"description": "x" * 256}, {"description": "x" * 257}, "may not be more than 256"),
    ("functions", {}, {"memorysize": 128}, 'unknown field "spec.memorysize"'),
    ("versions", {"codeSha256": DIGEST}, {"codeSha256": "abc"}, "spec.codeSha256 in body should match"),
    ("versions", {"description": "d" * 256}, {"description": "d" * 257}, "spec.description: Too long"),
    ("aliases", {"name": "1a"}, {"name": "11"}, "name must not be digits alone"),
    ("aliases", {"name": "a_B-2"}, {"name": "$LATEST"}, "spec.name in body should match"),
    ("aliases", {"functionVersion": "$LATEST"}, {"functionVersion": "latest"}, "functionVersion in body should match"),
    ("aliases", weights(v2=0.1), weights(v2=1.1), "should be less than or equal to 1"),
    ("aliases", weights(v2=0.0), weights(v2=-0.1), "should be greater than or equal to 0"),
    ("aliases", weights(v2=1.0), weights(v2=0.1, v3=0.1), "must have at most 1 item"),
    ("aliases", weights(v2=0.5), weights(vbeta=0.5), "match ^[1-9][0-9]*$"),
    ("aliases", weights(v2=0.5), weights(v1=0.5), "must name another version than functionVersion"),
    ("aliases", weights(v2=0.5), {**weights(v2=0.5), "functionVersion": "$LATEST"}, "$LATEST takes no part"),
    (
        "aliases",
        {"provisionedConcurrentExecutions": 1, "eventInvokeConfig": {"maximumRetryAttempts": 0}},
        {"provisionedConcurrentExecutions": 1, "functionVersion": "$LATEST"},
        "functionVersion must be a number when provisionedConcurrentExecutions is given",
    ),
    (
        "functions",
        on_success(function="a:live"),
        on_success(function="a:b:c"),
        "onSuccess.function in body should match",
    ),
    (
        "triggers",
        {"function": {"name": "hello", "qualifier": "live"}},
        {"function": {"name": "hello", "qualifier": "a:b"}},
        "qualifier in body should match",
    ),
    ("triggers", {}, {"http": None}, ONE_SOURCE),
    ("triggers", stream(), {"jetstream": {"stream": "ORDERS"}}, ONE_SOURCE),
    ("triggers", sqs(), {"sqs": {"queueUrl": QUEUE}}, ONE_SOURCE),
    ("triggers", sqs(), sqs(queueArn=QUEUE_ARN), ONE_QUEUE),
    ("triggers", by_arn(), by_arn(queueArn=None), ONE_QUEUE),
    ("triggers", by_arn(), by_arn(queueArn=QUEUE_ARN.replace("sqs", "sns")), "queueArn in body should match"),
    ("triggers", sqs(queueUrl="http://h:1/q"), sqs(queueUrl="sqs://h/q"), "queueUrl in body should match"),
    ("triggers", sqs(endpointUrl="http://h:1"), sqs(endpointUrl="http://h/path"), "endpointUrl in body should match"),
    ("triggers", sqs(region="eu-west-1"), sqs(region="EU West"), "region in body should match"),
    (
        "triggers",
        sqs(credentialsSecret={"name": "aws"}),
        sqs(credentialsSecret={"name": "Not A Name"}),
        "credentialsSecret.name in body should match",
    ),
    (
        "triggers",
        sqs(batchSize=10000, maximumBatchingWindowInSeconds=1),
        sqs(batchSize=11),
        "a batchSize above 10 needs a maximumBatchingWindowInSeconds of 1 or more",
    ),
    (
        "triggers",
        sqs(queueUrl=f"{QUEUE}.fifo"),
        sqs(queueUrl=f"{QUEUE}.fifo", maximumBatchingWindowInSeconds=1),
        FIFO_BATCHES,
    ),
    (
        "triggers",
        by_arn(queueArn=f"{QUEUE_ARN}.fifo", batchSize=10),
        by_arn(queueArn=f"{QUEUE_ARN}.fifo", batchSize=11, maximumBatchingWindowInSeconds=1),
        FIFO_BATCHES,
    ),
    (
        "triggers",
        sqs(scalingConfig={"maximumConcurrency": 2}),
        sqs(scalingConfig={"maximumConcurrency": 1}),
        "should be greater than or equal to 2",
    ),
    (
        "triggers",
        sqs(scalingConfig={"maximumConcurrency": 1000}),
        sqs(scalingConfig={"maximumConcurrency": 1001}),
        "should be less than or equal to 1000",
    ),
    ("triggers", schedule("rate(5 minutes)"), {"schedule": {"scheduleExpression": "rate(5 minutes)"}}, ONE_SOURCE),
    ("triggers", schedule("at(2027-01-01T00:00:00)"), schedule("hourly"), "scheduleExpression in body should match"),
    (
        "triggers",
        schedule("rate(1 day)", startDate="2027-01-01T00:00:00Z"),
        schedule("rate(1 day)", startDate="tomorrow"),
        "date-time",
    ),
    (
        "triggers",
        schedule("rate(1 day)", maximumEventAgeInSeconds=60),
        schedule("rate(1 day)", maximumEventAgeInSeconds=59),
        "should be greater than or equal to 60",
    ),
    ("triggers", {}, {"function": None}, "spec.function: Required value"),
    (
        "triggers",
        {"function": {"name": "a-b"}},
        {"function": {"name": "A_B"}},
        "spec.function.name in body should match",
    ),
    ("triggers", route("/a/{id}/{rest+}"), route("a"), "spec.http.path in body should match"),
    ("triggers", {}, route("/a/{1}"), "spec.http.path in body should match"),
    ("triggers", {"http": {"path": "/", "methods": ["GET"]}}, {"http": {"path": "/", "methods": ["FETCH"]}}, '"FETCH"'),
    ("triggers", {}, {"http": {"path": "/", "methods": []}}, "should have at least 1 items"),
    ("triggers", {}, {"http": {"path": "/", "methods": ["GET", "GET"]}}, "Duplicate value"),
    (
        "triggers",
        {"http": {"path": "/", "host": "x.org"}},
        {"http": {"path": "/", "host": "X.org"}},
        "http.host in body",
    ),
    ("triggers", stream(subject="orders.*"), stream(subject="a..b"), "spec.jetstream.subject in body should match"),
    (
        "triggers",
        stream(filterCriteria={"filters": [{"pattern": "{}"}]}),
        stream(filterCriteria={"filters": []}),
        "should have at least 1 items",
    ),
    ("triggers", stream(), stream(stream="a.b"), "spec.jetstream.stream in body should match"),
    ("triggers", stream(batchSize=10000), stream(batchSize=10001), "should be less than or equal to 10000"),
    (
        "triggers",
        stream(maximumBatchingWindowInSeconds=300),
        stream(maximumBatchingWindowInSeconds=301),
        "should be less than or equal to 300",
    ),
    (
        "triggers",
        stream(functionResponseTypes=["ReportBatchItemFailures"]),
        stream(functionResponseTypes=["Everything"]),
        '"Everything"',
    ),
    ("triggers", stream(maximumConcurrency=1), stream(maximumConcurrency=0), "should be greater than or equal to 1"),
    ("triggers", stream(maximumReceives=1000), stream(maximumReceives=1001), "less than or equal to 1000"),
    ("triggers", stream(deadLetterSubject="dead"), stream(deadLetterSubject="a b"), "deadLetterSubject in body should"),
    ("triggers", stream(deadLetterSubject="funclets.a"), stream(deadLetterSubject="funclet.events.a.b"), OTHER_LETTERS),
    ("triggers", stream(deadLetterSubject="js.api"), stream(deadLetterSubject="$JS.API.INFO"), OTHER_LETTERS),
    ("triggers", stream(deadLetterSubject="inbox"), stream(deadLetterSubject="_INBOX.a"), OTHER_LETTERS),
]


@pytest.mark.parametrize(("plural", "accepted", "refused", "message"), CASES)
async def test_a_rule(api: httpx.AsyncClient, plural: str, accepted: Object, refused: Object, message: str) -> None:
    good = await create(api, plural, "rules-test", accepted)
    assert good.status_code == 201, good.text
    bad = await create(api, plural, "rules-test", refused)
    assert bad.is_client_error
    assert message in bad.json()["message"]


@pytest.mark.parametrize("plural", list(KINDS))
async def test_a_name_is_a_dns_label(api: httpx.AsyncClient, plural: str) -> None:
    assert (await create(api, plural, "a" * 63, {})).status_code == 201
    for name in ("a" * 64, "a.b"):
        refused = await create(api, plural, name, {})
        assert refused.status_code == 422
        assert "metadata.name must be a DNS label" in refused.json()["message"]


async def test_defaults_are_filled_in_on_all_levels(api: httpx.AsyncClient) -> None:
    spec = (await create(api, "functions", "rules-test", {})).json()["spec"]
    assert (spec["memorySize"], spec["timeout"], spec["ephemeralStorage"]) == (128, 3, {"size": 512})
    assert spec["scaling"] == {
        "concurrencyPerInstance": 1,
        "idleTimeoutSeconds": 60,
        "keepAlive": "Fixed",
        "maxInstances": 100,
    }
    http = (await create(api, "triggers", "rules-test", {})).json()["spec"]["http"]
    assert http == {"path": "/hello", "methods": ["ANY"]}


@pytest.mark.parametrize(
    ("plural", "changes", "message"),
    [
        ("versions", {"description": "another"}, "a Version is immutable"),
        ("aliases", {"name": "beta"}, "function.name and name must stay as they are"),
        ("aliases", {"function": {"name": "other"}}, "function.name and name must stay as they are"),
    ],
)
async def test_what_must_stay_as_it_is(api: httpx.AsyncClient, plural: str, changes: Object, message: str) -> None:
    path = f"/apis/funclet.dev/v1/namespaces/default/{plural}"
    body = {"apiVersion": "funclet.dev/v1", "kind": KINDS[plural], "metadata": {"name": "rules-stay"}}
    made = await api.post(path, json={**body, "spec": BASE[plural]})
    assert made.status_code == 201, made.text
    try:
        patch = {"content-type": "application/merge-patch+json"}
        refused = await api.patch(f"{path}/rules-stay", json={"spec": changes}, headers=patch)
        assert refused.status_code == 422
        assert message in refused.json()["message"]
        settings = {"provisionedConcurrentExecutions": 2, "eventInvokeConfig": {"maximumRetryAttempts": 1}}
        allowed = {"spec": settings | ({"functionVersion": "2"} if plural == "aliases" else {})}
        assert (await api.patch(f"{path}/rules-stay", json=allowed, headers=patch)).is_success
    finally:
        await api.delete(f"{path}/rules-stay")

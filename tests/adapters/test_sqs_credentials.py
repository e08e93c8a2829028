"""Who asks a queue's server: moto's tells its services apart by what a request is signed for."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer

from funclet.adapters.resources import SecretData
from funclet.adapters.sqs import SqsClient
from funclet.adapters.sqs_access import SqsAccess
from funclet.api.sqs import SqsSource
from funclet.core.sqs_queue import QueueFacts, QueueProblem

KEYS = {"AWS_ACCESS_KEY_ID": b"test", "AWS_SECRET_ACCESS_KEY": b"test"}


class Secrets:
    """A namespace with two Secrets."""

    async def find_secret(self, namespace: str, name: str) -> SecretData | None:
        data = {"shop/good": KEYS, "shop/half": {"AWS_ACCESS_KEY_ID": b"test"}}.get(f"{namespace}/{name}")
        return SecretData(data, "1") if data else None


@pytest.fixture(scope="module")
def queue_url() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    sqs = boto3.client(
        "sqs", endpoint_url=url, region_name="eu-west-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    yield sqs.create_queue(QueueName="orders")["QueueUrl"]
    sqs.close()
    server.stop()


@pytest.fixture
async def access(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqsAccess]:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    access = SqsAccess(Secrets(), SqsClient(), "us-east-1")
    yield access
    await access.close()


def source(queue_url: str, secret: str) -> SqsSource:
    given = {"queueUrl": queue_url, "region": "eu-west-1", "credentialsSecret": {"name": secret}}
    return SqsSource.model_validate(given)


async def test_a_secrets_keys_sign_for_sqs_in_the_triggers_region(queue_url: str, access: SqsAccess) -> None:
    arn = "arn:aws:sqs:eu-west-1:123456789012:orders"
    assert await access.find(source(queue_url, "good"), "shop") == QueueFacts(arn, 30)


async def test_the_environments_keys_sign_where_no_secret_is_named(
    queue_url: str, access: SqsAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value.decode())
    found = await asyncio.gather(*(access.find(SqsSource(queue_url=queue_url, region="eu-west-1"), "") for _ in "ab"))
    assert [type(each) for each in found] == [QueueFacts, QueueFacts]


@pytest.mark.parametrize(("secret", "said"), [("none", "none does not exist"), ("half", "half lacks one of the keys")])
async def test_a_secret_that_is_missing_or_incomplete_is_named(
    queue_url: str, access: SqsAccess, secret: str, said: str
) -> None:
    found = await access.find(source(queue_url, secret), "shop")
    assert isinstance(found, QueueProblem)
    assert found.reason == "SecretNotFound"
    assert said in found.message


async def test_without_a_signature_moto_is_no_sqs(queue_url: str, access: SqsAccess) -> None:
    found = await access.find(SqsSource(queue_url=queue_url), "shop")
    assert isinstance(found, QueueProblem)
    assert found.reason == "Unreachable"

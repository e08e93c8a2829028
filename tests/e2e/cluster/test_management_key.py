"""On a cluster the management API takes requests that are signed with the installation's key, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from tests.e2e.worlds import World


@pytest.mark.parametrize(
    ("key_id", "secret", "error_type"),
    [("other", None, "UnrecognizedClientException"), (None, "other", "InvalidSignatureException")],
)
def test_another_key_opens_nothing(world: World, key_id: str | None, secret: str | None, error_type: str) -> None:
    other = boto3.client(
        "lambda",
        endpoint_url=world.endpoint,
        region_name="us-east-1",
        aws_access_key_id=key_id or world.key.access_key_id,
        aws_secret_access_key=secret or world.key.secret_access_key,
        config=Config(retries={"total_max_attempts": 1}),
    )
    with pytest.raises(ClientError) as refused:
        other.list_functions()
    assert refused.value.response["Error"]["Code"] == error_type
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403

"""Messages to SQS queues, and to what speaks SQS's protocol, by botocore: loaded when the first one is sent."""

import asyncio
import re
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from funclet.errors import Unavailable

TIMEOUT_SECONDS = 10
_AWS_HOST = re.compile(r"sqs\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?")


class SqsSender:
    """Sends to queues by their URL. One client a server; `region` is for servers whose name does not tell it."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._clients: dict[str, Any] = {}
        self._turn = threading.Lock()

    async def send(self, queue_url: str, body: str, attributes: Mapping[str, str]) -> None:
        """Returns when the queue has the message. Raises Unavailable."""
        await asyncio.to_thread(self._send, queue_url, body, attributes)

    def _send(self, queue_url: str, body: str, attributes: Mapping[str, str]) -> None:
        from botocore.exceptions import BotoCoreError, ClientError  # 25 MB, for those alone who send to SQS

        message: dict[str, Any] = {"QueueUrl": queue_url, "MessageBody": body}
        message["MessageAttributes"] = {
            name: {"DataType": "Number" if name == "ErrorCode" else "String", "StringValue": value}
            for name, value in attributes.items()
        }
        if queue_url.endswith(".fifo"):
            message["MessageGroupId"] = "funclet"
            message["MessageDeduplicationId"] = attributes.get("RequestID", "")
        try:
            answer = self._client(queue_url).send_message(**message)
        except (BotoCoreError, ClientError, ValueError) as error:
            raise Unavailable(f"{queue_url} did not take the message: {error}", reason="DestinationRefused") from error
        if not answer.get("MessageId"):  # a server that is no SQS at all may answer 200 too
            raise Unavailable(f"{queue_url} did not answer as SQS does", reason="DestinationRefused")

    def _client(self, queue_url: str) -> Any:
        url = urlsplit(queue_url)
        endpoint = f"{url.scheme}://{url.netloc}"
        with self._turn:
            if endpoint not in self._clients:
                self._clients[endpoint] = _make_client(endpoint, _region_of(url.hostname or "", self._region))
            return self._clients[endpoint]


def _region_of(host: str, otherwise: str) -> str:
    match = _AWS_HOST.fullmatch(host)
    return match[1] if match else otherwise


def _make_client(endpoint: str, region: str) -> Any:
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.session import get_session

    session = get_session()
    options: dict[str, Any] = {"connect_timeout": TIMEOUT_SECONDS, "read_timeout": TIMEOUT_SECONDS}
    if session.get_credentials() is None:
        options["signature_version"] = UNSIGNED
    return session.create_client("sqs", region_name=region, endpoint_url=endpoint, config=Config(**options))

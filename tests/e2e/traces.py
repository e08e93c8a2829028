"""Callers who record, a function that tells where in a trace it runs, and what every trace must be."""

import secrets
from collections.abc import Iterable
from typing import Any

import httpx
from tests.collector.collector import Span
from tests.e2e.worlds import World

SERVER, PRODUCER, CONSUMER = 2, 4, 5
SAYING = """
import os
def handler(event, context):
    if event.get("fail"):
        raise KeyError("a secret")
    status = event.get("queryStringParameters", {}).get("status", "200")
    return {"statusCode": int(status), "body": os.environ["_X_AMZN_TRACE_ID"]}
"""


class Caller:
    """Somebody who records, and calls within a span of his own."""

    def __init__(self, *, sampled: bool = True) -> None:
        self.trace_id, self.span_id = secrets.token_hex(16), secrets.token_hex(8)
        self.headers = {"traceparent": f"00-{self.trace_id}-{self.span_id}-{int(sampled):02x}"}

    def invoke(self, world: World, function: str, payload: Any = None, **more: str) -> httpx.Response:
        url = f"{world.endpoint}/2015-03-31/functions/{function}/invocations"
        return httpx.post(url, json=payload or {}, headers={**self.headers, **more}, timeout=30)


def assert_is_tree(spans: Iterable[Span], parent_id: str) -> None:
    """All hang together below this span, and each is within its parent."""
    by_id = {span.span_id: span for span in spans}
    for span in by_id.values():
        assert span.parent_id == parent_id or span.parent_id in by_id, span
        if span.parent_id in by_id:
            parent = by_id[span.parent_id]
            assert parent.start_ns <= span.start_ns <= span.end_ns <= parent.end_ns, (parent, span)

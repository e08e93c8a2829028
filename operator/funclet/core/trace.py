"""The X-Ray trace header: read, made from W3C's traceparent, and its lineage, which finds recursive loops.

    Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a87bd80c:1,68fd508a:5

Lineage counts, for each function of a chain of requests, how often it was invoked in it; the AWS SDKs hand the header
of an invocation on with every request that its handler makes (`_X_AMZN_TRACE_ID`). AWS documents the field and not the
hash, which is ours. https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html: "If your function is
invoked more than approximately 16 times in the same chain of requests, Lambda automatically stops the next invocation".
"""

import hashlib
import re

LINEAGE_LIMIT = 16
"""Invocations of one function in one chain."""
LINEAGE_FUNCTIONS = 16
"""Functions that a header remembers, the newest ones: it must not grow for ever."""

_HEADER = re.compile(r"[\w=;:|.,+/ -]{1,1024}", re.ASCII)
_LINEAGE = re.compile(r";?Lineage=([0-9a-f:|,]*)")
_ENTRY = re.compile(r"([0-9a-f]{8}):(\d{1,4})")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{8})([0-9a-f]{24})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


def read_header(value: str) -> str | None:
    """The header, if it is one and may be written into another request."""
    return value if _HEADER.fullmatch(value) else None


def from_traceparent(value: str) -> str | None:
    """W3C's traceparent in X-Ray's form; None when it is none. https://www.w3.org/TR/trace-context/#traceparent-header"""
    match = _TRACEPARENT.fullmatch(value)
    if match is None or not match[1].strip("0") + match[2].strip("0") or not match[3].strip("0"):
        return None
    return f"Root=1-{match[1]}-{match[2]};Parent={match[3]};Sampled={int(match[4], 16) & 1}"


def lineage_token(key: str) -> str:
    """The eight digits that stand for the function `namespace/name`."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def advance(header: str, token: str) -> tuple[str, int]:
    """The header as the function of this token gets it, and how often it was invoked in this chain before."""
    match = _LINEAGE.search(header)
    counts = {name: int(count) for name, count in _ENTRY.findall(match[1])} if match else {}
    before = counts.pop(token, 0)
    rest = header if match is None else header[: match.start()] + header[match.end() :]
    others = list(counts.items())[1 - LINEAGE_FUNCTIONS :]
    kept = [*others, (token, before + 1)]
    lineage = ",".join(f"{name}:{count}" for name, count in kept)
    return f"{rest};Lineage={lineage}", before

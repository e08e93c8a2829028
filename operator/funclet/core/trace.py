"""The X-Ray trace header: its place in a trace, W3C's traceparent in its form, and its lineage, which finds loops.

    Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a87bd80c:1,68fd508a:5

Lineage counts, for each function of a chain of requests, how often it was invoked in it; the AWS SDKs hand the header
of an invocation on with every request that its handler makes (`_X_AMZN_TRACE_ID`). AWS documents the field and not the
hash, which is ours. https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html: "If your function is
invoked more than approximately 16 times in the same chain of requests, Lambda automatically stops the next invocation".
"""

import hashlib
import re
from collections.abc import Mapping
from typing import NamedTuple

LINEAGE_LIMIT = 16
"""Invocations of one function in one chain."""
LINEAGE_FUNCTIONS = 16
"""Functions that a header remembers, the newest ones: it must not grow for ever."""

_HEADER = re.compile(r"[\w=;:|.,+/ -]{1,1024}", re.ASCII)
_LINEAGE = re.compile(r";?Lineage=([0-9a-f:|,]*)")
_ENTRY = re.compile(r"([0-9a-f]{8}):(\d{1,4})")
_ROOT = re.compile(r"(?:^|;) *Root=1-([0-9a-f]{8})-([0-9a-f]{24})(?=;|$)")
_PARENT = re.compile(r"(?:^|;) *Parent=([0-9a-f]{16})(?=;|$)")
_SAMPLED = re.compile(r"(?:^|;) *Sampled=([01])(?=;|$)")
_PLACE = re.compile(r"(?:^|(?<=;)) *(?:Root|Parent|Sampled)=[^;]*;?")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{8})([0-9a-f]{24})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class TraceContext(NamedTuple):
    """A place in a trace, in hexadecimal digits: 32 of the trace, 16 of the span."""

    trace_id: str
    span_id: str = ""
    """Empty: the header names no span."""
    sampled: bool | None = None
    """None: whoever wrote the header left it open."""


def read_header(value: str) -> str | None:
    """The header, if it is one and may be written into another request."""
    return value if _HEADER.fullmatch(value) else None


def from_traceparent(value: str) -> str | None:
    """W3C's traceparent in X-Ray's form; None when it is none. https://www.w3.org/TR/trace-context/#traceparent-header"""
    match = _TRACEPARENT.fullmatch(value)
    if match is None or not match[1].strip("0") + match[2].strip("0") or not match[3].strip("0"):
        return None
    return f"Root=1-{match[1]}-{match[2]};Parent={match[3]};Sampled={int(match[4], 16) & 1}"


def read_trace_id(headers: Mapping[bytes, bytes]) -> str | None:
    """The caller's X-Ray header, if it is one, or its traceparent in that form."""
    if (given := headers.get(b"x-amzn-trace-id")) is not None:
        return read_header(given.decode("latin-1"))
    if (given := headers.get(b"traceparent")) is not None:
        return from_traceparent(given.decode("latin-1"))
    return None


def read_context(header: str) -> TraceContext | None:
    """The place that an X-Ray header names; None when it names no trace."""
    root = _ROOT.search(header)
    if root is None:
        return None
    parent, sampled = _PARENT.search(header), _SAMPLED.search(header)
    return TraceContext(root[1] + root[2], parent[1] if parent else "", sampled[1] == "1" if sampled else None)


def format_context(context: TraceContext) -> str:
    """The X-Ray header of a place in a trace."""
    parent = f";Parent={context.span_id}" if context.span_id else ""
    return f"Root=1-{context.trace_id[:8]}-{context.trace_id[8:]}{parent};Sampled={int(context.sampled or False)}"


def move(header: str, context: TraceContext) -> str:
    """The header with this place instead of its own; what else it says stays."""
    rest = _PLACE.sub("", header).strip("; ")
    return f"{format_context(context)};{rest}" if rest else format_context(context)


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

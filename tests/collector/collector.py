"""A real OpenTelemetry Collector, built from its own modules, as the tests' other end of OTLP."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from tests.cluster.steps import run
from tests.runtime.builds import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")
HERE = Path(__file__).resolve().parent
WAIT_SECONDS = 90.0
STATUS_ERROR = 2


@dataclass(frozen=True)
class Span:
    """A span as the collector understood it."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    resource: dict[str, Any]
    links: list[tuple[str, str]]
    failed: bool


def make_collector(sources: Path, target: Path) -> None:
    """A static binary; takes a minute with cold caches."""
    environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": ""}
    command = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", str(target / "collector"), "."]
    run(command, folder=sources, environment=environment)


def find_binary() -> Path:
    """The collector, built now if the cache does not have it."""
    return build("collector", "otlp", HERE, make_collector, (("go", "version"),)) / "collector"


class Collector:
    """Listens on a port that the kernel picks."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._process = subprocess.Popen(
            [find_binary(), "--config", f"yaml:{json.dumps(configuration(host))}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._changed = threading.Condition()
        self._words: list[str] = []
        self._spans: list[Span] = []
        self._threads = [
            threading.Thread(target=self._read, args=read, daemon=True)
            for read in ((self._process.stdout, self._take), (self._process.stderr, self._words.append))
        ]
        for thread in self._threads:
            thread.start()
        self.url = self._wait(self._find_url, WAIT_SECONDS)
        self._wait(lambda: any("Everything is ready" in line for line in self._words), WAIT_SECONDS)

    def find(self, chosen: Callable[[Span], bool], count: int, seconds: float = WAIT_SECONDS) -> list[Span]:
        """The spans that are chosen, in the order of their beginnings, once there are so many of them."""

        def look() -> list[Span] | None:
            found = [span for span in self._spans if chosen(span)]
            return sorted(found, key=lambda span: span.start_ns) if len(found) >= count else None

        return self._wait(look, seconds)

    def named(self, name: str, count: int) -> list[Span]:
        """The spans of this name."""
        return self.find(lambda span: span.name == name, count)

    def trace(self, trace_id: str, count: int) -> dict[str, Span]:
        """The spans of a trace by their names."""
        return {span.name: span for span in self.find(lambda span: span.trace_id == trace_id, count)}

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(timeout=60)
        for thread in self._threads:
            thread.join(timeout=10)

    def _read(self, stream: IO[str], take: Callable[[str], None]) -> None:
        for line in stream:
            with self._changed:
                take(line)
                self._changed.notify_all()

    def _take(self, line: str) -> None:
        self._spans += read_spans(json.loads(line))

    def _find_url(self) -> str | None:
        for line in self._words:
            said = json.loads(line) if line.startswith("{") else {}
            if said.get("msg") == "Starting HTTP server":
                return f"http://{said['endpoint']}"
        return None

    def _wait(self, ask: Callable[[], T | None], seconds: float) -> T:
        deadline = time.monotonic() + seconds
        with self._changed:
            while not (answer := ask()):
                left = deadline - time.monotonic()
                names = [span.name for span in self._spans]
                assert left > 0, f"not so within {seconds} s; spans: {names}; the last words: {self._words[-3:]}"
                self._changed.wait(left)
            return answer


def configuration(host: str) -> dict[str, Any]:
    """OTLP over HTTP in, lines of JSON out, and nothing told of itself but its log."""
    return {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"{host}:0"}}}},
        "exporters": {"print": {}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}, "logs": {"encoding": "json"}},
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["print"]}},
        },
    }


def read_spans(document: dict[str, Any]) -> Iterator[Span]:
    """The spans of a document in OTLP's JSON."""
    for group in document["resourceSpans"]:
        resource = read_attributes(group.get("resource", {}))
        for scope in group["scopeSpans"]:
            for span in scope["spans"]:
                yield Span(
                    name=span["name"],
                    kind=span.get("kind", 0),
                    trace_id=span["traceId"],
                    span_id=span["spanId"],
                    parent_id=span.get("parentSpanId", ""),
                    start_ns=int(span["startTimeUnixNano"]),
                    end_ns=int(span["endTimeUnixNano"]),
                    attributes=read_attributes(span),
                    resource=resource,
                    links=[(link["traceId"], link["spanId"]) for link in span.get("links", [])],
                    failed=span.get("status", {}).get("code") == STATUS_ERROR,
                )


def read_attributes(holder: dict[str, Any]) -> dict[str, Any]:
    """Attributes by name; OTLP's JSON writes whole numbers as text."""
    found = {}
    for item in holder.get("attributes", []):
        ((kind, value),) = item["value"].items()
        found[item["key"]] = int(value) if kind == "intValue" else value
    return found

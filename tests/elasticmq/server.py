"""ElasticMQ, a real SQS server with queues and messages on disk, fetched by Maven once for all checkouts."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.cluster.steps import run
from tests.ports import free_port
from tests.runtime.builds import JAVA_TOOLS, build

from funclet.adapters.parentage import be_terminated_with_parent

SOURCES = Path(__file__).resolve().parent / "jars"
DEADLINE_SECONDS = 120.0


def fetch() -> Path:
    """The folder with the server's jars."""
    return build("tool", "elasticmq", SOURCES, _make, JAVA_TOOLS)


def _make(sources: Path, target: Path) -> None:
    goal = ("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={target}")
    run(["mvn", "--batch-mode", "--quiet", "--file", sources / "pom.xml", *goal])


class ElasticMq:
    """One server, which may be stopped and started again with all that it holds. `host` is what it listens on."""

    def __init__(self, folder: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        self._folder = folder
        self._host = host
        self._port = port or free_port()
        self.url = f"http://{host}:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        jars = fetch()
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = self._folder / "elasticmq.conf"
        settings.write_text(self._settings())
        with (self._folder / "elasticmq.log").open("ab") as log:
            self._process = subprocess.Popen(
                # An SQS server for tests: a small heap, and no second compiler, start in two seconds.
                ["java", "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dconfig.file={settings}",
                 "-cp", f"{jars}/*", "org.elasticmq.server.Main"],
                stdout=log, stderr=subprocess.STDOUT, preexec_fn=be_terminated_with_parent,  # noqa: PLW1509
            )  # fmt: skip
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "elasticmq.log").read_text()
            assert time.monotonic() < deadline, f"no answer: {(self._folder / 'elasticmq.log').read_text()}"
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends it in order, when the last long poll has been answered: what it has is then on its disk."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(DEADLINE_SECONDS)
            self._process = None

    def wait(self) -> None:
        """Returns when it has ended."""
        assert self._process is not None
        self._process.wait()

    def _answers(self) -> bool:
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.ListQueues"}
        request = urllib.request.Request(self.url, b"{}", headers)
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(request, timeout=5) as answer:
            return isinstance(json.load(answer), dict)
        return False

    def _settings(self) -> str:
        return f"""
include classpath("application.conf")
node-address {{ protocol = http, host = "{self._host}", port = {self._port}, context-path = "" }}
rest-sqs {{ enabled = true, bind-port = {self._port}, bind-hostname = "{self._host}", sqs-limits = strict }}
rest-stats {{ enabled = false }}
aws {{ region = us-east-1, accountId = 000000000000 }}
messages-storage {{ enabled = true, uri = "jdbc:h2:{self._folder / "messages"}" }}
"""

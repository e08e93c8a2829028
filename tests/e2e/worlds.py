"""The two worlds in which the same behaviours are tested: local mode, and a real cluster.

A world is asked from outside alone: files or kubectl, HTTP, the Lambda API by boto3, NATS, metrics.
"""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import boto3
import httpx
import yaml
from botocore.config import Config
from prometheus_client.parser import text_string_to_metric_families

from funclet.adapters.parentage import be_terminated_with_parent
from funclet.adapters.sigv4 import Key

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 90.0
"""What is not so by then is plainly broken; what is so at once costs nothing."""
CHART = ROOT / "helm" / "funclet"
RELEASE_NAMESPACE = "funclet"
METRICS_PORT = 9090

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What boto3 got from Invoke."""

    status: int
    payload: Any
    function_error: str | None
    executed_version: str | None
    headers: Mapping[str, str]

    @property
    def billed_ms(self) -> int:
        return int(self.headers["x-funclet-billed-ms"])

    @property
    def init_ms(self) -> float | None:
        """Milliseconds of the init phase; None when this answer did not pay for one."""
        value = self.headers.get("x-funclet-init-ms")
        return None if value is None else float(value)


@dataclass(frozen=True)
class Readiness:
    """The condition Ready of a Function or Trigger."""

    ready: bool
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class Sample:
    """One line of /metrics."""

    name: str
    labels: Mapping[str, str]
    value: float


def eventually(ask: Callable[[], T | None], seconds: float = PATIENCE_SECONDS, every: float = 0.05) -> T:
    """The first truthy answer. An assertion in `ask` that fails, and a connection that is refused, are asked again."""
    deadline = time.monotonic() + seconds
    while True:
        last: object = None
        try:
            answer = ask()
            if answer:
                return answer
            last = answer
        except (AssertionError, httpx.TransportError) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {seconds} s; at last: {last!r}")
        time.sleep(every)


class World(ABC):
    """What a test sees of Funclet. `namespace` is where its resources are."""

    namespace: str
    url: str
    nats_url: str
    nats_url_of_functions: str
    """The same server, as handlers reach it."""

    @property
    def key(self) -> Key:
        """What requests of the Lambda API are signed with."""
        return Key("test", "test")

    @property
    def url_of_functions(self) -> str:
        """The gateway, as handlers reach it."""
        return self.url

    @abstractmethod
    def apply(self, text: str) -> None:
        """Create or change the resources of this YAML."""

    @abstractmethod
    def delete(self, kind: str, name: str) -> None:
        """Delete a resource; returns at once."""

    @abstractmethod
    def find_readiness(self, kind: str, name: str) -> Readiness | None:
        """The condition Ready; None while nothing has been said."""

    @abstractmethod
    def instances(self, function: str) -> int:
        """Instances that belong to the function now."""

    @abstractmethod
    def metrics(self) -> list[Sample]:
        """All samples of all roles."""

    @abstractmethod
    def close(self) -> None:
        """End, and leave nothing behind."""

    @property
    def endpoint(self) -> str:
        """The Lambda API's endpoint for this world's namespace."""
        return f"{self.url}/namespaces/{self.namespace}"

    @cached_property
    def client(self) -> Any:
        """boto3's Lambda client, which retries nothing."""
        return boto3.client(
            "lambda",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.key.access_key_id,
            aws_secret_access_key=self.key.secret_access_key,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=100, max_pool_connections=64),
        )

    def invoke(self, function: str, payload: Any = None, **more: Any) -> Answer:
        """Invoke and wait. Raises botocore's ClientError for what is not a 2xx answer."""
        response = self.client.invoke(FunctionName=function, Payload=json.dumps(payload or {}), **more)
        body = response["Payload"].read()
        return Answer(
            status=response["StatusCode"],
            payload=json.loads(body) if body else None,
            function_error=response.get("FunctionError"),
            executed_version=response.get("ExecutedVersion"),
            headers=response["ResponseMetadata"]["HTTPHeaders"],
        )

    def invoke_known(self, function: str, payload: Any = None, **more: Any) -> Answer:
        """The same for what was made just now: a gateway may be a moment behind."""

        def invoke() -> Answer | None:
            try:
                return self.invoke(function, payload, **more)
            except (
                self.client.exceptions.ResourceNotFoundException,
                self.client.exceptions.ResourceConflictException,  # it knows the function, and not yet what it serves
            ):
                return None

        return eventually(invoke)

    def post(self, function: str, payload: Any = None) -> httpx.Response:
        """The same as plain HTTP, for tests that look at status codes."""
        return httpx.post(
            f"{self.endpoint}/2015-03-31/functions/{function}/invocations",
            json=payload or {},
            timeout=httpx.Timeout(100, connect=5),  # the address of a pod that has just died swallows connections
        )

    def wait_ready(self, kind: str, name: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Returns when callers get it; fails with the last word on it."""

        def is_ready() -> bool:
            readiness = self.find_readiness(kind, name)
            assert getattr(readiness, "ready", False), f"{kind}/{name}: {readiness}"
            return True

        eventually(is_ready, seconds)

    def wait_instances(self, function: str, count: int, seconds: float = PATIENCE_SECONDS) -> None:
        """Returns when the function has exactly this many instances. None: neither claimed, which the scaler says."""

        def is_so() -> bool:
            found = self.instances(function)
            assert found == count, f"{function} has {found} instances, not {count}"
            if count == 0:  # pods say whose they are up to a second after their claim
                assert self.metric("funclet_instances", namespace=self.namespace, function=function) == 0
            return True

        eventually(is_so, seconds, every=0.1)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples with this name and at least these labels."""
        return sum(
            sample.value
            for sample in self.metrics()
            if sample.name == name and labels.items() <= dict(sample.labels).items()
        )


def parse_metrics(text: str) -> list[Sample]:
    return [
        Sample(sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


class LocalWorld(World):
    """`funclet local FOLDER --port 0` as a child process."""

    namespace = "default"

    def __init__(self, folder: Path, *more: str, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [Path(sys.executable).with_name("funclet"), "local", folder, "--port", "0", *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=be_terminated_with_parent,  # noqa: PLW1509 (one system call)
            env={**os.environ, **(environment or {})},
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self.url = self._first("Funclet is listening on ")
        self.nats_url = self.nats_url_of_functions = self._first("JetStream is at ")
        self.metrics_url = self._first("Metrics are at ")

    def apply(self, text: str) -> None:
        for document in yaml.safe_load_all(text):
            file = self._file(document["kind"], document["metadata"]["name"])
            unfinished = file.with_suffix(".unfinished")
            unfinished.write_text(yaml.safe_dump(document, allow_unicode=True))
            unfinished.replace(file)

    def delete(self, kind: str, name: str) -> None:
        self._file(kind, name).unlink(missing_ok=True)

    def find_readiness(self, kind: str, name: str) -> Readiness | None:
        if not self._file(kind, name).exists():
            return None
        pattern = re.compile(rf"{kind} {self.namespace}/{re.escape(name)} is (not ready: (\w+): (.*)|ready|gone)")
        matches = [match for line in list(self.said) if (match := pattern.match(line))]
        if not matches or matches[-1][1] == "gone":
            return None
        return Readiness(matches[-1][1].startswith("ready"), matches[-1][2] or "", matches[-1][3] or "")

    def instances(self, function: str) -> int:
        return round(self.metric("funclet_instances", namespace=self.namespace, function=function))

    def metrics(self) -> list[Sample]:
        return parse_metrics(httpx.get(self.metrics_url, timeout=60).text)

    def interrupt(self) -> int:
        """Ctrl-C; returns the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=60)

    def close(self) -> None:
        try:
            if self.process.poll() is None:
                self.interrupt()
        finally:
            self.process.kill()
            self.process.wait()
            self._listener.join(timeout=5)
            for stream in (self.process.stdout, self.process.stderr):
                assert stream is not None
                stream.close()

    def _file(self, kind: str, name: str) -> Path:
        return self.folder / f"{kind.lower()}-{name}.yaml"

    def _first(self, beginning: str) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith(beginning):
            self.process.kill()
            self._listener.join(timeout=5)
            raise AssertionError(f"funclet local said {line!r} and not {beginning!r}\n" + "\n".join(self.said[-40:]))
        return line.removeprefix(beginning).strip()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip("\n"))


def find_program(name: str) -> str:
    """The cluster's own one, or that of this machine."""
    own = ROOT / "build" / "bin" / name
    return str(own) if own.exists() else name


def resource_of(kind: str) -> str:
    """A kind of ours as kubectl is told of it."""
    plural = f"{kind.lower()}es" if kind.endswith("s") else f"{kind.lower()}s"
    return f"{plural}.funclet.dev"


class ClusterWorld(World):
    """The cluster of KUBECONFIG, on which the chart is installed; a namespace of its own for each session."""

    def __init__(self) -> None:
        self._kubectl, self._helm = (find_program(name) for name in ("kubectl", "helm"))
        self._environment = {"KUBECONFIG": str(ROOT / "build" / "kubeconfig"), **os.environ}
        self.namespace = f"e2e-{uuid.uuid4().hex[:6]}"
        self.url = os.environ.get("URL", "").rstrip("/") or f"http://{self._address('funclet-gateway')}"
        self.nats_url = self.nats_url_of_functions = f"nats://{self._address('funclet-nats')}"
        self.kubectl("create", "namespace", self.namespace)

    @cached_property
    def key(self) -> Key:
        """The chart has made one."""
        found = self.kubectl("get", "secret", "funclet-management-key", "-n", RELEASE_NAMESPACE, "-o", "json")
        data = {name: base64.b64decode(value).decode() for name, value in json.loads(found)["data"].items()}
        return Key(data["access-key-id"], data["secret-access-key"])

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl printed. AssertionError with its words when it fails."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr.strip()}"
        return done.stdout

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """kubectl, which may fail."""
        return subprocess.run(
            [self._kubectl, *arguments], input=stdin, capture_output=True, text=True, env=self._environment, timeout=240
        )

    def helm(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """helm, which may fail."""
        command = [self._helm, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=self._environment, timeout=240)

    def objects(self, kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        """Objects of a kind that are not on their way out."""
        listed = self.kubectl("get", kind, "-n", namespace, "-l", selector, "-o", "json")
        items: list[dict[str, Any]] = json.loads(listed)["items"]
        return [item for item in items if "deletionTimestamp" not in item["metadata"]]

    def apply(self, text: str) -> None:
        self.kubectl("apply", "-n", self.namespace, "-f", "-", stdin=text)

    def delete(self, kind: str, name: str) -> None:
        self.kubectl("delete", "-n", self.namespace, resource_of(kind), name, "--wait=false", "--ignore-not-found")

    def find_readiness(self, kind: str, name: str) -> Readiness | None:
        found = json.loads(self.kubectl("get", resource_of(kind), name, "-n", self.namespace, "-o", "json"))
        for condition in found.get("status", {}).get("conditions", []):
            current = condition.get("observedGeneration") == found["metadata"]["generation"]
            if condition["type"] == "Ready" and current:
                return Readiness(condition["status"] == "True", condition["reason"], condition.get("message", ""))
        return None

    def instances(self, function: str) -> int:
        return len(self.objects("pods", self.namespace, f"funclet.dev/function={function}"))

    def metrics(self) -> list[Sample]:
        hosts = [
            pod["status"]["podIP"]
            for role in ("gateway", "scaler", "events")
            for pod in self.objects("pods", RELEASE_NAMESPACE, f"app.kubernetes.io/component={role}")
            if pod["status"].get("podIP")
        ]
        texts = [httpx.get(f"http://{host}:{METRICS_PORT}/metrics", timeout=60).text for host in hosts]
        return [sample for text in texts for sample in parse_metrics(text)]

    def close(self) -> None:
        self.kubectl("delete", "namespace", self.namespace, "--wait=false")

    def _address(self, service: str) -> str:
        spec = json.loads(self.kubectl("get", "service", service, "-n", RELEASE_NAMESPACE, "-o", "json"))["spec"]
        return f"{spec['clusterIP']}:{spec['ports'][0]['port']}"

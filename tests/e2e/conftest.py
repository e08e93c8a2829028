"""FUNCLET_E2E=local (the default) or cluster chooses the world; tests of one world alone are in its folder."""

import os
import textwrap
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.e2e import function_images
from tests.e2e.queues import Queues
from tests.e2e.worlds import ClusterWorld, LocalWorld, World

WORLD = os.environ.get("FUNCLET_E2E", "local")
if WORLD not in ("local", "cluster"):
    raise pytest.UsageError(f"FUNCLET_E2E must be local or cluster, not {WORLD!r}")

collect_ignore = ["cluster" if WORLD == "local" else "local"]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all tests; each test has functions of its own."""
    function_images.choose_store()
    retries = ("--async-retry-seconds", "1", "2")  # as scripts/cluster-install sets them for the cluster
    chosen = LocalWorld(tmp_path_factory.mktemp("resources"), *retries) if WORLD == "local" else ClusterWorld()
    try:
        yield chosen
    finally:
        chosen.close()


class Deployer:
    """Applies Functions and Triggers with new names, and deletes them after the test."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._made: list[tuple[str, str]] = []

    def function(self, source: str, name: str = "", **spec: Any) -> str:
        """A Function of this Python text whose handler is `handler`; returns its name when callers get it.

        With `name`, a new text or spec for a function that is there already; callers may get the old one for a moment.
        """
        new = not name
        name = name or f"f-{uuid.uuid4().hex[:8]}"
        python = {} if "packageType" in spec else {"runtime": "python3.13", "handler": "index.handler"}
        self.apply("Function", name, {
            **python,
            "code": {"inline": textwrap.dedent(source).lstrip()},
            "scaling": {"idleTimeoutSeconds": 5},
            **spec,
        })  # fmt: skip
        if new:
            self._world.wait_ready("Function", name)
        return name

    def image(self, uri: str, name: str = "", **spec: Any) -> str:
        """A Function that is packaged as this image; `name` as with `function`."""
        return self.function("", name, packageType="Image", code={"imageUri": uri}, **spec)

    def trigger(self, function: str, **source: Any) -> str:
        """A Trigger; returns its name, at once."""
        name = f"t-{uuid.uuid4().hex[:8]}"
        self.apply("Trigger", name, {"function": {"name": function}, **source})
        return name

    def apply(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        """Apply one resource."""
        resource = {"apiVersion": "funclet.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        if (kind, name) not in self._made:
            self._made.append((kind, name))
        self._world.apply(yaml.safe_dump(resource))

    def delete(self, kind: str, name: str) -> None:
        """Delete one resource."""
        self._made.remove((kind, name))
        self._world.delete(kind, name)

    def clean(self) -> None:
        """Delete what is left, the newest first."""
        while self._made:
            self._world.delete(*self._made.pop())


@pytest.fixture
def deploy(world: World) -> Iterator[Deployer]:
    """Makes Functions and Triggers for this test alone."""
    deployer = Deployer(world)
    yield deployer
    deployer.clean()


class StreamMaker(Queues):
    """Queues whose streams are deleted after the test."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._made: list[str] = []

    def new(self) -> str:
        """A new stream NAME with the subjects NAME.>; returns its name."""
        stream = f"S{uuid.uuid4().hex[:8]}"
        self._made.append(stream)
        self.make(stream, f"{stream}.>")
        return stream

    def clean(self) -> None:
        """Delete them."""
        for stream in self._made:
            self.delete(stream)


@pytest.fixture
def queues(world: World) -> Iterator[StreamMaker]:
    """Streams for this test alone."""
    maker = StreamMaker(world.nats_url)
    yield maker
    maker.clean()

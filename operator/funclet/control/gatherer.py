"""What a decision needs to know that no watch tells: Secrets, streams, and the code, which is stored on the way."""

from collections.abc import Callable

from funclet.adapters.code_fetch import CodeFetcher, Packages
from funclet.adapters.resources import Resources
from funclet.adapters.sqs_access import QueueLookup
from funclet.adapters.streams import StreamLookup
from funclet.api.function import Function
from funclet.api.trigger import Trigger
from funclet.core.archive import inspect
from funclet.core.conditions import READY, find
from funclet.core.images import IMAGE_RUNTIME
from funclet.core.resolve import (
    CodeProblem,
    FunctionFacts,
    ImageReference,
    Package,
    SecretFacts,
    StreamFacts,
    secret_names,
)
from funclet.core.runtimes import check_package
from funclet.core.sqs_queue import QueueFacts, QueueProblem
from funclet.errors import InvalidSpec, Unavailable


class Gatherer:
    """Every method raises Unavailable when nobody knows now, and what was said before should stand."""

    def __init__(
        self,
        resources: Resources,
        packages: Packages,
        streams: StreamLookup,
        queues: QueueLookup,
        directories: bool,
        find_runtime_problem: Callable[[str], str],
    ) -> None:
        self._resources = resources
        self._packages = packages
        self._streams = streams
        self._queues = queues
        self._code = CodeFetcher(resources, packages, directories=directories)
        self._find_runtime_problem = find_runtime_problem

    async def function_facts(self, function: Function) -> FunctionFacts:
        """Secrets as they are now, and the code as it lies in the package store, or why it does not."""
        names = sorted(secret_names(function.spec))
        secrets = {name: await self._find_secret(function.metadata.namespace, name) for name in names}
        return FunctionFacts(await self._store_code(function), secrets)

    async def _find_secret(self, namespace: str, name: str) -> SecretFacts | None:
        secret = await self._resources.find_secret(namespace, name)
        return SecretFacts(secret.resource_version, frozenset(secret.data)) if secret else None

    async def _store_code(self, function: Function) -> Package | ImageReference | CodeProblem:
        spec = function.spec
        if problem := self._find_runtime_problem(spec.runtime or IMAGE_RUNTIME):
            return CodeProblem("RuntimeNotFound", problem)
        if spec.code.image_uri is not None:
            return ImageReference(spec.code.image_uri)
        assert spec.runtime is not None
        assert spec.handler is not None
        try:
            data, layers = await self._code.fetch(function), await self._code.fetch_layers(function)
            check_package(spec.runtime, spec.handler, inspect(data), list(map(inspect, layers)))
        except InvalidSpec as error:
            return CodeProblem(error.reason, error.message)
        except Unavailable as error:
            if error.reason == "CodeUnreachable":
                return CodeProblem("CodeUnreachable", f"{error.message}: it is tried again")
            if error.reason in ("ApiUnreachable", "ApiUnavailable", "Forbidden"):
                raise
            return CodeProblem("PackageStoreUnavailable", f"{error.message}: it is tried again")
        return await self._put(data, layers)

    async def _put(self, data: bytes, layers: list[bytes]) -> Package | CodeProblem:
        try:
            stored = tuple([Package(await self._packages.put(layer), len(layer)) for layer in layers])
            return Package(await self._packages.put(data), len(data), stored)
        except Unavailable as error:
            return CodeProblem("PackageStoreUnavailable", f"{error.message}: it is tried again")

    async def find_stream(self, trigger: Trigger) -> StreamFacts | None:
        """None: it has none, or JetStream does not answer and nothing was said yet. What was said holds: raises."""
        if trigger.spec.jetstream is None:
            return None
        try:
            return await self._streams.find(trigger.spec.jetstream.stream)
        except Unavailable:
            if find(trigger.status.conditions, READY) is not None:
                raise
            return None

    async def find_queue(self, trigger: Trigger) -> QueueFacts | QueueProblem | None:
        """None: it has none, or is disabled and asks nobody."""
        if trigger.spec.sqs is None or not trigger.spec.enabled:
            return None
        return await self._queues.find(trigger.spec.sqs, trigger.metadata.namespace)

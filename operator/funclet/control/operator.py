"""kopf's part: it watches our own kinds and tells the reconciler. Nothing is decided or done in here."""

from collections.abc import Callable, Mapping
from typing import Any

import kopf

from funclet.adapters.resources import DELETED, UPSERTED, ResourceEvent, object_key
from funclet.api.meta import GROUP, VERSION

Observer = Callable[[str, ResourceEvent], None]

PLURALS = {"Function": "functions", "Version": "versions", "Alias": "aliases", "Trigger": "triggers"}


async def run_kopf(observe: Observer, namespace: str | None) -> None:
    """Watch until SIGTERM or SIGINT. kopf's low-level handlers store nothing in the objects and add no finalizers."""
    await kopf.operator(
        registry=build_registry(observe),
        settings=build_settings(),
        standalone=True,
        clusterwide=namespace is None,
        namespaces=[namespace] if namespace else [],
    )


def build_settings() -> kopf.OperatorSettings:
    """kopf's settings; what is not here is its default."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True  # one replica with the strategy Recreate
    settings.posting.enabled = False  # conditions say what is so; kopf's Events would speak of handlers
    settings.watching.server_timeout = 300  # seconds; a new watch then, from where the last one ended
    settings.watching.connect_timeout = 10  # seconds; without it, a silent network holds a watch up for ever
    settings.networking.request_timeout = 30  # seconds
    return settings


def build_registry(observe: Observer) -> kopf.OperatorRegistry:
    """The handlers: one a kind, which does nothing but pass the event on."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(_log_in)
    for kind, plural in PLURALS.items():
        kopf.on.event(GROUP, VERSION, plural, id=f"observe-{plural}", registry=registry)(_handler(kind, observe))
    return registry


def _handler(kind: str, observe: Observer) -> Any:
    async def handle(event: Mapping[str, Any], **_: Any) -> None:
        observe(kind, translate(event))

    return handle


async def _log_in(**arguments: Any) -> Any:
    """The pod's service account; outside of a cluster, the kubeconfig file."""
    return kopf.login_with_service_account(**arguments) or kopf.login_with_kubeconfig(**arguments)


def translate(event: Mapping[str, Any]) -> ResourceEvent:
    """A raw watch event as Funclet's own. Of a listing, kopf's type is None."""
    resource = dict(event["object"])
    if event["type"] == "DELETED":
        namespace, _, name = object_key(resource).partition("/")
        uid = resource["metadata"].get("uid", "")
        return ResourceEvent(DELETED, {"metadata": {"namespace": namespace, "name": name, "uid": uid}})
    return ResourceEvent(UPSERTED, resource)

"""The resources as the operations see them: found or refused in Lambda's words, and changed without losing a write."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from funclet.adapters.resources import Page, Store
from funclet.api.alias import Alias
from funclet.api.function import Function
from funclet.api.meta import API_VERSION, ObjectMeta
from funclet.api.version import Version
from funclet.core.arn import account_id, function_arn
from funclet.core.lambda_api import LambdaError, find_namespace, function_not_found, read_reference, unavailable
from funclet.core.management.configuration import revision_id
from funclet.core.management.refusals import Refusal, conflict, denied, invalid, not_found, other_revision
from funclet.core.publishing import age_of
from funclet.core.qualifiers import LATEST
from funclet.errors import Conflict, FuncletError, InvalidSpec

Resource = dict[str, Any]
T = TypeVar("T")

ATTEMPTS = 10
"""To change a resource that control writes the status of at the same time."""
FIRST_LOOK_SECONDS, LAST_LOOK_SECONDS = 0.02, 0.5
"""Between looks at a resource that is waited for: doubled with each."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `endpoint` is how the caller names this API, with the namespace."""

    namespace: str
    params: Mapping[str, Any]
    endpoint: str


@dataclass(frozen=True, slots=True)
class Named:
    """The function that a request names."""

    namespace: str
    name: str
    qualifier: str | None = None
    """None for $LATEST, whether or not it was said."""
    said_latest: bool = field(default=False)


class Records:
    """Reads and writes through a store."""

    def __init__(self, store: Store, region: str, accounts: Callable[[], Mapping[str, str]]) -> None:
        self.region = region
        self._store = store
        self._accounts = accounts

    def name_of(self, call: Call, parameter: str = "FunctionName") -> Named:
        """What the request names; Named.namespace may be another one than the call's, by an ARN."""
        params = call.params
        target = read_reference(None, params[parameter], params.get("Qualifier"))
        if isinstance(target, LambdaError):
            raise Refusal(target)
        accounts = {} if target.account in (None, account_id(call.namespace)) else self._accounts()
        namespace = find_namespace(target, call.namespace, accounts)
        if namespace is None:
            raise not_found(f"Function not found: {params[parameter]}")
        latest = target.qualifier == LATEST
        return Named(namespace, target.name, None if latest else target.qualifier, latest)

    def arn(self, named: Named, qualifier: str | None = None) -> str:
        """The function's, or with a qualifier that of a version or alias."""
        return function_arn(self.region, named.namespace, named.name, qualifier)

    async def find(self, kind: str, namespace: str, name: str) -> Resource | None:
        """A resource, if it is there."""
        if "/" in name or "." in name:
            return None
        return await _refusing(self._store.find(kind, namespace, name))

    async def function(self, named: Named) -> Function:
        """The function, or 404."""
        return Function.model_validate(await self.raw_function(named))

    async def raw_function(self, named: Named) -> Resource:
        """The same in its wire form."""
        found = await self.find("Function", named.namespace, named.name)
        if found is None:
            raise Refusal(function_not_found(self.region, named.namespace, named.name, named.qualifier))
        return found

    async def page(self, kind: str, namespace: str, limit: int = 0, marker: str | None = None) -> Page:
        """Objects of a kind."""
        return await _refusing(self._store.page(kind, namespace, limit, marker))

    async def versions(self, named: Named) -> list[Version]:
        """Those of the function that are published, the oldest first. One that was deleted is not there any more, also
        while it waits for what leads to it.
        """
        found = [Version.model_validate(item) for item in (await self.page("Version", named.namespace)).items]
        uid = (await self.raw_function(named))["metadata"]["uid"]
        there = (version for version in found if version.metadata.deletion_timestamp is None)
        own = [version for version in there if version.spec.function.name == named.name]
        return sorted((v for v in own if v.status.snapshot and v.status.function_uid == uid), key=age_of)

    async def aliases(self, named: Named) -> list[Alias]:
        """Those of the function, by their names."""
        found = [Alias.model_validate(item) for item in (await self.page("Alias", named.namespace)).items]
        return sorted((a for a in found if a.spec.function.name == named.name), key=lambda alias: alias.spec.name)

    async def create(
        self, kind: str, namespace: str, name: str, spec: Mapping[str, Any], annotations: Mapping[str, str | None]
    ) -> Resource:
        """Make a resource."""
        metadata: Resource = {"name": name, "namespace": namespace}
        if kept := {key: value for key, value in annotations.items() if value is not None}:
            metadata["annotations"] = kept
        resource = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": dict(spec)}
        return await _refusing(self._store.create(resource))

    async def change(
        self, kind: str, namespace: str, name: str, edit: Callable[[Resource], Resource], revision: str | None = None
    ) -> Resource:
        """Write what `edit` makes of the resource; if somebody else writes meanwhile, of what it is then.

        `revision` is the RevisionId that it must have, if the caller says one.
        """
        for _ in range(ATTEMPTS):
            found = await self.find(kind, namespace, name)
            if found is None:
                raise not_found(f"{kind} {namespace}/{name} is gone.")
            if revision is not None and revision != revision_id(ObjectMeta.model_validate(found["metadata"])):
                raise other_revision()
            try:
                return await self._store.replace(edit(found))
            except FuncletError as error:
                if not isinstance(error, Conflict) or error.reason in ("NotFound", "ReadOnly"):
                    raise _translated(error) from error
        raise conflict(f"{kind} {namespace}/{name} is being changed by others; try again.")

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete a resource."""
        await _refusing(self._store.delete(kind, namespace, name))

    async def settled(
        self, kind: str, resource: Resource, look: Callable[[Resource], T | None], seconds: float
    ) -> T | None:
        """What `look` finds in a resource when control has seen it; None when that takes longer, or it is gone."""
        metadata, pause = resource["metadata"], FIRST_LOOK_SECONDS
        try:
            async with asyncio.timeout(seconds):
                while True:
                    found = await self.find(kind, metadata["namespace"], metadata["name"])
                    if found is None or (seen := look(found)) is not None:
                        return None if found is None else seen
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, LAST_LOOK_SECONDS)
        except TimeoutError:
            return None


async def _refusing(work: Awaitable[T]) -> T:
    """The answer, or the store's error in Lambda's words."""
    try:
        return await work
    except FuncletError as error:
        raise _translated(error) from error


def _translated(error: FuncletError) -> Refusal:
    match error:
        case Refusal():
            return error
        case Conflict(reason="NotFound"):
            return not_found(error.message)
        case Conflict(reason="Expired"):
            return invalid(f"Marker: {error.message}")
        case Conflict():
            return conflict(error.message)
        case InvalidSpec():
            return invalid(error.message)
        case _ if error.reason == "Forbidden":
            return denied("AccessDeniedException", error.message)
        case _:
            return Refusal(unavailable(error.message))

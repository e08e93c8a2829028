"""Aliases: CreateAlias, GetAlias, UpdateAlias, DeleteAlias, ListAliases."""

from typing import Any

from funclet.api.alias import Alias
from funclet.control.management.publication import Publication, led_to, paginated
from funclet.control.management.records import Call, Named, Records, Resource
from funclet.core.lambda_api import function_not_found
from funclet.core.management.alias_spec import alias_answer, changed_alias, resource_name
from funclet.core.management.refusals import Refusal, conflict, not_found

SETTLE_SECONDS = 5.0
"""How long the answer waits for control to point the alias where it is to lead, so that the next call goes there."""
PAGE_LIMIT = 50


class Aliases:
    """The operations on aliases."""

    def __init__(self, records: Records, publication: Publication) -> None:
        self._records = records
        self._publication = publication

    async def create(self, call: Call) -> Resource:
        """CreateAlias."""
        params, named = call.params, self._records.name_of(call)
        await self._records.raw_function(named)
        name = params["Name"]
        if await self._find(named, name) is not None:
            raise conflict(f"Alias already exists: {self._records.arn(named, name)}")
        spec = changed_alias({"function": {"name": named.name}, "name": name}, params)
        await self._check_versions(named, spec)
        made = await self._records.create("Alias", named.namespace, resource_name(named.name, name), spec, {})
        return await self._settled(named, made)

    async def get(self, call: Call) -> Resource:
        """GetAlias."""
        named = self._records.name_of(call)
        return self._answer(named, await self._get(named, call.params["Name"]))

    async def update(self, call: Call) -> Resource:
        """UpdateAlias."""
        params, named = call.params, self._records.name_of(call)
        alias = await self._get(named, params["Name"])
        await self._check_versions(named, changed_alias(alias.spec.to_wire(), params))
        changed = await self._records.change(
            "Alias",
            named.namespace,
            alias.metadata.name,
            lambda found: {**found, "spec": changed_alias(found["spec"], params)},
            params.get("RevisionId"),
        )
        return await self._settled(named, changed)

    async def delete(self, call: Call) -> None:
        """DeleteAlias; one that is not there is no error, as on Lambda."""
        named = self._records.name_of(call)
        await self._records.raw_function(named)
        alias = await self._find(named, call.params["Name"])
        if alias is not None:
            await self._records.delete("Alias", named.namespace, alias.metadata.name)

    async def list(self, call: Call) -> Resource:
        """ListAliases."""
        params, named = call.params, self._records.name_of(call)
        await self._records.raw_function(named)
        version = params.get("FunctionVersion")
        found = [alias for alias in await self._records.aliases(named) if version is None or version in led_to(alias)]
        page, marker = paginated([self._answer(named, alias) for alias in found], params, PAGE_LIMIT)
        return {"Aliases": page, **marker}

    async def _find(self, named: Named, name: str) -> Alias | None:
        return next((alias for alias in await self._records.aliases(named) if alias.spec.name == name), None)

    async def _get(self, named: Named, name: str) -> Alias:
        await self._records.raw_function(named)
        alias = await self._find(named, name)
        if alias is None:
            raise not_found(f"Cannot find alias arn: {self._records.arn(named, name)}")
        return alias

    async def _check_versions(self, named: Named, spec: dict[str, Any]) -> None:
        weights = spec.get("routingConfig", {}).get("additionalVersionWeights", {})
        for version in (spec["functionVersion"], *weights):
            if not await self._publication.has_version(named, version):
                raise Refusal(function_not_found(self._records.region, named.namespace, named.name, version))

    async def _settled(self, named: Named, resource: Resource) -> Resource:
        """The answer, when callers of the alias get what it says."""
        generation = resource["metadata"]["generation"]

        def look(found: Resource) -> bool | None:
            return True if found.get("status", {}).get("observedGeneration", 0) >= generation else None

        await self._records.settled("Alias", resource, look, SETTLE_SECONDS)
        return self._answer(named, Alias.model_validate(resource))

    def _answer(self, named: Named, alias: Alias) -> Resource:
        return alias_answer(alias, self._records.arn(named, alias.spec.name))

"""Versions: PublishVersion, ListVersionsByFunction, and which version a request means."""

import secrets
from collections.abc import Mapping
from typing import Any

from funclet.api.alias import Alias
from funclet.api.function import Function
from funclet.api.version import Version
from funclet.control.management.records import Call, Named, Records, Resource
from funclet.core.lambda_api import function_not_found
from funclet.core.management.code import to_base64, to_hex
from funclet.core.management.configuration import (
    Snapshot,
    configuration_of,
    revision_id,
    snapshot_of,
    snapshot_of_version,
    state_of,
)
from funclet.core.management.refusals import Refusal, conflict, invalid, other_revision
from funclet.core.qualifiers import LATEST

PUBLISH_SECONDS = 25.0
"""Control has resolved a change in a fraction of a second; what takes longer than this is told as it is."""
NAME_LIMIT = 54
"""Of the function's name in that of a Version: 63 characters with a hyphen and eight digits."""
PAGE_LIMIT = 50


class Publication:
    """The operations on versions."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def publish_version(self, call: Call) -> Resource:
        """PublishVersion."""
        params = call.params
        named = self._records.name_of(call)
        function = await self._records.function(named)
        if params.get("RevisionId") not in (None, revision_id(function.metadata)):
            raise other_revision()
        digest, shown = params.get("CodeSha256"), snapshot_of(function)
        if digest and to_hex("CodeSha256", digest) != shown.code_sha256:
            raise _other_code(digest, shown.code_sha256)
        wanted = {"codeSha256": to_hex("CodeSha256", digest)} if digest else {}
        description = {"description": params["Description"]} if params.get("Description") else {}
        return await self.publish(named, {**wanted, **description})

    async def publish(self, named: Named, more: Mapping[str, Any]) -> Resource:
        """Publish what the function is now; `more` is of the Version's spec."""
        await self._await_function(named)
        name = f"{named.name[:NAME_LIMIT].rstrip('-')}-{secrets.token_hex(4)}"
        spec = {"function": {"name": named.name}, **more}
        made = await self._records.create("Version", named.namespace, name, spec, {})
        published = await self._records.settled("Version", made, _find_published, PUBLISH_SECONDS)
        if published is None:
            await self._records.delete("Version", named.namespace, name)
            raise conflict("The function could not be published: it has changed meanwhile. Try again.")
        same = await self._same_number(named, published.status.version)
        earlier = [version for version in same if version.metadata.name != name]
        if earlier:  # nothing had changed: it is that version
            await self._records.delete("Version", named.namespace, name)
        return await self._configuration(named, earlier[0] if earlier else published)

    async def _await_function(self, named: Named) -> None:
        """Until control has resolved its newest spec."""
        raw = await self._records.raw_function(named)
        states = await self._records.settled("Function", raw, _find_state, PUBLISH_SECONDS)
        if states is None or states["LastUpdateStatus"] != "Successful":
            reason = (states or {}).get("LastUpdateStatusReason", "it is not resolved yet; try again")
            raise conflict(f"The function could not be published: {reason}")

    async def list_versions(self, call: Call) -> Resource:
        """ListVersionsByFunction: $LATEST, then the versions."""
        params, named = call.params, self._records.name_of(call)
        latest = configuration_of(snapshot_of(await self._records.function(named)), self._records.region, LATEST)
        shown = [latest, *await self.configurations(named)]
        page, marker = paginated(shown, params, PAGE_LIMIT)
        return {"Versions": page, **marker}

    async def configurations(self, named: Named) -> list[Resource]:
        """Of all published versions."""
        first = {version.status.version: version for version in reversed(await self._records.versions(named))}
        return [await self._configuration(named, first[number]) for number in sorted(first, key=lambda n: n or 0)]

    async def shown(self, named: Named) -> tuple[Snapshot, str | None]:
        """The version that is asked for, and what its ARN ends with."""
        function = await self._records.function(named)
        if named.qualifier is None:
            return snapshot_of(function), LATEST if named.said_latest else None
        number = await self._number(named, named.qualifier)
        if number == LATEST:
            return snapshot_of(function), named.qualifier
        versions = await self._same_number(named, int(number))
        shown = snapshot_of_version(versions[0], function) if versions else None
        if shown is None:
            raise Refusal(function_not_found(self._records.region, named.namespace, named.name, named.qualifier))
        return shown, named.qualifier

    async def has_version(self, named: Named, number: str) -> bool:
        """Whether it is published; $LATEST always is there."""
        return number == LATEST or bool(await self._same_number(named, int(number)))

    async def delete_version(self, named: Named) -> None:
        """DeleteFunction with a version's number; one that is not there is no error, as on Lambda."""
        number = named.qualifier or ""
        if not number.isdigit():
            raise invalid(f"Qualifier is {number}; it must be the number of a version (an alias goes by DeleteAlias)")
        await self._records.raw_function(named)
        leading = [alias.spec.name for alias in await self._records.aliases(named) if number in led_to(alias)]
        if leading:
            raise conflict(f"Unable to delete version because the following aliases reference it: {leading}")
        for version in await self._same_number(named, int(number)):
            await self._records.delete("Version", named.namespace, version.metadata.name)

    async def _number(self, named: Named, qualifier: str) -> str:
        """The version that a qualifier leads to."""
        if qualifier.isdigit():
            return qualifier
        for alias in await self._records.aliases(named):
            if alias.spec.name == qualifier:
                return alias.spec.function_version
        raise Refusal(function_not_found(self._records.region, named.namespace, named.name, qualifier))

    async def _same_number(self, named: Named, number: int | None) -> list[Version]:
        """The Versions of a number: several, where nothing had changed in between."""
        return [version for version in await self._records.versions(named) if version.status.version == number]

    async def _configuration(self, named: Named, version: Version) -> Resource:
        shown = snapshot_of_version(version, await self._records.function(named))
        assert shown is not None
        return configuration_of(shown, self._records.region, shown.version)


def _find_published(resource: Resource) -> Version | None:
    version = Version.model_validate(resource)
    return version if version.status.version is not None and version.status.snapshot is not None else None


def _find_state(resource: Resource) -> dict[str, str] | None:
    """Of a function whose newest spec was resolved, or cannot be."""
    states = state_of(Function.model_validate(resource))
    return None if states["LastUpdateStatus"] == "InProgress" else states


def led_to(alias: Alias) -> set[str]:
    """The versions that an alias names."""
    return {alias.spec.function_version, *alias.spec.routing_config.additional_version_weights}


def _other_code(given: str, there: str) -> Refusal:
    current = to_base64(there) if there else "none"
    return invalid(
        f"CodeSHA256 ({given}) is different from current CodeSHA256 in $LATEST ({current}). Please try again with the "
        "CodeSHA256 in $LATEST."
    )


def paginated(items: list[Resource], params: Mapping[str, Any], most: int) -> tuple[list[Resource], Resource]:
    """A page of a list that is gathered whole, and its NextMarker; a marker is the number of items before it."""
    marker = params.get("Marker", "0")
    if not marker.isdigit():
        raise invalid(f"Marker is {marker!r}; it must be the NextMarker of an answer")
    begin, size = int(marker), min(params.get("MaxItems", most), most)
    end = begin + size
    return items[begin:end], {"NextMarker": str(end)} if end < len(items) else {}

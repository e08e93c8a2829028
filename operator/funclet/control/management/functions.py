"""Functions: made, shown, changed, deleted and listed."""

import re
from collections.abc import Callable
from typing import Any

from funclet.adapters.code_fetch import Packages
from funclet.api.function import Function
from funclet.control.management.links import PackageLinks
from funclet.control.management.publication import Publication
from funclet.control.management.records import Call, Named, Records, Resource
from funclet.core.management.annotations import LAST_MODIFIED, ROLE, TAGS, annotate, tagged, tags_of
from funclet.core.management.code import read_code, reference_to
from funclet.core.management.configuration import configuration_of, snapshot_of
from funclet.core.management.function_spec import changed_spec, check_spec, check_there
from funclet.core.management.refusals import conflict, invalid
from funclet.core.qualifiers import LATEST

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
PAGE_LIMIT = 50
"""Lambda: "ListFunctions returns a maximum of 50 items in each response"."""

Now = Callable[[], str]


class Functions:
    """The operations on functions. `now` is a time as FunctionConfiguration has it."""

    def __init__(
        self, records: Records, packages: Packages, publication: Publication, links: PackageLinks, now: Now
    ) -> None:
        self._records = records
        self._packages = packages
        self._publication = publication
        self._links = links
        self._now = now

    async def create(self, call: Call) -> Resource:
        """CreateFunction."""
        params, named = call.params, self._records.name_of(call)
        if not NAME.fullmatch(named.name) or named.qualifier is not None:
            raise invalid(
                f"FunctionName is {params['FunctionName']}; it must be at most 63 lower-case letters, digits and "
                "hyphens, and begin and end with a letter or digit: it is the name of a Kubernetes resource"
            )
        if await self._records.find("Function", named.namespace, named.name) is not None:
            raise conflict(f"Function already exist: {named.name}")
        code = read_code(params["Code"], "Code.")
        image = {"packageType": "Image"} if isinstance(code, str) and "PackageType" not in params else {}
        spec = changed_spec({**image, "code": reference_to(code, "0" * 64)}, params, named.namespace, named.name)
        check_spec(spec)
        spec["code"], size = await self._store_code(code)
        tags = tagged({"metadata": {}}, params.get("Tags") or {})["metadata"]["annotations"].get(TAGS)
        annotations = {ROLE: params["Role"], LAST_MODIFIED: self._now(), TAGS: tags}
        made = await self._records.create("Function", named.namespace, named.name, spec, annotations)
        return await self._answer(named, made, size, publish=bool(params.get("Publish")))

    async def get(self, call: Call) -> Resource:
        """GetFunction."""
        named = self._records.name_of(call)
        shown, qualifier = await self._publication.shown(named)
        raw = await self._records.raw_function(named)
        answer: Resource = {"Configuration": configuration_of(shown, self._records.region, qualifier)}
        if uri := shown.spec.get("code", {}).get("imageUri"):
            answer["Code"] = {"RepositoryType": "ECR", "ImageUri": uri, "ResolvedImageUri": uri}
        else:
            location = self._links.make(call.endpoint, named.name, shown.code_sha256)
            answer["Code"] = {"RepositoryType": "S3", "Location": location}
        if tags := tags_of(raw):
            answer["Tags"] = tags
        if (reserved := raw["spec"].get("reservedConcurrentExecutions")) is not None:
            answer["Concurrency"] = {"ReservedConcurrentExecutions": reserved}
        return answer

    async def get_configuration(self, call: Call) -> Resource:
        """GetFunctionConfiguration."""
        shown, qualifier = await self._publication.shown(self._records.name_of(call))
        return configuration_of(shown, self._records.region, qualifier)

    async def update_code(self, call: Call) -> Resource:
        """UpdateFunctionCode."""
        params, named = call.params, self._of_latest(call)
        check_there(params)
        code = read_code(params)
        found = await self._records.raw_function(named)
        if (found["spec"].get("packageType") == "Image") != isinstance(code, str):
            given = "ImageUri" if isinstance(code, str) else "ZipFile"
            raise invalid(f"{given} does not fit PackageType {found['spec'].get('packageType', 'Zip')} of {named.name}")
        if params.get("DryRun"):
            return configuration_of(snapshot_of(Function.model_validate(found)), self._records.region)
        reference, size = await self._store_code(code)
        changed = await self._change(named, params, lambda spec: {**spec, "code": reference})
        return await self._answer(named, changed, size, publish=bool(params.get("Publish")))

    async def update_configuration(self, call: Call) -> Resource:
        """UpdateFunctionConfiguration."""
        params, named = call.params, self._of_latest(call)

        def edit(spec: Resource) -> Resource:
            changed = changed_spec(spec, params, named.namespace, named.name)
            check_spec(changed)
            return changed

        return await self._answer(named, await self._change(named, params, edit))

    async def delete(self, call: Call) -> None:
        """DeleteFunction: with its versions and aliases, or one version."""
        named = self._records.name_of(call)
        if named.said_latest:
            raise invalid(f"{LATEST} version cannot be deleted without deleting the function.")
        if named.qualifier is not None:
            await self._publication.delete_version(named)
            return
        await self._records.raw_function(named)
        await self._records.delete("Function", named.namespace, named.name)

    async def list(self, call: Call) -> Resource:
        """ListFunctions."""
        params = call.params
        limit = min(params.get("MaxItems", PAGE_LIMIT), PAGE_LIMIT)
        page = await self._records.page("Function", call.namespace, limit, params.get("Marker"))
        functions = [Function.model_validate(item) for item in page.items]
        qualifier = LATEST if params.get("FunctionVersion") == "ALL" else None
        shown = [configuration_of(snapshot_of(one), self._records.region, qualifier) for one in functions]
        if qualifier:
            for function in functions:
                shown += await self._publication.configurations(Named(call.namespace, function.metadata.name))
        return {"Functions": shown, **({"NextMarker": page.marker} if page.marker else {})}

    def _of_latest(self, call: Call) -> Named:
        named = self._records.name_of(call)
        if named.qualifier is not None:
            raise invalid(f"FunctionName names {named.qualifier}, and only {LATEST} can be changed: leave it out")
        return named

    async def _store_code(self, code: bytes | str) -> tuple[dict[str, str], int]:
        """What spec.code is to say, and the archive's size."""
        if isinstance(code, str):
            return reference_to(code, ""), 0
        return reference_to(code, await self._packages.put(code)), len(code)

    async def _change(self, named: Named, params: Any, edit: Callable[[Resource], Resource]) -> Resource:
        await self._records.raw_function(named)
        role = {ROLE: params["Role"]} if "Role" in params else {}
        return await self._records.change(
            "Function",
            named.namespace,
            named.name,
            lambda found: annotate({**found, "spec": edit(found["spec"])}, {LAST_MODIFIED: self._now(), **role}),
            params.get("RevisionId"),
        )

    async def _answer(
        self, named: Named, resource: Resource, size: int | None = None, *, publish: bool = False
    ) -> Resource:
        if publish:
            return await self._publication.publish(named, {})
        return configuration_of(snapshot_of(Function.model_validate(resource), size), self._records.region)

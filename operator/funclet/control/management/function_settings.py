"""What is set of a function apart from its configuration: concurrency, asynchronous invocation, recursion, tags."""

from collections.abc import Callable
from typing import Any

from funclet.control.management.records import Call, Named, Records, Resource
from funclet.core.management.annotations import EVENT_INVOKE_MODIFIED, annotate, tagged, tags_of
from funclet.core.management.event_invoke import changed_config, find_answer
from funclet.core.management.function_spec import check_spec
from funclet.core.management.refusals import invalid, not_found
from funclet.core.qualifiers import LATEST

RESERVED = "reservedConcurrentExecutions"
EVENT_INVOKE = "eventInvokeConfig"

Edit = Callable[[Resource], Resource]


class FunctionSettings:
    """The operations on these. `now` is RFC 3339."""

    def __init__(self, records: Records, now: Callable[[], str]) -> None:
        self._records = records
        self._now = now

    # --- concurrency ---

    async def put_concurrency(self, call: Call) -> Resource:
        """PutFunctionConcurrency."""
        reserved = call.params["ReservedConcurrentExecutions"]
        await self._change_spec(self._named(call), lambda spec: {**spec, RESERVED: reserved})
        return {"ReservedConcurrentExecutions": reserved}

    async def get_concurrency(self, call: Call) -> Resource:
        """GetFunctionConcurrency."""
        spec = (await self._records.raw_function(self._named(call)))["spec"]
        return {"ReservedConcurrentExecutions": spec[RESERVED]} if RESERVED in spec else {}

    async def delete_concurrency(self, call: Call) -> None:
        """DeleteFunctionConcurrency."""
        await self._change_spec(self._named(call), lambda spec: _without(spec, RESERVED))

    # --- asynchronous invocation ---

    async def put_event_invoke(self, call: Call) -> Resource:
        """PutFunctionEventInvokeConfig: what is not given is as if it had never been."""
        return await self._set_event_invoke(call, lambda before: {})

    async def update_event_invoke(self, call: Call) -> Resource:
        """UpdateFunctionEventInvokeConfig."""
        await self.get_event_invoke(call)
        return await self._set_event_invoke(call, lambda before: before)

    async def get_event_invoke(self, call: Call) -> Resource:
        """GetFunctionEventInvokeConfig."""
        named = self._named(call)
        answer = self._event_invoke(named, await self._records.raw_function(named))
        if answer is None:
            raise not_found(f"The function {self._records.arn(named, LATEST)} doesn't have an EventInvokeConfig")
        return answer

    async def list_event_invoke(self, call: Call) -> Resource:
        """ListFunctionEventInvokeConfigs: at most that of $LATEST."""
        named = self._named(call)
        answer = self._event_invoke(named, await self._records.raw_function(named))
        return {"FunctionEventInvokeConfigs": [answer] if answer else []}

    async def delete_event_invoke(self, call: Call) -> None:
        """DeleteFunctionEventInvokeConfig."""
        await self.get_event_invoke(call)

        def edit(found: Resource) -> Resource:
            return annotate({**found, "spec": _without(found["spec"], EVENT_INVOKE)}, {EVENT_INVOKE_MODIFIED: None})

        await self._change(self._named(call), edit)

    async def _set_event_invoke(self, call: Call, base: Edit) -> Resource:
        named = self._named(call)

        def edit(found: Resource) -> Resource:
            config = changed_config(base(found["spec"].get(EVENT_INVOKE, {})), call.params, named.namespace)
            spec = {**found["spec"], EVENT_INVOKE: config}
            check_spec(spec)
            return annotate({**found, "spec": spec}, {EVENT_INVOKE_MODIFIED: self._now()})

        answer = self._event_invoke(named, await self._change(named, edit))
        assert answer is not None
        return answer

    def _event_invoke(self, named: Named, resource: Resource) -> Resource | None:
        return find_answer(resource, self._records.arn(named, LATEST), self._records.region)

    # --- recursion ---

    async def put_recursion(self, call: Call) -> Resource:
        """PutFunctionRecursionConfig."""
        wanted = call.params["RecursiveLoop"]
        await self._change_spec(self._named(call), lambda spec: {**spec, "recursiveLoop": wanted})
        return {"RecursiveLoop": wanted}

    async def get_recursion(self, call: Call) -> Resource:
        """GetFunctionRecursionConfig."""
        spec = (await self._records.raw_function(self._named(call)))["spec"]
        return {"RecursiveLoop": spec.get("recursiveLoop", "Terminate")}

    # --- tags ---

    async def tag(self, call: Call) -> None:
        """TagResource."""
        await self._change(self._tagged(call), lambda found: tagged(found, {**tags_of(found), **call.params["Tags"]}))

    async def untag(self, call: Call) -> None:
        """UntagResource."""
        gone = set(call.params["TagKeys"])

        def edit(found: Resource) -> Resource:
            return tagged(found, {name: value for name, value in tags_of(found).items() if name not in gone})

        await self._change(self._tagged(call), edit)

    async def list_tags(self, call: Call) -> Resource:
        """ListTags."""
        return {"Tags": tags_of(await self._records.raw_function(self._tagged(call)))}

    def _tagged(self, call: Call) -> Named:
        return self._records.name_of(call, "Resource")

    # --- all of them ---

    def _named(self, call: Call) -> Named:
        named = self._records.name_of(call)
        if named.qualifier is not None:
            raise invalid(
                f"Qualifier is {named.qualifier}; this is set of the function with all its versions: leave it out"
            )
        return named

    async def _change_spec(self, named: Named, edit: Edit) -> Resource:
        def checked(found: Resource) -> Resource:
            spec = edit(found["spec"])
            check_spec(spec)
            return {**found, "spec": spec}

        return await self._change(named, checked)

    async def _change(self, named: Named, edit: Edit) -> Resource:
        await self._records.raw_function(named)
        return await self._records.change("Function", named.namespace, named.name, edit)


def _without(spec: dict[str, Any], field: str) -> Resource:
    return {name: value for name, value in spec.items() if name != field}

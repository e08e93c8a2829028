"""What is of a whole namespace, and what Lambda has and Funclet has not."""

from funclet.control.management.records import Call, Records, Resource
from funclet.core.archive import UNZIPPED_LIMIT_BYTES
from funclet.core.management.code import ZIP_LIMIT_BYTES
from funclet.core.management.refusals import not_found, not_there

CONCURRENCY_LIMIT = 1000
"""The most that spec.reservedConcurrentExecutions and scaling.maxInstances may be; the cluster's room is not known."""
STORAGE_LIMIT_BYTES = 75 * 1024**3
"""Lambda's quota; here the volume of JetStream is the limit."""


class Account:
    """The other operations."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def get_settings(self, call: Call) -> Resource:
        """GetAccountSettings, of the namespace."""
        functions = (await self._records.page("Function", call.namespace)).items
        reserved = sum(item["spec"].get("reservedConcurrentExecutions", 0) for item in functions)
        stored = {
            active["codeSha256"]: active["codeSize"]
            for item in functions
            if (active := item.get("status", {}).get("active")) and active.get("codeSha256")
        }
        return {
            "AccountLimit": {
                "TotalCodeSize": STORAGE_LIMIT_BYTES,
                "CodeSizeUnzipped": UNZIPPED_LIMIT_BYTES,
                "CodeSizeZipped": ZIP_LIMIT_BYTES,
                "ConcurrentExecutions": CONCURRENCY_LIMIT,
                "UnreservedConcurrentExecutions": max(0, CONCURRENCY_LIMIT - reserved),
            },
            "AccountUsage": {"TotalCodeSize": sum(stored.values()), "FunctionCount": len(functions)},
        }

    async def get_code_signing(self, call: Call) -> Resource:
        """GetFunctionCodeSigningConfig: none."""
        named = self._records.name_of(call)
        await self._records.raw_function(named)
        return {"FunctionName": named.name, "CodeSigningConfigArn": ""}

    async def get_policy(self, call: Call) -> Resource:
        """GetPolicy: there is none, of any function."""
        await self._records.raw_function(self._records.name_of(call))
        raise not_found("The resource you requested does not exist.")

    async def add_permission(self, call: Call) -> Resource:
        """AddPermission: a policy that nobody enforces is not stored."""
        raise not_there("AddPermission", "no resource policies are enforced: whoever reaches the gateway may invoke")

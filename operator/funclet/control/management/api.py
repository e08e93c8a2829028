"""The table of operations."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from funclet.adapters.code_fetch import Packages
from funclet.adapters.resources import Store
from funclet.control.management.account import Account
from funclet.control.management.aliases import Aliases
from funclet.control.management.function_settings import FunctionSettings
from funclet.control.management.functions import Functions
from funclet.control.management.links import PackageLinks
from funclet.control.management.publication import Publication
from funclet.control.management.records import Call, Records
from funclet.core.management.configuration import lambda_time

Operation = Callable[[Call], Awaitable[dict[str, Any] | None]]


def build_operations(
    store: Store, packages: Packages, links: PackageLinks, region: str, accounts: Callable[[], Mapping[str, str]]
) -> dict[str, Operation]:
    """All operations by their names. `accounts`: account → namespace, of what there is."""
    records = Records(store, region, accounts)
    publication = Publication(records)
    functions = Functions(records, packages, publication, links, lambda: lambda_time(datetime.now(UTC)))
    aliases = Aliases(records, publication)
    settings = FunctionSettings(records, lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    account = Account(records)
    return {
        "CreateFunction": functions.create,
        "GetFunction": functions.get,
        "GetFunctionConfiguration": functions.get_configuration,
        "UpdateFunctionCode": functions.update_code,
        "UpdateFunctionConfiguration": functions.update_configuration,
        "DeleteFunction": functions.delete,
        "ListFunctions": functions.list,
        "PublishVersion": publication.publish_version,
        "ListVersionsByFunction": publication.list_versions,
        "CreateAlias": aliases.create,
        "GetAlias": aliases.get,
        "UpdateAlias": aliases.update,
        "DeleteAlias": aliases.delete,
        "ListAliases": aliases.list,
        "PutFunctionConcurrency": settings.put_concurrency,
        "GetFunctionConcurrency": settings.get_concurrency,
        "DeleteFunctionConcurrency": settings.delete_concurrency,
        "PutFunctionEventInvokeConfig": settings.put_event_invoke,
        "UpdateFunctionEventInvokeConfig": settings.update_event_invoke,
        "GetFunctionEventInvokeConfig": settings.get_event_invoke,
        "ListFunctionEventInvokeConfigs": settings.list_event_invoke,
        "DeleteFunctionEventInvokeConfig": settings.delete_event_invoke,
        "PutFunctionRecursionConfig": settings.put_recursion,
        "GetFunctionRecursionConfig": settings.get_recursion,
        "TagResource": settings.tag,
        "UntagResource": settings.untag,
        "ListTags": settings.list_tags,
        "GetAccountSettings": account.get_settings,
        "GetFunctionCodeSigningConfig": account.get_code_signing,
        "GetPolicy": account.get_policy,
        "AddPermission": account.add_permission,
    }

"""The `context` argument of a handler, as AWS documents it for Python."""

import time
from typing import Any, Protocol


class CognitoIdentity:
    """The caller's Amazon Cognito identity: there is none here, as for every caller that is no mobile SDK."""

    def __init__(self) -> None:
        self.cognito_identity_id = None
        self.cognito_identity_pool_id = None


class Client:
    """The mobile application that calls."""

    def __init__(self, client: dict[str, Any]) -> None:
        self.installation_id = client.get("installation_id")
        self.app_title = client.get("app_title")
        self.app_version_name = client.get("app_version_name")
        self.app_version_code = client.get("app_version_code")
        self.app_package_name = client.get("app_package_name")


class ClientContext:
    """What the caller gave as X-Amz-Client-Context."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.client = Client(content["client"]) if content.get("client") else None
        self.custom = content.get("custom")
        self.env = content.get("env")


class LambdaContext:
    """One invocation, as the function sees it."""

    def __init__(
        self,
        facts: "FunctionFacts",
        request_id: str,
        deadline_ns: int,
        client_context: ClientContext | None,
        invoked_arn: str | None = None,
    ) -> None:
        self.aws_request_id = request_id
        self.log_group_name = facts.log_group_name
        self.log_stream_name = facts.log_stream_name
        self.function_name = facts.function_name
        self.memory_limit_in_mb = facts.memory_limit_in_mb
        self.function_version = facts.function_version
        self.invoked_function_arn = invoked_arn or facts.invoked_function_arn
        self.client_context = client_context
        self.identity = facts.identity
        self.tenant_id = None
        self._deadline_ns = deadline_ns

    def get_remaining_time_in_millis(self) -> int:
        """Until the timeout."""
        return max(0, (self._deadline_ns - time.monotonic_ns()) // 1_000_000)

    def log(self, message: object) -> None:
        """Print without a line end, as awslambdaric does."""
        print(message, end="")

    def __repr__(self) -> str:
        fields = ",".join(f"{name}={value}" for name, value in vars(self).items() if not name.startswith("_"))
        return f"LambdaContext([{fields}])"


class FunctionIdentity(Protocol):
    """Which function it is; a specialisation says it, among other things."""

    function_version: str
    function_arn: str
    memory_mib: int

    @property
    def name(self) -> str:
        """Without its namespace."""


class FunctionFacts:
    """What is the same for all invocations of an instance."""

    def __init__(self, spec: FunctionIdentity, log_stream_name: str) -> None:
        self.function_name = spec.name
        self.function_version = spec.function_version
        self.invoked_function_arn = spec.function_arn
        self.memory_limit_in_mb = str(spec.memory_mib)
        self.log_group_name = f"/aws/lambda/{spec.name}"
        self.log_stream_name = log_stream_name
        self.identity = CognitoIdentity()

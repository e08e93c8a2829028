"""Function: Lambda's CreateFunction in camelCase, as a Kubernetes resource.

Shapes and bounds are those of botocore's service model (lambda/2015-03-31/service-2.json), narrowed where Funclet does.
What only Funclet has is in `scaling`, what only Kubernetes has is in `pod`.
"""

import re
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from funclet.api.code import Code, ImageConfig, KeyReference, Layer
from funclet.api.event_invoke import DeadLetterConfig, EventInvokeConfig
from funclet.api.function_status import FunctionStatus
from funclet.api.meta import API_VERSION, ApiModel, ObjectMeta, rule, rules
from funclet.api.pod import PodSettings

Runtime = Literal[
    "python3.11",
    "python3.12",
    "python3.13",
    "nodejs20.x",
    "nodejs22.x",
    "java17",
    "java21",
    "provided.al2023",
]
"""Lambda's names. The installation must have an image for the runtime; local mode takes what the machine has."""

ENVIRONMENT_LIMIT_BYTES = 4096
"""Lambda: "The total size of all environment variables doesn't exceed 4 KB"."""

VariableName = Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9_]*$", max_length=256)]


class Environment(ApiModel):
    """Environment variables of the function: plain values, and references to Secrets."""

    model_config = rules(
        rule(
            "!has(self.variables) || !has(self.secrets) || self.variables.all(name, !(name in self.secrets))",
            "a variable must be in variables or in secrets, not in both",
        ),
        rule(
            "!has(self.variables) || self.variables.map(name, size(name) + size(self.variables[name])).sum() <= 4096",
            "environment.variables must take at most 4096 characters, names and values together",
        ),
    )

    variables: dict[VariableName, str] = Field(
        default_factory=dict,
        max_length=256,
        description="Plain values. Names and values together may be 4 KB at most, as on Lambda.",
    )
    secrets: dict[VariableName, KeyReference] = Field(
        default_factory=dict,
        max_length=64,
        description="Values taken from Secrets of the same namespace. A change of the Secret reaches new instances.",
    )

    @model_validator(mode="after")
    def _within_lambdas_limits(self) -> Self:
        if both := sorted(set(self.variables) & set(self.secrets)):
            raise ValueError(f"environment: {', '.join(both)} is in variables and in secrets: keep one of them")
        size = sum(len(k.encode()) + len(v.encode()) for k, v in self.variables.items())
        if size > ENVIRONMENT_LIMIT_BYTES:
            raise ValueError(f"environment.variables take {size} bytes; at most {ENVIRONMENT_LIMIT_BYTES} are allowed")
        return self


class EphemeralStorage(ApiModel):
    """The size of /tmp."""

    size: int = Field(default=512, ge=512, le=10240, description="Size of /tmp in MiB, 512 to 10240.")


class LoggingConfig(ApiModel):
    """How the function's log lines are written."""

    model_config = rules(
        rule(
            "self.logFormat == 'JSON' || (!has(self.applicationLogLevel) && !has(self.systemLogLevel))",
            "applicationLogLevel and systemLogLevel need logFormat JSON",
        ),
    )

    log_format: Literal["Text", "JSON"] = Field(default="Text", description="Text or JSON.")
    application_log_level: Literal["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"] | None = Field(
        default=None, description="The least level of the function's own lines, with JSON alone. INFO if absent."
    )
    system_log_level: Literal["DEBUG", "INFO", "WARN"] | None = Field(
        default=None, description="The least level of the platform's lines, with JSON alone. INFO if absent."
    )

    @model_validator(mode="after")
    def _levels_need_json(self) -> Self:
        if self.log_format != "JSON" and (self.application_log_level or self.system_log_level):
            raise ValueError("applicationLogLevel and systemLogLevel need logFormat JSON")
        return self


class Scaling(ApiModel):
    """What only Funclet has: how instances follow demand."""

    concurrency_per_instance: int = Field(
        default=1,
        ge=1,
        le=100,
        description="How many invocations one instance serves at a time. 1 is Lambda's behaviour.",
    )
    idle_timeout_seconds: int = Field(
        default=60,
        ge=1,
        le=86400,
        description="With keepAlive Fixed: how long an instance may be idle before it is removed, in seconds. With "
        "Adaptive: what a cold start is worth, in seconds of one idle instance; also how long an instance is kept "
        "until the function has a history.",
    )
    keep_alive: Literal["Fixed", "Adaptive"] = Field(
        default="Fixed",
        description="Fixed: idle instances go after idleTimeoutSeconds. Adaptive: the time follows from how long this "
        "function's instances were idle between uses (the last 64 times, known since the scaler started), so that idle "
        "time and cold starts together cost the least; never less than 1 second or more than 86400. If calls come on "
        "a schedule, an instance is started just before the next one is expected.",
    )
    max_instances: int = Field(
        default=100,
        ge=1,
        le=1000,
        description="The most instances of this function. Calls beyond wait in the queue; to refuse them instead, "
        "set reservedConcurrentExecutions.",
    )


NEEDS_RUNTIME = "runtime and handler must be given, or packageType Image with code.imageUri"
IN_THE_IMAGE = "packageType Image takes neither runtime nor handler: both are in the image"
IMAGE_AND_URI = "packageType Image and code.imageUri belong together, give both"
NO_LAYERS = "packageType Image takes no layers: put their files into the image"
ONE_AT_A_TIME = "packageType Image serves one invocation at a time: scaling.concurrencyPerInstance must be 1"
CONFIG_NEEDS_IMAGE = "imageConfig needs packageType Image"
PULL_NEEDS_IMAGE = "pod.imagePullSecrets and pod.imagePullPolicy need packageType Image"


class FunctionSpec(ApiModel):
    """What the function is: its code, its handler and its limits."""

    model_config = rules(
        rule(
            "!has(self.provisionedConcurrentExecutions) || !has(self.reservedConcurrentExecutions)"
            " || self.provisionedConcurrentExecutions <= self.reservedConcurrentExecutions",
            "provisionedConcurrentExecutions must not exceed reservedConcurrentExecutions",
        ),
        rule(
            r"!has(self.runtime) || !has(self.handler)"
            r" || !(self.runtime.startsWith('python') || self.runtime.startsWith('nodejs'))"
            r" || self.handler.matches('^[^.]+([.][^.]+)+$')",
            "handler must be module.function with Python and Node.js, for instance index.handler",
        ),
        rule("self.packageType == 'Image' || (has(self.runtime) && has(self.handler))", NEEDS_RUNTIME),
        rule("self.packageType != 'Image' || (!has(self.runtime) && !has(self.handler))", IN_THE_IMAGE),
        rule("(self.packageType == 'Image') == has(self.code.imageUri)", IMAGE_AND_URI),
        rule("self.packageType != 'Image' || !has(self.layers) || size(self.layers) == 0", NO_LAYERS),
        rule("self.packageType != 'Image' || self.scaling.concurrencyPerInstance == 1", ONE_AT_A_TIME),
        rule("self.packageType == 'Image' || !has(self.imageConfig)", CONFIG_NEEDS_IMAGE),
        rule(
            "self.packageType == 'Image' || (!has(self.pod.imagePullPolicy)"
            " && (!has(self.pod.imagePullSecrets) || size(self.pod.imagePullSecrets) == 0))",
            PULL_NEEDS_IMAGE,
        ),
    )

    description: str = Field(default="", max_length=256, description="A sentence for people.")
    package_type: Literal["Zip", "Image"] = Field(
        default="Zip",
        description="Zip: code for one of the runtimes. Image: code.imageUri, which brings its runtime.",
    )
    runtime: Runtime | None = Field(
        default=None,
        description="The language runtime: python3.11 to python3.13, nodejs20.x, nodejs22.x, java17, java21, or "
        "provided.al2023, whose package brings its own program, bootstrap. Must be given, but for packageType Image.",
    )
    handler: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        pattern=r"^[^\s]+$",
        description="What the runtime calls: module and function (index.lambda_handler for lambda_handler in index.py) "
        "for Python and Node.js, class and method (example.Handler::handleRequest) for Java, anything for provided. "
        "Must be given, but for packageType Image.",
    )
    code: Code = Field(description="Where the code comes from.")
    image_config: ImageConfig | None = Field(
        default=None, description="What replaces the image's own settings, with packageType Image."
    )
    layers: list[Layer] = Field(
        default_factory=list,
        max_length=5,
        description="Up to five archives that are laid over /opt, each over the ones before it; code and layers may "
        "take 250 MB unzipped together.",
    )
    memory_size: int = Field(
        default=128, ge=128, le=10240, description="Memory in MiB, 128 to 10240. CPU follows: 1,769 MiB are one CPU."
    )
    timeout: int = Field(default=3, ge=1, le=900, description="Longest run of one invocation in seconds, 1 to 900.")
    environment: Environment = Field(default_factory=Environment, description="Environment variables.")
    ephemeral_storage: EphemeralStorage = Field(default_factory=EphemeralStorage, description="The size of /tmp.")
    logging_config: LoggingConfig = Field(default_factory=LoggingConfig, description="The form of log lines.")
    event_invoke_config: EventInvokeConfig = Field(
        default_factory=EventInvokeConfig, description="How asynchronous invocations are retried and recorded."
    )
    dead_letter_config: DeadLetterConfig | None = Field(
        default=None, description="Where events of asynchronous invocations go when they were given up."
    )
    recursive_loop: Literal["Terminate", "Allow"] = Field(
        default="Terminate",
        description="What happens when this function was invoked 16 times in one chain of requests (Lambda's "
        "PutFunctionRecursionConfig): Terminate (the default) refuses it, Allow only counts it.",
    )
    reserved_concurrent_executions: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="The most invocations at a time; beyond it callers get 429 TooManyRequestsException. "
        "0 stops the function. Absent: no limit but scaling.maxInstances.",
    )
    provisioned_concurrent_executions: int | None = Field(
        default=None, ge=1, le=1000, description="Invocations for which instances are kept ready. Absent: none."
    )
    scaling: Scaling = Field(default_factory=Scaling, description="How instances follow demand.")
    pod: PodSettings = Field(default_factory=PodSettings, description="Kubernetes settings of the instances' pods.")

    @model_validator(mode="after")
    def _handler_of_the_runtimes_form(self) -> Self:
        runtime, handler = self.runtime or "", self.handler or ""
        if handler and runtime.startswith(("python", "nodejs")) and not re.fullmatch(r"[^.]+([.][^.]+)+", handler):
            raise ValueError(f"handler must be module.function with {runtime}, not {handler!r}")
        return self

    @model_validator(mode="after")
    def _of_its_package_type(self) -> Self:
        is_image = self.package_type == "Image"
        given = [self.runtime, self.handler]
        problems = {
            NEEDS_RUNTIME: not is_image and None in given,
            IN_THE_IMAGE: is_image and given != [None, None],
            IMAGE_AND_URI: is_image != (self.code.image_uri is not None),
            NO_LAYERS: is_image and bool(self.layers),
            ONE_AT_A_TIME: is_image and self.scaling.concurrency_per_instance != 1,
            CONFIG_NEEDS_IMAGE: not is_image and self.image_config is not None,
            PULL_NEEDS_IMAGE: not is_image and bool(self.pod.image_pull_policy or self.pod.image_pull_secrets),
        }
        if found := next((message for message, wrong in problems.items() if wrong), None):
            raise ValueError(found)
        return self

    @model_validator(mode="after")
    def _provisioned_within_reserved(self) -> Self:
        provisioned, reserved = self.provisioned_concurrent_executions, self.reserved_concurrent_executions
        if provisioned is not None and reserved is not None and provisioned > reserved:
            raise ValueError("provisionedConcurrentExecutions must not exceed reservedConcurrentExecutions")
        return self


class Function(ApiModel):
    """A function: code that runs when it is invoked, and takes nothing while it is not."""

    model_config = ConfigDict(extra="ignore")

    api_version: Literal["funclet.dev/v1"] = API_VERSION
    kind: Literal["Function"] = "Function"
    metadata: ObjectMeta
    spec: FunctionSpec
    status: FunctionStatus = Field(default_factory=FunctionStatus)

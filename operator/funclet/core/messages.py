"""The messages between gateway, events and scaler (docs/design/0001-roles-and-wire.md): JSON, validated at the door."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class Message(BaseModel):
    """The base of all messages. Unknown fields are ignored, so that roles of two versions can talk."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class InstanceUse(Message):
    """How one reporter uses one instance."""

    busy: int = Field(ge=0)
    """Invocations in flight on it."""
    idle_seconds: float = Field(default=0, ge=0)
    """Since its last invocation ended (or since it was announced); 0 while it is busy."""
    uses: int = Field(default=0, ge=0)
    """How often this reporter has taken a free slot of it. More than before: it was used in between."""


class FunctionDemand(Message):
    """What one reporter sees of one function."""

    queued: int = Field(default=0, ge=0)
    """Invocations that wait at the gateway for a slot."""
    in_flight: int = Field(default=0, ge=0)
    """Invocations that run now."""
    backlog: int | None = Field(default=0, ge=0)
    """Invocations that wait in event sources, counted in batches. None: the source could not be read (unknown)."""
    service_ms: float | None = Field(default=None, ge=0)
    """Moving average of one invocation's time in milliseconds, without its init phase; None until one has ended."""
    arrivals: int = Field(default=0, ge=0)
    """Invocations that have come to this reporter since it began to serve the function."""
    init_ms: float | None = Field(default=None, ge=0)
    """Moving average of the init phase in milliseconds; None until one has ended."""
    instances: dict[str, InstanceUse] = Field(default_factory=dict)
    """By instance name. Gateways report all that they hold, events none."""


class DemandReport(Message):
    """Body of `POST /v1/demand`. Replaces what this reporter said before of the functions that it names.

    Functions that are not named keep their last word. An empty report is a sign of life.
    """

    reporter: str = Field(min_length=1, max_length=253)
    functions: dict[str, FunctionDemand] = Field(default_factory=dict)
    drained: list[str] = Field(default_factory=list)
    """Names of draining instances that this reporter uses no more."""
    leaving: bool = False
    """A gateway that is being stopped: it is no function's home any more."""
    peer: str | None = None
    """Of a gateway that has introduced itself: its id, which an earlier or later process of its name does not have."""


class InstanceAddress(Message):
    """An instance that can be invoked: one address and port a slot, one invocation at a time on each."""

    name: str
    function: str
    revision: str
    host: str
    slots: list[int] = Field(min_length=1)
    token: str
    """Opens this instance's slots (header x-funclet-token), and nothing else."""


class Snapshot(Message):
    """First line of the feed: all instances that may be used now. Whatever is not in it is gone."""

    type: Literal["SNAPSHOT"] = "SNAPSHOT"
    instances: list[InstanceAddress]


class Phase(Message):
    """A phase of an instance's start (docs/metrics.md), in seconds before the message that tells of it."""

    name: str
    began: float
    ended: float


class Ready(Message):
    """One more instance may be used."""

    type: Literal["READY"] = "READY"
    instance: InstanceAddress
    phases: list[Phase] = Field(default_factory=list)
    """What somebody waited for until it was ready."""


class Draining(Message):
    """Give this instance nothing more; name it in `drained` when its last invocation has ended."""

    type: Literal["DRAINING"] = "DRAINING"
    instance: str


class Gone(Message):
    """This instance does not exist any more; invocations on it have failed."""

    type: Literal["GONE"] = "GONE"
    instance: str


class Refused(Message):
    """No instance can be made for this function's revision: waiting callers get this message now."""

    type: Literal["REFUSED"] = "REFUSED"
    function: str
    revision: str
    reason: str
    message: str


class Ping(Message):
    """A sign of life, every five seconds."""

    type: Literal["PING"] = "PING"


class Peer(Message):
    """One running gateway process, as the others reach it."""

    id: str = Field(min_length=1, max_length=300)
    """Its name as a reporter, `#`, and what tells it from an earlier process of that name."""
    host: str
    port: int = Field(ge=1, le=65535)
    leaving: bool = False
    """It is being stopped: it ends what it has begun, and is no function's home."""

    @property
    def reporter(self) -> str:
        """Its name as a reporter."""
        return self.id.rpartition("#")[0]


class Peers(Message):
    """All running gateways, told to those that introduced themselves: before the snapshot, and at each change."""

    type: Literal["PEERS"] = "PEERS"
    epoch: int = Field(ge=1)
    """Greater with each change, also over restarts of the scaler."""
    peers: list[Peer]


class Introduction(Message):
    """What a gateway says of itself when it opens the feed (query parameter `peer`). Its host is seen by the scaler."""

    id: str = Field(pattern=r"^.{1,253}#.{1,46}$")
    port: int = Field(ge=1, le=65535)
    epoch: int = Field(default=0, ge=0)
    """Of the last list that it was told; 0: none."""
    peers: list[Peer] = Field(default_factory=list)
    """That list: a scaler that was restarted goes on from it."""


SlotNames = dict[str, list[tuple[str, int]]]
"""By function: instance and index of slots."""


class PeerNote(Message):
    """What one gateway tells another of the slots of functions whose home it was."""

    sender: str
    epoch: int = Field(ge=0)
    """The list of peers that the sender follows: it begins nothing on functions that have another home by that list."""
    occupied: SlotNames = Field(default_factory=dict)
    """Slots on which the sender still runs invocations of functions whose home is the receiver now."""
    vacated: SlotNames = Field(default_factory=dict)
    """Such slots on which they have ended."""


FeedMessage = Annotated[Snapshot | Ready | Draining | Gone | Refused | Ping | Peers, Field(discriminator="type")]
"""One line of `GET /v1/instances?reporter=NAME`: newline-delimited JSON, as long as the reader stays."""

FEED: TypeAdapter[FeedMessage] = TypeAdapter(FeedMessage)


InitializationType = Literal["on-demand", "provisioned-concurrency"]
"""`AWS_LAMBDA_INITIALIZATION_TYPE`: whether an instance was started to be there, or for demand."""


class Specialisation(Message):
    """The JSON head of the body of the agent's `POST /v1/specialise`; the layers and the code (zips) follow it."""

    function: str
    revision: str
    runtime: str
    handler: str
    timeout_seconds: int
    memory_mib: int
    concurrency: int
    environment: dict[str, str]
    function_arn: str
    function_version: str
    region: str
    log_format: str
    layer_bytes: list[int] = Field(default_factory=list)
    """The sizes of the layers' archives, in their order. The code's archive takes the rest of the body."""
    application_log_level: str | None = None
    """The least level of the function's lines, with log_format JSON; None: INFO."""
    system_log_level: str | None = None
    """The least level of the platform's lines, with log_format JSON; None: INFO."""
    initialization_type: InitializationType = "on-demand"


class ManagementHead(Message):
    """A caller's request of the Lambda API that invokes nothing, as it reached a gateway; its body comes beside it."""

    method: str
    url: str
    """Path and query, as received."""
    headers: dict[str, str]
    """By name in lower case."""
    default_namespace: str
    """Of a path that names none."""

"""The gateway's settings."""

from pathlib import Path

from pydantic import Field, Json

from funclet.adapters.settings import RoleSettings


class GatewaySettings(RoleSettings):
    """Read once at the start, from the environment: FUNCLET_ and the upper-case name."""

    internal_token: str
    """What events presents to be exempt from the queue's length limit, and the gateway to the scaler. Required."""
    scaler_url: str
    """Base URL of the scaler. Required."""
    control_url: str | None = None
    """Base URL of control's management API. None: only invocations are served."""
    nats_url: str | None = None
    """Where JetStream is, for asynchronous invocations. None: they are refused with 503."""
    usage_journal: Path | None = None
    """A file that outlives the process, for what was counted and not yet told to the usage ledger; beside another
    process this name and .1 is taken. None: memory."""
    port: int = Field(default=8080, ge=0, le=65535)
    """Callers' port; 0 takes a free one."""
    name: str | None = None
    """What this gateway is called in its reports to the scaler. None: the host's name."""
    metrics_fd: int | None = Field(default=None, ge=0)
    """An inherited listening socket instead of the port for probes and metrics. The supervisor sets it."""
    listen_fd: int | None = Field(default=None, ge=0)
    """A listening socket that this process has inherited, instead of the port. The supervisor of several sets it."""
    inbox_fd: int | None = Field(default=None, ge=0)
    """Inherited: here the other processes of this machine hand connections over. The supervisor sets it."""
    sibling_fds: Json[dict[str, int]] = Field(default_factory=dict)
    """Their inboxes: by their name an inherited socket, as JSON. The supervisor sets it."""
    processes: int = Field(default=1, ge=1, le=64)
    """Gateway processes on this machine, on the same port. With more than one, the first process only supervises."""
    peer_port: int | None = Field(default=None, ge=0, le=65535)
    """Where other gateways reach this one; the second process of a machine takes the next port, and so on. 0: any free
    one. None: this gateway is the only one."""
    host: str = "0.0.0.0"
    """Address to listen on."""
    default_namespace: str = "default"
    """The namespace of calls whose path names none."""
    region: str = "us-east-1"
    """The region in ARNs."""
    queue_limit: int = Field(default=1000, ge=0)
    """Invocations of one function that may wait for a slot; more get 503."""
    queue_limit_mib: int = Field(default=64, ge=1)
    """MiB of payloads of one function that may wait for a slot; more get 503."""
    queue_timeout_seconds: float = Field(default=60, gt=0)
    """How long an invocation may wait for a slot until it gets 503."""
    body_limit_mib: int = Field(default=128, ge=16)
    """MiB of payloads above 64 KiB that the gateway holds at once, for requests and again for answers.

    More requests get 503; more answers wait at their instances.
    """
    client_limit: int = Field(default=10000, ge=1)
    """Connections of callers; more are told 503 and closed."""
    drain_seconds: float = Field(default=0, ge=0)
    """How long new callers are still served when the gateway is stopped: so long others may take to hear of it."""
    shutdown_seconds: float = Field(default=20, ge=0)
    """How long running invocations may take to end when the gateway is stopped."""

"""The settings of the role control."""

from funclet.adapters.settings import RoleSettings


class ControlSettings(RoleSettings):
    """Read once at the start, from the environment: FUNCLET_ and the upper-case name."""

    nats_url: str
    """Where JetStream is, which holds the code packages. Required."""

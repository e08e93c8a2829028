"""The root of what the agent raises on purpose."""


class AgentError(Exception):
    """Somebody sent what cannot be used, or the function cannot be run; the message says why."""

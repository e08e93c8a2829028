"""The exception tree, grouped by who must act.

    FuncletError
    ├── InvalidSpec      the author of the resource or of the file: a condition says what to change, no retry helps
    ├── FunctionFailed   the user's code: the caller gets Lambda's error shape
    ├── Throttled        the caller, later: 429 with Retry-After
    ├── Unavailable      the platform, soon: 503 with Retry-After
    └── Conflict         whoever wrote: read again, then write again

Third-party exceptions are translated into these at the adapter that met them, with `from` kept.
"""


class FuncletError(Exception):
    """Whatever Funclet raises on purpose. `reason` is the CamelCase word of conditions, Events, logs and metrics."""

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).__name__


class InvalidSpec(FuncletError):
    """A resource says something that cannot be carried out. `field` is the dotted path of what is wrong."""

    def __init__(self, message: str, *, reason: str | None = None, field: str = "") -> None:
        super().__init__(message, reason=reason)
        self.field = field


class FunctionFailed(FuncletError):
    """The user's code raised, crashed or ran out of time."""


class Throttled(FuncletError):
    """A limit that the user set was reached: try later."""


class Unavailable(FuncletError):
    """Something that Funclet itself needs did not answer: try again soon."""


class Conflict(FuncletError):
    """Somebody else wrote first: read again."""

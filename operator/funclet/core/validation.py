"""What is wrong with a resource, in words for its author."""

from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import ErrorDetails

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where: the path of keys and indexes to it."""

    path: Path
    message: str

    @property
    def field(self) -> str:
        """The path as people write it: spec.code.url, spec.methods[0]."""
        text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)
        return text.removeprefix(".") or "the object"

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def problems_of(error: ValidationError) -> list[Problem]:
    """All that pydantic found."""
    return [Problem(_path(detail), _message(detail)) for detail in error.errors(include_url=False)]


def describe(error: ValidationError) -> str:
    """All that pydantic found, in one line, for a condition's message."""
    return "; ".join(str(problem) for problem in problems_of(error))


def _path(detail: ErrorDetails) -> Path:
    """pydantic ends the path of a wrong map key with "[key]"."""
    return tuple(part for part in detail["loc"] if part != "[key]")


def _message(detail: ErrorDetails) -> str:
    if detail["type"] == "extra_forbidden":
        return "no such field"
    if detail["type"] == "missing":
        return "must be given"
    return detail["msg"].removeprefix("Value error, ")

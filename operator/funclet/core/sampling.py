"""Which traces are recorded: the samplers of OTEL_TRACES_SAMPLER.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#general-sdk-configuration

| sampler                    | a trace that begins here | a trace that a caller has decided on |
|----------------------------|--------------------------|--------------------------------------|
| always_on, always_off      | all, none                | all, none                            |
| traceidratio               | that share               | that share                           |
| parentbased_always_on      | all                      | as the caller says                   |
| parentbased_always_off     | none                     | as the caller says                   |
| parentbased_traceidratio   | that share               | as the caller says                   |

The share is told by the lower 64 bits of the trace's id, as the SDKs do: all that see a trace decide alike.
"""

from dataclasses import dataclass

from funclet.errors import InvalidSpec

SAMPLER_VARIABLE = "OTEL_TRACES_SAMPLER"
ARGUMENT_VARIABLE = "OTEL_TRACES_SAMPLER_ARG"
_ALL = 1 << 64
_BEYOND = "g"
"""Sorts behind all hexadecimal digits."""
_PARENT_BASED = "parentbased_"
_KINDS = ("always_on", "always_off", "traceidratio")
SAMPLERS = (*_KINDS, *(_PARENT_BASED + kind for kind in _KINDS))


@dataclass(frozen=True, slots=True)
class Sampler:
    """`bound`: traces whose last sixteen digits sort before it are recorded. Digits sort as their numbers do."""

    bound: str = _BEYOND
    parent_based: bool = True

    def samples(self, trace_id: str, decided: bool | None = None) -> bool:
        """Whether to record this trace (32 digits, those above 9 in lower case). A caller may have `decided` on it."""
        if decided is not None and self.parent_based:
            return decided
        return trace_id[16:] < self.bound


def parse_sampler(name: str, argument: str) -> Sampler:
    """The sampler of this name; both may be empty. Raises InvalidSpec."""
    name = name or "parentbased_always_on"
    if name not in SAMPLERS:
        raise InvalidSpec(f"must be one of {', '.join(SAMPLERS)}, not {name!r}", field=SAMPLER_VARIABLE)
    kind = name.removeprefix(_PARENT_BASED)
    share = {"always_on": 1.0, "always_off": 0.0}.get(kind)
    bound = round(_ALL * (_parse_share(argument) if share is None else share))
    return Sampler(_BEYOND if bound == _ALL else f"{bound:016x}", name.startswith(_PARENT_BASED))


def _parse_share(argument: str) -> float:
    try:
        share = float(argument or 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise InvalidSpec(f"must be a number from 0 to 1, not {argument!r}", field=ARGUMENT_VARIABLE)
    return share

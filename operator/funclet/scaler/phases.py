"""The phases of an instance's start that somebody waited for: a histogram, and the gateways for their spans."""

from funclet.adapters.metrics import COLD_START_SECONDS
from funclet.core.instances import Instance
from funclet.core.messages import Phase


def note_phase(instance: Instance, name: str, began: float, ended: float) -> None:
    """A phase (docs/metrics.md) is over; the times are the scaler's clock's."""
    COLD_START_SECONDS.labels(name).observe(ended - began)
    instance.phases[name] = (began, ended)


def phases_before(instance: Instance, now: float) -> list[Phase]:
    """What led to this instance, as the gateways are told."""
    return [Phase(name=name, began=now - began, ended=now - ended) for name, (began, ended) in instance.phases.items()]

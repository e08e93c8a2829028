"""All benchmarks, in the order in which they run: first what needs no cluster."""

from benchmarks import gateway_cpu, instance_cpu
from benchmarks.figure import Benchmark

SUITE = (
    Benchmark(instance_cpu.measure, ("instance_cpu_us",)),
    Benchmark(gateway_cpu.measure, ("gateway_cpu_us",)),
)


def chosen(only: str) -> list[Benchmark]:
    """All, or those whose file or figures have one of these names. Raises SystemExit for an unknown name."""
    if not only:
        return list(SUITE)
    found = []
    for name in only.replace(",", " ").split():
        matches = [one for one in SUITE if name == one.name or name in one.figures]
        if not matches:
            known = ", ".join(name for one in SUITE for name in one.figures)
            raise SystemExit(f"there is no figure {name!r}; there are {known}")
        found += [one for one in matches if one not in found]
    return found

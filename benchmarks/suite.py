"""All benchmarks, in the order in which they run: first what needs no cluster."""

from benchmarks import (
    added_latency,
    burst,
    cold_start_100_functions,
    cold_start_empty_pool,
    cold_start_pool,
    event_accept,
    gateway_cpu,
    gateway_scaling,
    gateway_tracing,
    idle_10000,
    idle_instance,
    instance_cpu,
    metering,
    one_slot,
    overload,
    queue_10000,
    warm_rps,
)
from benchmarks.figure import Benchmark

SUITE = (
    Benchmark(instance_cpu.measure, ("instance_cpu_us",)),
    Benchmark(gateway_cpu.measure, ("gateway_cpu_us",)),
    Benchmark(gateway_tracing.measure, gateway_tracing.FIGURES),
    Benchmark(gateway_scaling.measure, gateway_scaling.FIGURES, limit_seconds=240),
    Benchmark(warm_rps.measure, ("warm_rps_per_core",)),
    Benchmark(added_latency.measure, ("added_latency_p50_ms", "added_latency_p99_ms")),
    Benchmark(
        overload.measure, ("overload_goodput_ratio", "overload_memory_mib"), limit_seconds=overload.LIMIT_SECONDS
    ),
    Benchmark(event_accept.measure, ("event_accept_per_second", "event_accept_per_core")),
    Benchmark(idle_instance.measure, ("idle_instance_mib",), needs_cluster=True),
    Benchmark(cold_start_pool.measure, ("cold_start_pool_p50_ms", "cold_start_pool_p95_ms"), True, 240),
    Benchmark(cold_start_100_functions.measure, ("cold_start_100_functions_p95_s",), True, 300),
    Benchmark(cold_start_empty_pool.measure, ("cold_start_empty_pool_vs_bare_pod",), True),
    Benchmark(burst.measure, ("burst_beyond_pool", "burst_pool_share_ms"), True, 300),
    Benchmark(one_slot.measure, ("one_at_a_time_vs_16_slots",), True),
    Benchmark(queue_10000.measure, ("queue_10000_first_instance_ms",), True),
    Benchmark(metering.measure, ("metering_lost_or_doubled",), True, 180),
    Benchmark(
        idle_10000.measure,
        ("idle_10000_functions_cores", "idle_10000_functions_mib", "idle_10000_functions_api_writes"),
        needs_cluster=True,
        limit_seconds=360,
    ),
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

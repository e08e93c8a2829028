"""Metrics of several processes in one text."""

from funclet.adapters.metrics_merge import merge

FIRST = """# HELP funclet_invocations_total Invocations by outcome.
# TYPE funclet_invocations_total counter
funclet_invocations_total{function="a",outcome="ok"} 3.0
# HELP funclet_invocation_duration_seconds Duration of handler runs.
# TYPE funclet_invocation_duration_seconds histogram
funclet_invocation_duration_seconds_bucket{function="a",le="0.001"} 2.0
funclet_invocation_duration_seconds_bucket{function="a",le="+Inf"} 3.0
funclet_invocation_duration_seconds_count{function="a"} 3.0
funclet_invocation_duration_seconds_sum{function="a"} 1.5
"""
SECOND = """# HELP funclet_invocations_total Invocations by outcome.
# TYPE funclet_invocations_total counter
funclet_invocations_total{function="a",outcome="ok"} 4.0
"""


def test_each_series_says_of_which_process_it_is() -> None:
    lines = merge({"0": FIRST, "1": SECOND}).decode().splitlines()
    assert lines.count("# TYPE funclet_invocations_total counter") == 1
    assert 'funclet_invocations_total{function="a",outcome="ok",process="0"} 3.0' in lines
    assert 'funclet_invocations_total{function="a",outcome="ok",process="1"} 4.0' in lines
    assert 'funclet_invocation_duration_seconds_bucket{function="a",le="+Inf",process="0"} 3.0' in lines


def test_nobody_says_nothing() -> None:
    assert merge({}) == b""

"""What is known of an invocation becomes a tree of spans, in which every span is within its parent."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.core.messages import Phase
from funclet.core.spans import (
    ERROR_OBJECT_BYTES,
    Birth,
    Invocation,
    Kind,
    Span,
    WarmInvocation,
    find_error_type,
    function_attributes,
    model_invocation,
)

MS = 1_000_000
START = 1_700_000_000_000 * MS
TRACE, HANDLER, REQUEST_ID = "a" * 32, "c" * 16, "8f507cfc-8697-4697-b07a-ac58fc914c95"
ROOT = f"{1:016x}"
"""The first id that is given."""
WARM = Invocation(
    key="shop/hello",
    common=function_attributes("us-east-1", "shop/hello", "other"),
    trace_id=TRACE,
    parent_id="d" * 16,
    handler_id=HANDLER,
    start_ns=START,
    end_ns=START + 10 * MS,
    queue_ns=0,
    request_id=REQUEST_ID,
    method=b"POST",
    status=200,
    instance="python313-1",
    duration_us=6000,
)
POOLED = Birth(START + 20 * MS, [Phase(name="claim", began=0.018, ended=0.014),
                                 Phase(name="specialise", began=0.014, ended=0)])  # fmt: skip
"""An instance that was ready 20 ms after the call came."""
COLD = WARM._replace(queue_ns=21 * MS, end_ns=START + 40 * MS, init_us=9000, birth=POOLED)


def numbered() -> Callable[[], str]:
    """Ids that tell the order in which they were given."""
    numbers = itertools.count(1)
    return lambda: f"{next(numbers):016x}"


def times(invocation: Invocation) -> dict[str, tuple[float, float]]:
    """Each span's beginning and end in milliseconds after the call came."""
    return {
        span.name: ((span.start_ns - START) / MS, (span.end_ns - START) / MS) for span in invocation.spans(numbered())
    }


def test_a_warm_call_has_two_spans_and_the_way_is_shared_out_evenly() -> None:
    root, handler = WARM.spans(numbered())
    assert (root.name, root.kind, root.parent_id, root.span_id) == ("invoke hello", Kind.SERVER, "d" * 16, ROOT)
    assert (handler.kind, handler.parent_id, handler.span_id) == (Kind.INTERNAL, ROOT, HANDLER)
    assert times(WARM) == {"invoke hello": (0, 10), "handler": (2, 8)}


@pytest.mark.parametrize("parent_id", ["d" * 16, ""])
def test_a_warm_call_has_the_same_spans_when_it_is_told_by_its_model(parent_id: str) -> None:
    model = model_invocation("us-east-1", "shop/hello", "other", "", b"POST", 200, "python313-1", parent_id != "")
    told = WarmInvocation(model, TRACE, parent_id, HANDLER, START, START + 10 * MS, REQUEST_ID, 6000)
    assert told.spans(numbered()) == WARM._replace(parent_id=parent_id).spans(numbered())
    assert told.size == 2


def test_a_cold_call_tells_what_it_waited_for() -> None:
    assert times(COLD) == {
        "invoke hello": (0, 40),
        "queue": (0, 21),
        "claim": (2, 6),
        "specialise": (6, 20),
        "init": (20, 29),  # it goes on while the call is on its way
        "handler": (31.5, 37.5),
    }
    parents = {span.name: span.parent_id for span in COLD.spans(numbered())}
    queue = f"{2:016x}"
    assert (parents["claim"], parents["specialise"]) == (queue, queue)
    assert (parents["queue"], parents["init"], parents["handler"]) == (ROOT, ROOT, ROOT)


def test_of_a_phase_that_began_before_the_call_only_the_rest_is_its_own() -> None:
    late = COLD._replace(birth=Birth(START + 5 * MS, POOLED.phases))
    assert times(late)["specialise"] == (0, 5)
    assert "claim" not in times(late)


def test_an_instance_that_was_ready_long_before_cost_nothing() -> None:
    early = WARM._replace(init_us=9000, birth=Birth(START - 1000 * MS, POOLED.phases))
    assert times(early) == times(WARM)


def test_an_instance_of_unknown_birth_imported_before_it_ran() -> None:
    assert times(WARM._replace(init_us=2000, birth=None)) == {
        "invoke hello": (0, 10), "init": (0, 2), "handler": (3, 9),
    }  # fmt: skip


def test_a_call_that_waited_for_a_busy_instance_has_no_phases() -> None:
    assert list(times(COLD._replace(init_us=None))) == ["invoke hello", "queue", "handler"]


def test_a_refused_call_has_no_handler() -> None:
    refused = WARM._replace(instance=None, error_type="TooManyRequestsException")
    (root,) = refused.spans(numbered())
    assert root.failed
    waited = refused._replace(queue_ns=10**18)
    assert times(waited) == {"invoke hello": (0, 10), "queue": (0, 10)}


def test_a_failure_of_the_function_is_its_handlers() -> None:
    failed = WARM._replace(error_type="KeyError", function_failed=True)
    root, handler = failed.spans(numbered())
    assert root.failed
    assert handler.failed
    assert ("error.type", "KeyError") in handler.common
    answered_500 = WARM._replace(error_type="500")
    assert [span.failed for span in answered_500.spans(numbered())] == [True, False]


def test_a_call_that_a_clock_too_coarse_says_waited_has_no_queue() -> None:
    at_once = WARM._replace(end_ns=START, queue_ns=MS, duration_us=None)
    assert list(times(at_once)) == ["invoke hello", "handler"]
    assert at_once.size == 2


lengths = st.integers(0, 100 * MS)
microseconds = st.integers(0, 100_000)
moments = st.floats(-0.2, 0.2)
births = st.builds(
    lambda after, told: Birth(
        START + after, [Phase(name=str(number), began=began, ended=ended) for number, (began, ended) in enumerate(told)]
    ),
    st.integers(-100 * MS, 100 * MS),
    st.lists(st.tuples(moments, moments), max_size=3),
)
invocations = st.builds(
    lambda length, queue, duration, init, birth: WARM._replace(
        end_ns=START + length, queue_ns=queue, duration_us=duration, init_us=init, birth=birth
    ),
    lengths, lengths, st.none() | microseconds, st.none() | microseconds, st.none() | births,
)  # fmt: skip


@given(invocations)
def test_whatever_the_machines_say_each_span_is_within_its_parent(invocation: Invocation) -> None:
    spans = invocation.spans(numbered())
    by_id: dict[str, Span] = {span.span_id: span for span in spans}
    assert invocation.size == len(spans) == len(by_id)
    for span in spans[1:]:
        parent = by_id[span.parent_id]
        assert parent.start_ns <= span.start_ns <= span.end_ns <= parent.end_ns


@pytest.mark.parametrize(
    ("payload", "error_type"),
    [
        (b'{"errorType": "KeyError", "errorMessage": "secret"}', "KeyError"),
        (b'{"errorType": ""}', "Unhandled"),
        (b'{"errorType": 5}', "Unhandled"),
        (b"[]", "Unhandled"),
        (b"{", "Unhandled"),
        (b"[" * 10_000, "Unhandled"),
        (b'{"errorType": "%b"}' % (b"x" * 1000), "x" * 256),
        (rb'{"errorType": "half \ud83d"}', "half ?"),
        (b'{"errorType": "KeyError"}' + b" " * ERROR_OBJECT_BYTES, "Unhandled"),
    ],
)
def test_the_type_of_an_error(payload: bytes, error_type: str) -> None:
    assert find_error_type("Unhandled", payload) == error_type

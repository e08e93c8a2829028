"""Which records reach a function: Lambda's filter rules, one by one, and what is said of a wrong pattern."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.api.trigger import JetStreamSource
from funclet.core.event_filter import EventFilter, filter_problem
from funclet.errors import InvalidSpec


def allows(pattern: Any, body: Any, **record: Any) -> bool:
    text = body if isinstance(body, str) else json.dumps(body)
    return EventFilter((json.dumps(pattern),)).allows({"body": text, **record})


@pytest.mark.parametrize(
    ("wanted", "passing", "others"),
    [
        (["new"], ["new", ["old", "new"]], ["New", "", None, 1, ["old"], {"new": 1}]),
        ([None], [None], ["", 0, False]),
        ([""], [""], [None, " "]),
        ([1], [1, 1.0], [True, "1", 2]),
        ([True], [True], [1, "true", False]),
        (["a", 2], ["a", 2], ["b", 3]),
        ([{"prefix": "us-"}], ["us-east-1"], ["eu-us-1", 5, None]),
        ([{"suffix": ".png"}], ["a.png"], ["a.jpg", "a.PNG"]),
        ([{"equals-ignore-case": "alice"}], ["Alice", "ALICE"], ["alicia"]),
        ([{"anything-but": ["Important"]}], ["Trivial", 7, None], ["Important"]),
        ([{"anything-but": "a"}], ["b"], ["a"]),
        ([{"anything-but": {"prefix": "us-"}}], ["eu-1"], ["us-1"]),
        ([{"numeric": ["=", 100]}], [100, 100.0], [101, "100", True]),
        ([{"numeric": [">", 10, "<=", 20]}], [10.5, 20], [10, 21, None]),
        ([{"exists": True}], ["x", None, 0], []),
        ([{"exists": True}, "never"], [[1]], [[]]),
    ],
)
def test_a_leaf_matches_as_lambda_says(wanted: list[Any], passing: list[Any], others: list[Any]) -> None:
    assert [value for value in passing if not allows({"body": {"at": wanted}}, {"at": value})] == []
    assert [value for value in others if allows({"body": {"at": wanted}}, {"at": value})] == []


def test_what_is_not_there_matches_nothing_but_its_absence() -> None:
    assert allows({"body": {"at": [{"exists": False}]}}, {"other": 1})
    assert allows({"body": {"at": {"deep": [{"exists": False}]}}}, {"at": "a text"})
    for wanted in (["x"], [None], [{"anything-but": "x"}], [{"exists": True}], [{"numeric": ["<", 1]}]):
        assert not allows({"body": {"at": wanted}}, {"other": 1})


def test_all_fields_must_match_and_one_alternative() -> None:
    pattern = {"body": {"kind": ["order"], "$or": [{"total": [{"numeric": [">", 100]}]}, {"vip": [True]}]}}
    assert allows(pattern, {"kind": "order", "total": 101})
    assert allows(pattern, {"kind": "order", "total": 1, "vip": True})
    assert not allows(pattern, {"kind": "order", "total": 1})
    assert not allows(pattern, {"kind": "return", "total": 101})


def test_one_of_several_patterns_is_enough() -> None:
    both = EventFilter(('{"body": {"kind": ["a"]}}', '{"body": {"kind": ["b"]}}'))
    assert [both.allows({"body": json.dumps({"kind": kind})}) for kind in "abc"] == [True, True, False]
    assert EventFilter().allows({"body": "whatever"})


def test_of_a_list_of_objects_one_must_match() -> None:
    pattern = {"body": {"items": {"sku": ["tea"], "count": [{"numeric": [">", 1]}]}}}
    assert allows(pattern, {"items": [{"sku": "milk"}, {"sku": "tea", "count": 2}]})
    assert not allows(pattern, {"items": [{"sku": "milk", "count": 2}, {"sku": "tea", "count": 1}]})


def test_a_pattern_of_json_is_for_json_and_one_of_texts_for_texts() -> None:
    """The table "Properly filtering Amazon SQS messages"."""
    plain, fields, attributes = (
        {"body": ["hello"]},
        {"body": {"kind": ["a"]}},
        {"messageAttributes": [{"exists": True}]},
    )
    assert allows(plain, "hello")
    assert not allows(plain, {"kind": "a"})
    assert allows(fields, {"kind": "a"})
    assert not allows(fields, "hello")
    assert not allows(fields, '{"kind": "a"')
    assert allows(attributes, "hello", messageAttributes="x")
    assert allows({"eventSource": ["aws:sqs"]}, {"kind": "a"}, eventSource="aws:sqs")


def test_a_body_that_is_nested_without_end_is_a_text() -> None:
    assert not allows({"body": {"a": ["b"]}}, "[" * 100_000)
    assert not allows({"body": {"a": ["b"]}}, "[" * 500 + "]" * 500)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("{", "filters[0].pattern is no JSON"),
        ("[]", "filters[0].pattern is []: it must be an object"),
        ("{}", "filters[0].pattern is {}: it must be an object with fields"),
        ('{"body": "new"}', 'filters[0].pattern.body is "new": it must be a list of values, such as ["new"]'),
        ('{"body": {"a": []}}', "filters[0].pattern.body.a is []: it must be a list of values"),
        ('{"a": [["b"]]}', "filters[0].pattern.a holds a list in a list"),
        ('{"a": [{"wildcard": "*"}]}', 'filters[0].pattern.a holds {"wildcard": "*"}: take one of prefix, suffix'),
        ('{"a": [{"prefix": 1}]}', "behind it comes a text"),
        ('{"a": [{"exists": "yes"}]}', "behind it comes true or false"),
        ('{"a": [{"numeric": [">"]}]}', "a list of one or two comparisons"),
        ('{"a": [{"numeric": ["!", 1]}]}', "a list of one or two comparisons"),
        ('{"a": [{"numeric": [">", true]}]}', "a list of one or two comparisons"),
        ('{"a": [{"anything-but": []}]}', "behind it come texts, numbers"),
        ('{"$or": [{"a": [1]}]}', "filters[0].pattern.$or must be a list of two or more objects"),
    ],
)
def test_a_wrong_pattern_is_refused_with_what_would_be_right(pattern: str, said: str) -> None:
    source = JetStreamSource.model_validate({"stream": "S", "filterCriteria": {"filters": [{"pattern": pattern}]}})
    problem = filter_problem(source, "jetstream")
    assert problem.startswith("spec.jetstream.filterCriteria.filters[0].pattern")
    assert said in problem


NAMES = st.sampled_from(["a", "b", "$or", "body"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "$or", "body"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(JSON, JSON)
def test_every_pattern_is_refused_or_judges_every_body(pattern: Any, body: Any) -> None:
    try:
        event_filter = EventFilter((json.dumps(pattern),))
    except InvalidSpec:
        return
    assert event_filter.allows({"body": json.dumps(body)}) in (True, False)

"""The schema of a caller: the verdict of the reference library wherever both look, and an end to the work wherever it would not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tidewire.stages.pattern import LENGTH, patience
from tidewire.stages.schema import PROBLEMS, check

NAMES = ["a", "b", "a/b"]
scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, 2.0]) | st.text("ab", max_size=3)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=8,
)
kinds = st.sampled_from(["object", "array", "string", "number", "integer", "boolean", "null"])
few = st.integers(0, 2)


def rules(inner):
    """One schema of a handful of keywords, inner schemas below."""
    below = st.dictionaries(st.sampled_from(NAMES), inner, max_size=2)
    lists = st.lists(inner, min_size=1, max_size=2)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": kinds | st.lists(kinds, min_size=1, max_size=2, unique=True),
            "enum": st.lists(values, min_size=1, max_size=3),
            "const": values,
            "properties": below,
            "required": st.lists(st.sampled_from(NAMES), max_size=2, unique=True),
            "additionalProperties": inner,
            "items": inner,
            "prefixItems": lists,
            "uniqueItems": st.booleans(),
            "anyOf": lists,
            "oneOf": lists,
            "allOf": lists,
            "not": inner,
            "minimum": few,
            "maximum": few,
            "exclusiveMinimum": few,
            "exclusiveMaximum": few,
            "multipleOf": st.sampled_from([1, 2, 0.5]),
            "minLength": few,
            "maxLength": few,
            "minItems": few,
            "maxItems": few,
            "minProperties": few,
            "maxProperties": few,
            "pattern": st.sampled_from(["^a", "b$", "^a?b+$"]),
            "$ref": st.sampled_from(["#/$defs/x", "#/$defs/a~1b"]),
            "title": st.just("no rule"),
        },
    )


plain = st.booleans() | rules(st.booleans())
schemas = rules(plain)


@given(schemas, plain, values)
def test_the_verdict_is_that_of_the_reference_library(schema, other, value):
    schema = schema | {"$defs": {"x": other, "a/b": {"type": "array", "items": True}}}
    verdict = check(schema, value)
    if verdict.unchecked:  # a schema that refers to itself without an end
        assert "$ref" in json.dumps(other)
        return
    try:
        valid = Draft202012Validator(schema).is_valid(value)
    except RecursionError:  # it looks at every rule, also where one has failed, and so goes round without an end
        assert "$ref" in json.dumps(other)
        return
    assert (verdict.problems == []) is valid


def test_a_schema_that_refers_to_itself_is_decided_by_the_rule_that_fails_before():
    schema = {"anyOf": [{"type": "object", "$ref": "#/$defs/x"}], "$defs": {"x": {"$ref": "#/$defs/x"}}}
    assert check(schema, None).problems == ["the root fits none of the 1 schemas of anyOf"]


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 2, "pattern": "^[A-Z]"},
        "age": {"type": "integer", "minimum": 0},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2},
        "boss": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"name": "Ada", "age": 36, "tags": ["a"], "boss": {"name": "Bo", "age": 1, "boss": None}}, []),
        ({"name": "Ada"}, ["/age is missing"]),
        ({"name": "Ada", "age": "36"}, ["/age must be a whole number, and is text"]),
        ({"name": "Ada", "age": -1}, ["/age must be at least 0"]),
        ({"name": "A", "age": 1}, ["/name must be no shorter than 2, and has 1"]),
        ({"name": "ada", "age": 1}, ["/name does not match the pattern that is asked for"]),
        ({"name": "Ada", "age": 1, "a/b": 1}, ["/a~1b is a member that the schema does not allow"]),
        ({"name": "Ada", "age": 1, "tags": ["a", "c", "b"]}, ["/tags/1 is none of the 2 values that are allowed", "/tags must have no more items than 2, and has 3"]),
        ({"name": "Ada", "age": 1, "boss": {"name": "Bo"}}, ["/boss fits none of the 2 schemas of anyOf"]),
        ([], ["the root must be an object, and is a list"]),
    ],
)  # fmt: skip
def test_a_problem_is_a_sentence_with_its_place(value, said):
    assert check(PERSON, value).problems == said


def test_only_the_first_few_problems_are_told():
    assert len(check({"items": {"type": "null"}}, [1] * 1000).problems) == PROBLEMS


TWICE = {"$defs": {"a": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/a"}}] * 2}}, "$ref": "#/$defs/a"}


def nested(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (TWICE, nested(60)),  # the reference library takes 2 to the 60 steps
        ({"$ref": "#"}, 1),
        ({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}, 1),
        ({"items": {"enum": [[[n]] for n in range(5000)]}}, [[[4999]]] * 5000),
        ({"allOf": [{"uniqueItems": True}] * 1000}, list(range(1000))),
    ],
)
def test_a_schema_that_takes_too_much_work_is_given_up_and_said_so(schema, value):
    verdict = check(schema, value)
    assert verdict.problems == []
    assert verdict.unchecked == ["the rest of it, which takes too much work"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objekt"},
        {"type": 5},
        {"enum": 5},
        {"properties": []},
        {"required": 5},
        {"$ref": "https://elsewhere/schema"},
        {"$ref": "#/nowhere"},
        {"$ref": 5},
        {"items": 5},
        {"allOf": {}},
        {"anyOf": []},
        {"multipleOf": 0},
        {"pattern": "("},
        {"pattern": "(a+)+$"},
        {"if": True},
        {"patternProperties": {}},
    ],
)
def test_what_is_not_understood_is_told_and_breaks_nothing(schema):
    for value in ({"a": 1}, [1], "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", 1):
        verdict = check(schema, value)
        if verdict.unchecked:
            return
    raise AssertionError("nothing was said")


@pytest.mark.parametrize("form", ["^[^@]+@[^@]+\\.[a-z]+$", "^\\d{4}-\\d{2}-\\d{2}$", "^[a-z0-9-]+$", "^(red|green|blue)$", "(?i)^a\\(b*c", "^x{2,5}[)(*+]$"])  # fmt: skip
def test_an_ordinary_pattern_is_tried(form):
    assert patience(form, 30) is not None


@pytest.mark.parametrize(
    ("form", "length"),
    [
        ("(a+)+$", 40),
        ("^(a|a)*$", 40),
        ("^(a?){30}a{30}$", 30),
        ("^((ab)?c)+$", 40),
        ("a?" * 30 + "a" * 30, 30),
        ("(a|a)" * 30, 30),
        ("^.*.*.*.*x$", 100),
        ("x*", 1_000_000),
        ("^a" * LENGTH, 10),
        ("(?:a{1,9}){2,3}", 20),
    ],
)
def test_a_pattern_that_may_take_for_ever_is_not_tried(form, length):
    assert patience(form, length) is None

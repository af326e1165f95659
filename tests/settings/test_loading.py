"""The strict YAML reader is compared with YAML 1.2, and its writer with the reader."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charlm.errors import ConfigError
from charlm.settings import strict_yaml
from charlm.settings.strict_yaml import MAX_CHARS, MAX_DEPTH, Place, dump_yaml, parse_yaml

# Texts that YAML 1.1 or 1.2 would read as something else, and characters that writers of YAML get wrong.
TRAPS = (
    *("", "~", "null", "true", "no", "on", "=", "<<", "010", "0x1F", "0o17", "1_000", "12:30", "2001-01-01"),
    *("1e-3", "1E5", ".5", "1.", ".inf", "-.INF", ".nan", "-", "- a", "a: b", "a #b", "#", "?", "? a"),
    *("'", '"', "\\", "|", ">", "!", "!!str", "&a", "*a", "%", "@", "`", "...", "---", "{}", "[]", "{a: b}", ","),
    *(" ", " a", "a ", "\t", "\n", "a\n", "\n a", "\r", "\r\n", "\x00", "\x1b[0m", "\x7f", "\x85", " \x85", "\xa0"),
    *("\u2028", "a\u2029b", "\ufeff", "\ufffd", "\uffff", "\U0010ffff", "分开", "e\u0301", "🎵", "a" * 130),
)
WORDS = st.one_of(st.sampled_from(TRAPS), st.text(max_size=20), st.text("\n\r\x85\u2028 \t'\"#:-ab1e.", max_size=120))
NUMBERS = st.one_of(st.integers(-(10**90), 10**90), st.floats(allow_nan=False))
VALUES = st.recursive(
    st.one_of(WORDS, NUMBERS, st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=8,
)


def value_of(text: str) -> Any:
    """Return the value of a document with one key."""
    return parse_yaml(f"key: {text}", "a.yaml").value["key"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        ("3E-4", 3e-4),
        (".5", 0.5),
        ("-1.", -1.0),
        ("+2.50", 2.5),
        ("1.5e+3", 1500.0),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
    ],
)
def test_floats_are_those_of_yaml_1_2(text: str, expected: float) -> None:
    found = value_of(text)
    assert (type(found), found) == (float, expected)


def test_nan_is_a_float() -> None:
    assert math.isnan(value_of(".nan"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("-0", 0), ("+12", 12), ("010", 10), ("0x1F", 31), ("0o17", 15), ("9" * 30, int("9" * 30))],
)
def test_a_leading_zero_is_not_octal(text: str, expected: int) -> None:
    found = value_of(text)
    assert (type(found), found) == (int, expected)


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "false", "False", "FALSE"])
def test_only_true_and_false_are_booleans(text: str) -> None:
    assert value_of(text) is (text.lower() == "true")


@pytest.mark.parametrize("text", ["no", "yes", "on", "off", "y", "n", "No", "ON", "tRUE"])
def test_the_booleans_of_yaml_1_1_are_texts(text: str) -> None:
    assert value_of(text) == text


@pytest.mark.parametrize("text", ["12:30", "1:20:30", "2001-01-01", "1_000", "0b11", "-0x1F", "1e", "e5", "1e5.0", "."])
def test_what_yaml_1_2_does_not_call_a_number_is_text(text: str) -> None:
    assert value_of(text) == text


@pytest.mark.parametrize("text", ["'1e-3'", '"true"', "'~'", "'010'", '""'])
def test_quotes_make_a_text(text: str) -> None:
    assert value_of(text) == text[1:-1]


@pytest.mark.parametrize("text", ["", "~", "null", "Null", "NULL"])
def test_null_and_nothing_are_none(text: str) -> None:
    assert value_of(text) is None


def test_very_many_digits_stay_text() -> None:
    assert value_of("9" * 5000) == "9" * 5000


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_document_has_no_value(text: str) -> None:
    assert parse_yaml(text, "a.yaml").value is None


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("a: 1\nb: 2\na: 3", "3:1", "the key a is given twice"),
        ("m:\n  a: 1\n  'a': 2", "3:3", "the key a is given twice"),
        ("m: {a: 1, a: 1}", "1:11", "the key a is given twice"),
        ("a: &x 1", "1:4", "anchors and aliases are not allowed"),
        ("&x a: 1", "1:1", "anchors and aliases are not allowed"),
        ("a: &x [1]", "1:4", "anchors and aliases are not allowed"),
        ("a: *x", "1:4", "anchors and aliases are not allowed"),
        ("a:\n  <<: *x", "2:7", "anchors and aliases are not allowed"),
        ("a: !!str 1", "1:4", "the tag tag:yaml.org,2002:str is not allowed"),
        ("!!str a: 1", "1:1", "the tag tag:yaml.org,2002:str is not allowed"),
        ("a: ! 1", "1:4", "the tag ! is not allowed"),
        ("a: !!python/object:os.system {}", "1:4", "the tag tag:yaml.org,2002:python/object:os.system is not"),
        ("? [a]\n: 1", "1:3", "a key must be a plain word"),
        ("a: 1\n---\nb: 1", "2:1", "a second document begins here; a configuration is a single one"),
        ("a: [1", "1:6", "not valid YAML: expected ',' or ']'"),
        ("a: b: c", "1:5", "not valid YAML: mapping values are not allowed here"),
        ("a:\n\tb: 1", "2:1", r"not valid YAML: found character '\t'"),
        ("a: 1\nb: x\0", "2:5", "not valid YAML: the character U+0000 is not allowed"),
        ("a: '1", "1:6", "not valid YAML: found unexpected end of stream"),
    ],
)
def test_what_is_not_plain_yaml_is_refused_at_its_place(text: str, place: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "dir/a.yaml")
    assert str(caught.value).startswith(f"dir/a.yaml:{place}: {problem}")


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}")])
def test_nesting_is_capped(opening: str, closing: str) -> None:
    deepest = opening * MAX_DEPTH + "1" + closing * MAX_DEPTH
    assert parse_yaml(deepest, "a.yaml").value
    for depth in (MAX_DEPTH + 1, 2000):
        with pytest.raises(ConfigError, match=r"^a\.yaml:1:\d+: nested deeper than 16 levels"):
            parse_yaml(opening * depth + "1" + closing * depth, "a.yaml")


def test_size_is_capped() -> None:
    assert parse_yaml("#" * MAX_CHARS, "a.yaml").value is None
    with pytest.raises(ConfigError, match=r"^a\.yaml: longer than 1,000,000 characters"):
        parse_yaml("#" * (MAX_CHARS + 1), "a.yaml")


def test_every_value_has_the_line_of_its_key_or_of_itself() -> None:
    document = parse_yaml("# head\nmodel:\n  cell:\n    gru\nlist:\n- a\n- b: 1\n", "a.yaml")
    assert document.value == {"model": {"cell": "gru"}, "list": ["a", {"b": 1}]}
    lines = {path: place.line for path, place in document.places.items()}
    assert lines == {
        (): 2,
        ("model",): 2,
        ("model", "cell"): 3,
        ("list",): 5,
        ("list", 0): 6,
        ("list", 1): 7,
        ("list", 1, "b"): 7,
    }
    assert str(document.places["model", "cell"]) == "a.yaml:3"


def test_a_text_is_parsed_once_and_each_caller_gets_separate_values(monkeypatch: pytest.MonkeyPatch) -> None:
    parse, parsed = strict_yaml.yaml.parse, []
    monkeypatch.setattr(
        strict_yaml.yaml, "parse", lambda text, **options: parsed.append(text) or parse(text, **options)
    )
    text = "a: {b: [1]}\n# This text has not been parsed before.\n"
    first: Any = parse_yaml(text, "one.yaml")
    first.value["a"]["b"].append(2)
    first.places.clear()
    again = parse_yaml(text, "one.yaml")
    assert again.value == {"a": {"b": [1]}}
    assert again.places[("a", "b")] == Place("one.yaml", 1)
    assert parsed == [text]
    assert parse_yaml(text, "other.yaml").places[("a", "b")] == Place("other.yaml", 1)


def test_a_place_without_a_line_is_its_source_alone() -> None:
    assert str(Place("--set a=1")) == "--set a=1"


@given(st.dictionaries(WORDS, VALUES, max_size=4))
@example(dict.fromkeys(TRAPS, 1))
@example({"traps": list(TRAPS)})
@settings(deadline=None)
def test_what_is_written_reads_back_equal(values: dict[str, Any]) -> None:
    found = parse_yaml(dump_yaml(values), "a.yaml").value
    # repr distinguishes 1 from 1.0 and True, and 0.0 from -0.0.
    assert repr(found) == repr(values)


def test_writing_keeps_order_and_readable_characters() -> None:
    assert dump_yaml({"b": "分开", "a": [1e-5, "1e-5", None, True]}) == (
        "b: 分开\na:\n- 1.0e-05\n- '1e-5'\n- null\n- true\n"
    )


def test_equal_values_are_written_out_twice() -> None:
    shared = [1, 2]
    assert "&" not in dump_yaml({"a": shared, "b": shared})

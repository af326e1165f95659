"""Records and JSON: how a record is written, and which untrusted objects are accepted as one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.runs.facts import Environment, Machine, ParentFacts
from charlm.runs.history import read_history
from charlm.runs.json_records import (
    MAX_NUMBER,
    Amount,
    Count,
    Flag,
    Inline,
    Line,
    Number,
    Record,
    Told,
    from_json,
    from_json_or_none,
    json_file,
    json_line,
    to_json,
)
from charlm.runs.rates import BothWays, Rates, Standing
from charlm.runs.records import EvaluationLine, Summary
from charlm.training import events, reports

NUMBERS = st.floats(-1e9, 1e9) | st.sampled_from([math.inf, -math.inf, 0.0])
COUNTS = st.integers(0, 10**9)
BOTH_WAYS = st.builds(
    BothWays,
    backward_bpc=NUMBERS,
    backward_perplexity=NUMBERS,
    cloze_bpc=NUMBERS,
    cloze_pseudo_perplexity=NUMBERS,
)
STANDINGS = st.builds(
    Standing,
    bits_per_byte=NUMBERS,
    bpc_interval=st.none() | st.tuples(NUMBERS, NUMBERS),
    sha256=st.none() | st.just("0" * 64),
    baselines=st.none() | st.dictionaries(st.sampled_from(["uniform", "5-gram"]), NUMBERS),
    beats_5gram=st.none() | st.booleans(),
)
RATES = st.none() | st.builds(
    Rates,
    nats_per_char=st.none() | NUMBERS,
    bpc=NUMBERS,
    perplexity=NUMBERS,
    chars=COUNTS,
    both_ways=st.none() | BOTH_WAYS,
    standing=st.none() | STANDINGS,
)
SUMMARIES = st.builds(
    Summary,
    kind=st.just("end"),
    run=st.just("run"),
    stopped_by=st.just("epochs"),
    steps=COUNTS,
    epochs=COUNTS,
    best_step=COUNTS,
    seconds=NUMBERS,
    chars_per_second=NUMBERS,
    num_rollbacks=st.none() | COUNTS,
    direction=st.just("forward"),
    train=RATES,
    val=RATES,
    test=RATES,
    warning=st.none() | st.just("leaky"),
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Inner(Record):
    """A record within another."""

    count: Count
    note: Line | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Outer(Record):
    """A record with each kind of field."""

    number: Number
    amount: Amount = 0.0
    is_set: Flag = False
    pair: tuple[Count, Count] | None = None
    told: Told[Count] = None
    inner: Inner | None = None
    always: Annotated[Inner | None, Inline("always_")]
    sometimes: Annotated[Inner | None, Inline("sometimes_")] = None


GOOD = {"number": 1.5, "always_count": 3}


@given(SUMMARIES)
def test_a_written_record_is_read_back(summary: Summary) -> None:
    read = from_json(Summary, json.loads(json_line(summary)))
    assert all(getattr(read, key) == getattr(summary, key) for key in vars(summary))
    assert json_line(read) == json_line(summary) == json_line(replace(read))


def test_fields_become_keys_in_order_and_defaults_are_left_out() -> None:
    inner = Inner(count=3, note="x")
    outer = Outer(number=1.0, pair=(1, 2), inner=replace(inner, note=None), always=None, sometimes=inner)
    assert json_line(outer) == (
        '{"number": 1.0, "pair": [1, 2], "inner": {"count": 3}, "always_count": null, "always_note": null, '
        '"sometimes_count": 3, "sometimes_note": "x"}'
    )
    assert json.loads(json_file(outer)) == to_json(outer) == dict(outer) == outer


def test_an_inline_record_within_an_inline_record_is_read_back_under_both_prefixes() -> None:
    rates = Rates(bpc=1.0, perplexity=2.0, chars=3, both_ways=None)
    parent = ParentFacts(
        name="a", path="/a", step=1, weights_sha256="0" * 64, corpus={"name": "x"}, corpus_sha256="1" * 64, val=rates
    )
    environment = Environment(corpus="x", corpus_sha256="", num_parameters=1, machine=Machine(), parent=parent)
    value = json.loads(json_line(environment))
    assert (value["parent_step"], value["parent_val_bpc"], value["parent_corpus"]) == (1, 1.0, {"name": "x"})
    assert from_json(Environment, value).parent == parent
    assert from_json(Environment, {key: each for key, each in value.items() if "parent" not in key}).parent is None


def test_a_record_that_was_read_returns_its_original_object_and_a_changed_copy_does_not() -> None:
    value = {"strange": [1], **GOOD}
    read = from_json(Outer, value)
    assert read == value
    assert read["strange"] == [1]
    assert (read.number, read.always, read.sometimes) == (1.5, Inner(count=3), None)
    assert replace(read, number=2.5) == {"number": 2.5, "always_count": 3}


@pytest.mark.parametrize(
    "change",
    [
        *({"number": value} for value in (None, True, "1", [], 10.0**300, 10**400)),
        *({"amount": value} for value in (-1.0, math.nan, math.inf, "0", None, True)),
        *({"is_set": value} for value in (0, 1, "true", None)),
        *({"pair": value} for value in ([1], [1, 2, 3], "ab", {"a": 1}, [1, "2"], [1, True], 3)),
        *({"always_count": value} for value in (-1, 1.0, "3", True, [], int(MAX_NUMBER))),
        *({"inner": value} for value in ([], 3, "x", {}, {"count": 1.5}, {"count": 1, "note": "\x1b[31m"})),
        {"sometimes_note": "without its count"},
        {"always_note": "\n"},
    ],
    ids=str,
)
def test_a_value_of_another_type_is_refused(change: dict[str, Any]) -> None:
    key = next(iter(change))
    with pytest.raises(ValueError, match=f"^its {key.partition('_')[0]}.* is not what it should be$"):
        from_json(Outer, GOOD | change)
    assert from_json_or_none(Outer, GOOD | change) is None


@pytest.mark.parametrize("value", [None, 3, "x", [], [GOOD], {}, {"always_count": 3}], ids=str)
def test_a_value_that_is_not_an_object_or_lacks_keys_is_refused(value: Any) -> None:
    assert from_json_or_none(Outer, value) is None


@pytest.mark.parametrize("told", ["3", 1.5, True, -1, [], {}, None])
def test_a_wrong_fact_is_none_and_spoils_nothing(told: Any) -> None:
    assert from_json(Outer, GOOD | {"told": told}).told is None
    assert from_json(Outer, GOOD | {"told": 7}).told == 7


@pytest.mark.parametrize("number", [math.inf, -math.inf, 1e18, 3])
def test_numbers_of_a_diverged_run_are_accepted(number: float) -> None:
    assert from_json(Outer, json.loads(json.dumps(GOOD | {"number": number}))).number == number


def test_null_rates_are_none_and_nats_follow_from_an_older_charlms_bits() -> None:
    line = {"kind": "evaluation", "step": 1, "epoch": 1, "seconds": 1.0, "chars_seen": 9, "learning_rate": 0.1}
    line |= {"gradient_norm": 0.1, "chars_per_second": 1.0, "epoch_seconds": None}
    line |= {f"train_{rate}": None for rate in ("nats_per_char", "bpc", "perplexity", "chars")}
    read = from_json(EvaluationLine, line | {"val_bpc": 2.0, "val_perplexity": 4.0, "val_chars": 9})
    assert read.train is None
    assert isinstance(read.val, Mapping)
    assert read.val.nats == pytest.approx(2 * math.log(2))


def test_the_closing_line_of_the_first_runs_is_a_summary(tmp_path: Path) -> None:
    rates = {
        f"{part}_{rate}": 2.0 for part in ("train", "val", "test") for rate in ("nats_per_char", "bpc", "perplexity")
    }
    chars = dict.fromkeys(("train_chars", "val_chars", "test_chars"), 100)
    counts = {"steps": 20, "epochs": 1, "best_step": 20, "seconds": 1.5, "chars_per_second": 80.0}
    (tmp_path / "metrics.jsonl").write_text(
        json.dumps({"kind": "end", "run": "first", "stopped_by": "epochs", **counts, **rates, **chars}) + "\n"
    )
    summary = read_history(tmp_path / "metrics.jsonl").summary
    assert summary is not None
    assert (summary.steps, summary["val_bpc"], summary.direction) == (20, 2.0, None)


def test_scripts_find_a_runs_events_under_their_former_names() -> None:
    assert {name: getattr(reports, name) for name in reports.__all__} == {
        name: getattr(events, name) for name in reports.__all__
    }

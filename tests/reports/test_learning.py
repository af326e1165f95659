"""`charlm plot`: the points of learning curves equal the records, and every line says what it shows."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_results import made_result

from charlm.errors import ConfigError
from charlm.library.plotting import plot
from charlm.library.training import train
from charlm.reports.comparison import compare_results
from charlm.reports.learning import learning_picture
from charlm.reports.pictures import Line, Picture
from charlm.reports.requests import in_bits, in_unit, read_request
from charlm.reports.run_results import Reading, RunResult
from charlm.runs.run import Run
from charlm.settings.schema import Settings

MakeSettings = Callable[..., Settings]


def made(name: str, val: tuple[float | None, ...] = (3.0, 2.0), *, seed: int = 0, **changes: Any) -> RunResult:
    """Return a made-up result of a run that was evaluated twice in each epoch; settings are written `model__cell`."""
    readings = tuple(
        Reading(2 * number, 20.0 * number, number / 60, 4.0, bits, False, number / 2, None if number < 2 else 3.5)
        for number, bits in enumerate(val, 1)
    )
    asked = {"steps": 2 * len(val), "readings": readings, "ngram": ("5-gram", 1.5)} | changes
    return made_result(name, seed, **asked)


def picture(*results: RunResult, **asked: Any) -> Picture:
    """Return the picture of made-up results."""
    request = read_request(**{"x": "epoch", "y": "perplexity", "part": "train,val"} | asked)
    return learning_picture(compare_results(results), request)


def lines(shown: Picture) -> dict[tuple[str, str], Line]:
    """Return the lines of the only panel, by their labels and what they measure."""
    (panel,) = shown.panels
    return {(line.label, line.measures): line for line in panel.lines}


def points(line: Line) -> list[tuple[float, float]]:
    """Return the points of a line."""
    return [(dot.x, dot.y) for dot in line.dots]


@pytest.fixture(scope="module")
def run(tiny_settings: MakeSettings, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run of two epochs and a half, evaluated three times in each; nobody may change it."""
    settings = tiny_settings("train.max_steps=105", "train.eval_every=14")
    return train(settings, name="run", runs_dir=tmp_path_factory.mktemp("learning") / "runs")


def evaluations(run: Run) -> list[dict[str, Any]]:
    """Return the evaluations of a run exactly as in its file."""
    text = (run.path / "metrics.jsonl").read_text(encoding="utf-8")
    return [record for record in map(json.loads, text.splitlines()) if record["kind"] == "evaluation"]


# Points.


def test_the_points_equal_the_records_and_training_is_that_of_whole_epochs(run: Run) -> None:
    shown = lines(plot(run))
    records = evaluations(run)
    # An epoch has 42 steps, and the last evaluation is that of the end, in the middle of the third.
    assert [record["step"] for record in records] == [14, 28, 42, 56, 70, 84, 98, 105]
    expected = [(record["step"] / 42, pytest.approx(record["val_perplexity"])) for record in records]
    assert points(shown["run", "validation"]) == expected
    # At step 56, the record still tells the first epoch.
    told = [(1, records[2]["epoch_perplexity"]), (2, records[5]["epoch_perplexity"])]
    assert points(shown["run", "epoch"]) == [(epoch, pytest.approx(value)) for epoch, value in told]


@pytest.mark.parametrize(("x", "key"), [("step", "step"), ("chars", "chars_seen"), ("time", "seconds")])
@pytest.mark.parametrize(("y", "unit"), [("perplexity", "perplexity"), ("bpc", "bpc"), ("nats", "nats_per_char")])
def test_by_anything_but_epochs_training_is_recent_and_both_equal_the_records(
    run: Run, x: str, key: str, y: str, unit: str
) -> None:
    shown = lines(plot(run, x=x, y=y))
    assert list(shown) == [("run", "recent"), ("run", "validation")]
    for measure, part in (("recent", "recent"), ("validation", "val")):
        places = [record[key] / (60 if x == "time" else 1) for record in evaluations(run)]
        values = [record[f"{part}_{unit}"] for record in evaluations(run)]
        assert points(shown["run", measure]) == [pytest.approx(pair) for pair in zip(places, values, strict=True)]


def test_the_level_line_is_the_best_ngram_of_the_validation_split(run: Run) -> None:
    known = run.summary()
    assert known
    ngrams = {name: bits for name, bits in known["val_baselines"].items() if "gram" in name}
    (panel,) = plot(run, y="bpc").panels
    assert [(level.label, level.y) for level in panel.levels] == [min(ngrams.items(), key=lambda pair: pair[1])]
    assert plot(run, part="train").panels[0].levels == ()


def test_rows_of_different_texts_have_level_lines_of_their_own() -> None:
    results = made("a"), made("b", ngram=("bigram", 2.0), model__cell="gru"), made("c", ngram=None, model__cell="rnn")
    levels = picture(*results, y="bpc").panels[0].levels
    assert [(level.label, level.y, level.number) for level in levels] == [
        ("5-gram of lstm", 1.5, 0),
        ("bigram of gru", 2.0, 1),
    ]


def test_seeds_are_one_line_whose_means_are_those_of_the_unit() -> None:
    shown = picture(made("a-0", (3.0, 2.0)), made("a-1", (4.0, 2.0), seed=1), y="perplexity", part="val")
    (line,) = shown.panels[0].lines
    # The mean of perplexities, not the perplexity of the mean.
    assert line.dots[0].y == pytest.approx((2**3 + 2**4) / 2)
    assert line.dots[0].deviation == pytest.approx(math.sqrt(32))
    assert (line.label, line.runs) == ("a (2 seeds)", ("a-0", "a-1"))
    assert "one standard deviation between seeds" in shown.looks[0]


def test_epoch_means_and_recent_means_are_never_in_one_picture() -> None:
    young = made("young", (3.0,), model__cell="gru", state="running")
    both = picture(made("old"), young)
    assert [(line.label, line.measures) for line in both.panels[0].lines] == [
        ("lstm", "epoch"),
        ("lstm", "validation"),
        ("gru (running)", "validation"),
    ]
    assert "young has no training curve: no whole epoch of it is recorded" in both.caveats
    assert [key.label for key in both.keys][2:4] == ["training (mean of each epoch)", "validation"]
    alone = picture(young)
    assert [line.measures for line in alone.panels[0].lines] == ["recent", "validation"]
    assert alone.keys[1].label == "training (since the evaluation before)"


# What is drawn of odd runs.


def test_a_run_without_validation_shows_its_training_and_says_so() -> None:
    shown = picture(made("a", (None, None), val_sha256=None), made("b", model__cell="gru"))
    assert ("lstm", "validation") not in lines(shown)
    assert "a has no validation split: only its training can be drawn" in shown.caveats
    assert shown.keys[0].is_training


def test_a_single_evaluation_is_marked() -> None:
    assert [line.marked for line in picture(made("a", (3.0,))).panels[0].lines] == [(0,), (0,)]


def test_results_that_cannot_be_drawn_are_left_out_and_counted() -> None:
    shown = picture(made("a", (math.nan, 5_000.0, 2.0), state="diverged"), part="val")
    assert [dot.y for dot in shown.panels[0].lines[0].dots] == [pytest.approx(4)]
    assert "a: evaluations without a finite result are not drawn (1)" in shown.caveats
    assert "a: evaluations whose perplexity is beyond all numbers are not drawn (1)" in shown.caveats


def test_a_perplexity_that_explodes_is_on_a_logarithmic_scale_that_says_so() -> None:
    scale = picture(made("a", (2.0, 60.0)), part="val").panels[0].y
    assert (scale.is_log, scale.title) == (True, "validation perplexity (logarithmic)")
    assert not picture(made("a", (2.0, 60.0)), part="val", y="bpc").panels[0].y.is_log


def test_leaky_and_bidirectional_runs_carry_their_remarks() -> None:
    results = (
        made("a", is_leaky=True, model__direction="leaky"),
        made("b", model__direction="bidirectional"),
    )
    shown = picture(*results)
    labels = {line.label for line in shown.panels[0].lines}
    assert labels == {"direction leaky (reads its own target)", "direction bidirectional (forward half)"}
    assert "a: reads its own target: not a language model" in shown.warnings


def test_a_list_is_measured_per_character_and_that_is_said(listed: Run) -> None:
    shown = plot(listed, y="nats")
    records = evaluations(listed)
    (panel,) = shown.panels
    assert panel.y.title == "nats per character"
    val = next(line for line in panel.lines if line.measures == "validation")
    assert [dot.y for dot in val.dots] == [pytest.approx(record["val_nats_per_char"]) for record in records]
    assert [math.ceil(dot.x) for dot in val.dots] == [record["epoch"] for record in records]
    assert shown.notes == ("Results on a list are per character, the end of each item included.",)


# Labels, panels and words.


def test_a_legend_names_what_differs_and_nothing_else() -> None:
    shown = picture(made("x1", model__size=1), made("x2", model__size=1, model__cell="gru"), part="val")
    assert [key.label for key in shown.keys] == ["lstm", "gru", "5-gram"]
    shown = picture(made("x1", model__size=1), made("x2", model__size=2), part="val")
    assert [key.label for key in shown.keys][:2] == ["size 1", "size 2"]
    assert [key.label for key in picture(made("alone"), part="val").keys][:1] == ["alone"]
    # Where the settings do not tell rows apart, the names do.
    unfinished = made("first", state="unfinished"), made("second", state="unfinished")
    assert [key.label for key in picture(*unfinished, part="val").keys][:2] == [
        "first (unfinished)",
        "second (unfinished)",
    ]


@pytest.mark.parametrize(
    ("asked", "panels"),
    [
        ({}, [("", "epoch", "perplexity")]),
        ({"y": "perplexity,bpc"}, [("", "epoch", "perplexity"), ("", "epoch", "bpc")]),
        ({"y": ["nats", "nats"], "x": "time,step"}, [("", "time", "nats"), ("", "step", "nats")]),
        ({"panels": True}, [("lstm", "epoch", "perplexity"), ("gru", "epoch", "perplexity")]),
    ],
)
def test_there_is_one_panel_unless_more_are_asked_for(asked: Any, panels: list[tuple[str, str, str]]) -> None:
    shown = picture(made("a"), made("b", model__cell="gru"), **asked)
    assert [(panel.title, panel.x.name, panel.y.name) for panel in shown.panels] == panels


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"y": "ppl"}, "--y must be perplexity, bpc or nats, got ppl; did you mean perplexity?"),
        ({"x": "Epoch"}, "--x must be epoch, step, chars or time, got Epoch; did you mean epoch?"),
        ({"x": "iterations"}, "--x must be epoch, step, chars or time, got iterations; did you mean step?"),
        ({"part": "train,"}, "--part must be train or val, got nothing"),
        ({"part": []}, "--part must be train or val, got nothing"),
        ({"part": "validation"}, "--part must be train or val, got validation; did you mean val?"),
        ({"y": "\x1b[2J"}, r"--y must be perplexity, bpc or nats, got \x1b[2J"),
    ],
)
def test_a_word_that_means_nothing_is_answered_with_the_nearest(asked: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        picture(made("a"), **asked)
    assert str(error.value) == sentence


def test_more_panels_than_fit_are_refused() -> None:
    results = [made(f"a{number}", model__size=number) for number in range(13)]
    with pytest.raises(ConfigError, match="a picture has room for 12 panels, not 13"):
        picture(*results, panels=True)


@pytest.mark.parametrize("unit", ["perplexity", "bpc", "nats"])
def test_units_convert_there_and_back(unit: Any) -> None:
    assert in_bits(in_unit(1.7, unit), unit) == pytest.approx(1.7)
    assert in_unit(1.0, unit) == pytest.approx({"perplexity": 2, "bpc": 1, "nats": math.log(2)}[unit])


def test_hostile_names_are_escaped_wherever_they_are_told(run: Run, tmp_path: Path) -> None:
    names = ["[bold]x[red]", "a\x1b[31mb", "\u202etxt", "日本語", "שלום"]
    for name in names:
        copied = shutil.copytree(run.path, tmp_path / name)
        text = (copied / "metrics.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        (copied / "metrics.jsonl").write_text("".join(text[:-1]), encoding="utf-8")
    shown = plot(*(tmp_path / name for name in names))
    labels = [line.label for line in shown.panels[0].lines if line.measures == "validation"]
    assert labels == [
        "[bold]x[red] (unfinished)",
        r"a\x1b[31mb (unfinished)",
        r"\u202etxt (unfinished)",
        "日本語 (unfinished)",
        "שלום (unfinished)",
    ]

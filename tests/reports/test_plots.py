"""`charlm compare --plot`: the numbers of the curves, the drawing, the sentences below it, and what is refused."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from made_results import made_result
from pairs import by_pairs
from processes import run_code
from typer.testing import Result as Outcome

import charlm
from charlm.errors import ConfigError, RunError, StorageError
from charlm.library.training import train
from charlm.reports import figures, plotting
from charlm.reports.comparison import compare, compare_results
from charlm.reports.curves import AXES, Curves, curves_of
from charlm.reports.plotting import MAX_CURVES, MISSING, draw_curves, plot_curves
from charlm.reports.run_results import Reading, RunResult
from charlm.runs.creation import create_run
from charlm.runs.run import Run
from charlm.settings.schema import Settings
from charlm.training.events import Step
from charlm.training.launch import train_reports

pytest.importorskip("matplotlib")

Charlm = Callable[..., Outcome]
MakeSettings = Callable[..., Settings]
SHORT = ("train.max_steps=8", "train.eval_every=2", "eval.baselines=false")
KEYS = {"step": "step", "chars": "chars_seen", "time": "seconds"}


def made(name: str, seed: int = 0, bits: tuple[float | None, ...] = (3.0, 2.0), /, **changes: Any) -> RunResult:
    """Return a made-up result of an evaluation at each second step; settings are written `model__dropout`."""
    readings = tuple(
        Reading(step, 10.0 * step, step / 60, 4.0, value, is_partial=False)
        for step, value in zip(range(2, 2 * len(bits) + 1, 2), bits, strict=True)
    )
    asked = {"steps": 2 * len(bits), "readings": readings, "train_sha256": "r" * 64} | changes
    return made_result(name, seed, **asked)


def made_curves(*results: RunResult, **options: Any) -> Curves:
    """Return the curves of made-up results."""
    return curves_of(compare_results(results), **options)


@pytest.fixture(scope="module")
def runs(tiny_settings: MakeSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of runs that nobody may change."""
    folder = tmp_path_factory.mktemp("plots") / "runs"
    for name, *overrides in (
        *((f"lstm-{seed}", f"train.seed={seed}") for seed in (0, 1, 2)),
        ("gru", "model.cell=gru"),
        ("split", "corpus.split=80/10/10"),
        ("partly", "eval.max_chars=50"),
        ("all", "corpus.split=none"),
        ("both-ways", "model.direction=bidirectional"),
        ("leaky", "model.direction=leaky"),
        ("once", "train.eval_every=8"),
    ):
        train(tiny_settings(*SHORT, *overrides), name=name, runs_dir=folder)
    stop: list[str] = []
    settings = tiny_settings(*SHORT, "train.max_steps=40")
    for report in train_reports(settings, name="cut", runs_dir=folder, should_stop=lambda: stop[-1] if stop else None):
        if isinstance(report, Step) and report.step == 5:
            stop.append("interrupt")
    create_run(settings, {"corpus": "x", "corpus_sha256": "0" * 64, "num_parameters": 1}, folder=folder, name="fresh")
    return folder


@pytest.fixture
def plot(runs: Path, tmp_path: Path, charlm_command: Charlm) -> Callable[..., tuple[Outcome, str]]:
    """Return a function that draws runs of that folder by the command line and returns the outcome and the SVG text."""

    def draw(*arguments: str | Path) -> tuple[Outcome, str]:
        path = tmp_path / "curves.svg"
        outcome = charlm_command("compare", *arguments, f"--plot={path}", f"--runs-dir={runs}")
        return outcome, path.read_text(encoding="utf-8") if path.exists() else ""

    return draw


def evaluations(path: Path) -> list[dict[str, Any]]:
    """Return the evaluations of a run exactly as in its file."""
    lines = (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == "evaluation"]


def rewrite(run: Path, target: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Path:
    """Copy a run, its records changed."""
    shutil.copytree(run, target)
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = change([json.loads(line) for line in lines])
    (target / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")
    return target


def shown(curves: Curves) -> Any:
    """Return the Matplotlib figure as Any, because the stubs do not say what `get_lines` returns."""
    return draw_curves(curves)


def below(figure: Any) -> str:
    """Return the text below the legend, on one line."""
    (text,) = figure.texts
    return text.get_text().replace("\n", " ")


def labels(figure: Any) -> list[str]:
    """Return the texts of the legend."""
    return [text.get_text() for text in figure.legends[0].get_texts()]


# Numbers.


@pytest.mark.parametrize("axis", AXES)
def test_a_curve_has_the_means_of_the_records_of_its_seeds(runs: Path, axis: Any) -> None:
    names = ["lstm-0", "lstm-1", "lstm-2"]
    curves = curves_of(compare(*names, runs_dir=runs), by=axis)
    (curve,) = curves.curves
    files = [evaluations(runs / name) for name in names]
    assert [point.step for point in curve.points] == [2, 4, 6, 8]
    figure = shown(curves)
    (panel,) = figure.axes
    (line,) = panel.get_lines()
    for number, point in enumerate(curve.points):
        values = [file[number]["val_bpc"] for file in files]
        mean = sum(values) / 3
        deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / 2)
        assert deviation > 0
        place = sum(file[number][KEYS[axis]] for file in files) / 3 / (60 if axis == "time" else 1)
        assert point.bits.mean == pytest.approx(mean, rel=1e-12)
        assert point.bits.deviation == pytest.approx(deviation, rel=1e-6)
        assert line.get_xdata()[number] == pytest.approx(place, rel=1e-12)
        assert line.get_ydata()[number] == pytest.approx(mean, rel=1e-12)
    assert (curve.label, curve.is_training) == ("lstm (3 seeds)", False)
    assert (curves.warnings, curves.caveats) == ((), ())


def test_the_band_is_one_standard_deviation_on_each_side_of_the_mean() -> None:
    figure = shown(made_curves(made("a-0", 0, (3.0, 2.0)), made("a-1", 1, (4.0, 2.5)), by="step"))
    (panel,) = figure.axes
    (band,) = panel.collections
    edges = {tuple(round(float(part), 9) for part in vertex) for path in band.get_paths() for vertex in path.vertices}
    wide, narrow = math.sqrt(0.5), math.sqrt(0.125)
    corners = ((2, 3.5 - wide), (2, 3.5 + wide), (4, 2.25 - narrow), (4, 2.25 + narrow))
    assert edges == {(float(step), round(bits, 9)) for step, bits in corners}
    assert 0 < band.get_alpha() < 0.5
    assert "one standard deviation between seeds (n - 1)" in below(figure)


def test_a_single_run_has_no_band_and_nothing_is_said_of_one(runs: Path) -> None:
    curves = curves_of(compare("gru", runs_dir=runs))
    figure = shown(curves)
    assert [len(panel.collections) for panel in figure.axes] == [0, 0, 0]
    assert "standard deviation" not in below(figure)
    assert labels(figure) == ["gru"]
    (curve,) = curves.curves
    assert [point.bits.mean for point in curve.points] == [each["val_bpc"] for each in evaluations(runs / "gru")]


def test_only_the_steps_that_all_runs_of_a_row_share_count_and_the_others_are_reported(
    tmp_path: Path, runs: Path
) -> None:
    fewer = rewrite(runs / "lstm-1", tmp_path / "lstm-1", lambda lines: lines[:1] + lines[2:])
    curves = curves_of(compare(runs / "lstm-0", fewer))
    (curve,) = curves.curves
    assert [point.step for point in curve.points] == [2, 6, 8]
    assert all(point.bits.num_runs == 2 for point in curve.points)
    files = [evaluations(runs / name) for name in ("lstm-0", "lstm-1")]
    assert curve.points[1].bits.mean == pytest.approx(sum(file[2]["val_bpc"] for file in files) / 2, rel=1e-12)
    assert curves.caveats == (
        "lstm: its runs were evaluated at different steps, and the curve shows the 3 of 4 that they have in common",
    )


def test_seeds_without_a_common_step_have_no_curve_and_that_is_reported() -> None:
    late = Reading(3, 30.0, 0.05, 4.0, 2.0, is_partial=False)
    curves = made_curves(
        made("a-0", 0, (3.0,)), replace(made("a-1", 1, ()), readings=(late,)), made("b", model__cell="gru")
    )
    assert [len(curve.points) for curve in curves.curves] == [0, 2]
    assert "curve shows the 0 of 2 that they have in common" in curves.caveats[0]
    assert labels(shown(curves)) == [curves.curves[1].label]


def test_points_are_in_the_order_of_their_steps_and_each_appears_once() -> None:
    run = made("a", 0, (3.0, 2.5, 2.0))
    curve = made_curves(replace(run, readings=(*reversed(run.readings), run.readings[0]))).curves[0]
    assert [point.step for point in curve.points] == [2, 4, 6]


def test_the_best_point_is_the_first_of_the_lowest_and_marked() -> None:
    curves = made_curves(made("a", 0, (3.0, 2.0, 2.5, 2.0)))
    best = curves.curves[0].best
    assert best
    assert best.step == 4
    for panel in shown(curves).axes:
        (line,) = panel.get_lines()
        assert (line.get_markevery(), line.get_marker()) == ([1], "o")


def test_an_evaluation_that_is_the_only_one_is_seen(runs: Path) -> None:
    (record,) = evaluations(runs / "once")
    for panel, axis in zip(shown(curves_of(compare("once", runs_dir=runs))).axes, AXES, strict=True):
        (line,) = panel.get_lines()
        place = record[KEYS[axis]] / (60 if axis == "time" else 1)
        assert (list(line.get_xdata()), list(line.get_ydata())) == ([pytest.approx(place)], [record["val_bpc"]])
        assert (line.get_marker(), line.get_markevery()) == ("o", [0])
        low, high = panel.get_xlim()
        assert low == 0 < place < high


def test_a_scale_of_few_steps_has_no_halves() -> None:
    panel = shown(made_curves(made("a", 0, (3.0,)), by="step")).axes[0]
    assert [float(place) for place in panel.get_xticks()][:3] == [0.0, 1.0, 2.0]


def test_the_band_of_a_single_point_is_seen() -> None:
    panel = shown(made_curves(made("a-0", 0, (3.0,)), made("a-1", 1, (4.0,)), by="step")).axes[0]
    (band,) = panel.collections
    assert min(band.get_linewidth()) > 0
    heights = [float(vertex[1]) for path in band.get_paths() for vertex in path.vertices]
    assert max(heights) - min(heights) == pytest.approx(2 * math.sqrt(0.5))


def test_results_that_are_not_numbers_are_left_out_and_reported() -> None:
    curves = made_curves(made("a", 0, (3.0, math.nan, math.inf, None, 2.0)))
    assert [(point.step, point.bits.mean) for point in curves.curves[0].points] == [(2, 3.0), (10, 2.0)]
    assert curves.caveats == ("a: evaluations without a finite result are not drawn (3)",)
    # What one seed lacks, the mean over seeds lacks too.
    curves = made_curves(made("a-0", 0, (3.0, math.nan, 2.0)), made("a-1", 1, (3.0, 2.5, 2.0)))
    assert [point.step for point in curves.curves[0].points] == [2, 6]
    assert curves.caveats == ("a: evaluations without a finite result are not drawn (1)",)


def test_a_record_of_a_diverged_run_is_read_and_one_without_its_time_is_none(tmp_path: Path, runs: Path) -> None:
    def change(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        lines[1] |= {"val_bpc": math.nan, "val_perplexity": math.inf}
        lines[2] |= {"seconds": None}
        del lines[3]["chars_seen"]
        return lines

    copied = rewrite(runs / "gru", tmp_path / "gru", change)
    curves = curves_of(compare(copied))
    assert [point.step for point in curves.curves[0].points] == [2]
    assert curves.caveats == ("gru: evaluations without a finite result are not drawn (1)",)


def test_each_run_is_read_once(plot: Callable[..., tuple[Outcome, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    read = Run.history
    monkeypatch.setattr(Run, "history", lambda run: (names.append(run.name), read(run))[1])
    assert plot("gru", "lstm-0")[0].exit_code == 0
    assert names == ["gru", "lstm-0"]


# What a result was measured on.


def test_a_run_without_a_validation_split_shows_its_training_dashed_and_says_so(runs: Path) -> None:
    curves = curves_of(compare("all", runs_dir=runs))
    (curve,) = curves.curves
    assert [point.bits.mean for point in curve.points] == [each["train_bpc"] for each in evaluations(runs / "all")]
    assert (curve.label, curve.is_training, curves.caveats) == ("all (recent training)", True, ())
    figure = shown(curves)
    assert [panel.get_ylabel() for panel in figure.axes] == ["recent training bits per character", "", ""]
    assert [line.get_linestyle() for panel in figure.axes for line in panel.get_lines()] == ["--"] * 3


def test_validation_is_a_whole_line_and_the_axis_says_what_it_is(runs: Path) -> None:
    figure = shown(curves_of(compare("gru", runs_dir=runs)))
    assert figure.axes[0].get_ylabel() == "validation bits per character"
    assert [line.get_linestyle() for panel in figure.axes for line in panel.get_lines()] == ["-"] * 3


def test_training_results_next_to_validation_results_are_warned_about(
    plot: Callable[..., tuple[Outcome, str]], runs: Path
) -> None:
    sentence = "the dashed curves show training results, not comparable with validation results: all"
    outcome, svg = plot("gru", "all")
    assert f"charlm: {sentence}\n" in outcome.stderr
    assert f"Warning: {sentence}." in svg
    figure = shown(curves_of(compare("gru", "all", runs_dir=runs)))
    assert figure.axes[0].get_ylabel() == "bits per character"
    assert [line.get_linestyle() for line in figure.axes[0].get_lines()] == ["-", "--"]


def test_training_results_on_different_texts_are_warned_about() -> None:
    def trained(name: str, text: str, **settings: Any) -> RunResult:
        readings = made("a", 0, (None, None)).readings
        return made(name, readings=readings, val_sha256=None, test_sha256=None, train_sha256=text, **settings)

    alike = made_curves(trained("a", "r"), trained("b", "r", model__cell="gru"))
    assert alike.caveats == ()
    unlike = made_curves(
        trained("a", "r"), trained("b", "s", corpus__max_chars=9), trained("c", "r", model__cell="gru")
    )
    assert unlike.caveats == ("the training results are for different texts and cannot be compared: a, c; b",)
    # Without a record of the split, the hash of the corpus decides.
    untold = [replace(trained(name, ""), train_sha256=None, corpus_sha256=name * 64) for name in "ab"]
    assert made_curves(*untold).caveats == (
        "the training results are for different texts and cannot be compared: a; b",
    )


def test_results_on_different_texts_are_never_in_one_picture_without_a_warning(
    plot: Callable[..., tuple[Outcome, str]], runs: Path
) -> None:
    outcome, svg = plot("gru", "split", "--by=step")
    figure = shown(curves_of(compare("gru", "split", runs_dir=runs)))
    warnings = [line.removeprefix("charlm: ") for line in outcome.stderr.splitlines()[:-1]]
    assert sum("are for different texts and cannot be compared" in warning for warning in warnings) == 3
    for warning in warnings:
        assert f"Warning: {warning}." in below(figure)
    assert "are for different texts and cannot be compared" in svg


def test_a_leaky_model_is_never_drawn_without_its_warning(runs: Path) -> None:
    figure = shown(curves_of(compare("leaky", runs_dir=runs)))
    assert labels(figure) == ["leaky (reads its own target)"]
    assert "Warning: leaky: reads its own target: not a language model." in below(figure)


def test_the_forward_half_of_a_bidirectional_model_is_drawn_and_labelled(runs: Path) -> None:
    curves = curves_of(compare("both-ways", runs_dir=runs))
    (curve,) = curves.curves
    assert curve.label == "both-ways (forward half)"
    records = evaluations(runs / "both-ways")
    assert [point.bits.mean for point in curve.points] == [each["val_bpc"] for each in records]
    assert all(each["val_bpc"] != each["val_cloze_bpc"] for each in records)


def test_evaluations_that_read_only_the_beginning_are_reported(runs: Path) -> None:
    sentence = "cover the beginning of the validation split (eval.max_chars)."
    assert f"Curves {sentence}" in below(shown(curves_of(compare("partly", runs_dir=runs))))
    both = curves_of(compare("gru", "partly", runs_dir=runs))
    assert f"The curves of partly {sentence}" in below(shown(both))
    assert any("cover more of the text in some runs" in warning for warning in both.warnings)
    assert sentence not in below(shown(curves_of(compare("gru", runs_dir=runs))))
    # Without a validation split there is no beginning of one.
    assert sentence not in below(shown(curves_of(compare("all", runs_dir=runs))))


def test_an_evaluation_that_reads_the_very_last_character_is_whole(
    tiny_settings: MakeSettings, tmp_path: Path, runs: Path
) -> None:
    facts = json.loads((runs / "gru" / "environment.json").read_text(encoding="utf-8"))
    num_chars = facts["split"]["val"]["chars"]
    for more, is_partial in ((0, False), (-1, True)):
        settings = tiny_settings(*SHORT, f"eval.max_chars={num_chars + more}", "train.max_steps=2")
        train(settings, name=f"m{more}", runs_dir=tmp_path)
        (row,) = compare(f"m{more}", runs_dir=tmp_path).rows
        assert [each.is_partial for each in row.results[0].readings] == [is_partial]


def test_an_unfinished_run_is_drawn_as_far_as_it_came_and_labelled(runs: Path) -> None:
    curves = curves_of(compare("cut", "gru", runs_dir=runs))
    assert [point.step for point in curves.curves[0].points] == [2, 4]
    assert curves.curves[0].label.endswith("(unfinished)")
    assert "Warning: cut has not finished (unfinished, step 4)" in below(shown(curves))


def test_a_run_without_an_evaluation_has_no_curve_and_the_others_are_drawn(
    plot: Callable[..., tuple[Outcome, str]],
) -> None:
    outcome, svg = plot("fresh", "gru")
    assert outcome.exit_code == 0
    assert "charlm: fresh has no curve: there is no evaluation of fresh yet\n" in outcome.stderr
    assert "Warning: fresh has no curve: there is no evaluation of fresh yet." in svg
    assert "the dashed curves" not in svg


def test_where_nothing_was_evaluated_the_table_is_shown_and_no_picture(
    plot: Callable[..., tuple[Outcome, str]],
) -> None:
    outcome, svg = plot("fresh")
    assert (outcome.exit_code, svg) == (4, "")
    assert outcome.stdout.startswith("run\t")
    assert outcome.stderr.splitlines()[-1] == (
        "charlm: there is nothing to draw: fresh has no curve: there is no evaluation of fresh yet"
    )


def test_minutes_of_different_machines_are_warned_about_if_they_are_drawn() -> None:
    results = made("a"), made("b", model__cell="gru", machine="1 GPU"), made("c", model__cell="rnn")
    assert made_curves(*results).caveats == (
        "the minutes were measured on different machines: a, c on 2 cores; b on 1 GPU",
    )
    assert made_curves(*results, by=("step", "chars")).caveats == ()
    assert made_curves(results[0], results[2]).caveats == ()


# Labels and looks.


def test_a_label_has_the_settings_that_differ_by_their_short_names_and_is_kept_short() -> None:
    many = {f"model__setting_of_some_length_{number}": number for number in range(9)}
    curves = made_curves(made("a", model__cell="gru"), made("b-0"), made("b-1", 1)).curves
    assert [curve.label for curve in curves] == ["a: cell gru", "b: cell lstm (2 seeds)"]
    long = ["y" * 50, "x" * 50]
    first, second = made_curves(made("a" * 200, **many), made("b", **dict.fromkeys(many, long))).curves
    assert first.label.endswith(": setting_of_some_length_0 0, setting_of_some_length_1 1, ...")
    assert len(first.label) < 130
    assert len(second.label) < 90
    assert second.label.startswith("b: setting_of_some_length_0 yyy")


def test_a_setting_whose_last_word_others_have_is_called_by_its_whole_key() -> None:
    settings = {"model__max_chars": 1, "eval__max_chars": 2}
    curves = made_curves(made("a", **settings), made("b", **settings | {"eval__max_chars": 3})).curves
    assert [curve.label for curve in curves] == ["a: eval.max_chars 2", "b: eval.max_chars 3"]


NAMES = ["_hidden", "$x^2$", "a_b", "歌词-é", "$", r"\$a\$", "<b>&amp;", "__", "_nolegend_"]


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_a_name_is_drawn_as_it_is(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"curves.{ending}"
    results = [made(name, model__cell=name, state="unfinished") for name in NAMES]
    curves = plot_curves(compare_results(results), path)
    figure = shown(curves)
    assert labels(figure) == [f"{name}: cell {name} (unfinished)" for name in NAMES]
    assert not any(text.get_parse_math() for text in (*figure.legends[0].get_texts(), *figure.texts))
    if ending == "svg":
        svg = path.read_text(encoding="utf-8")
        assert ">$x^2$: cell $x^2$ (unfinished)<" in svg
        assert ">歌词-é: cell 歌词-é (unfinished)<" in svg
        assert ">&lt;b&gt;&amp;amp;: cell" in svg


def test_as_many_curves_as_there_may_be_all_look_different_and_none_is_yellow() -> None:
    results = [made(f"r{number}", model__hidden_size=number) for number in range(MAX_CURVES)]
    panel = shown(made_curves(*results, by="step")).axes[0]
    looks = [
        (line.get_color(), line.get_linestyle(), line.get_marker(), line._dash_pattern) for line in panel.get_lines()
    ]
    assert len({(colour, str(dashes)) for colour, _, _, dashes in looks}) == MAX_CURVES >= 28
    assert len({(colour, mark) for colour, _, mark, _ in looks}) == MAX_CURVES
    assert len({colour for colour, *_ in looks[:7]}) == 7
    assert "#F0E442" not in {colour.upper() for colour, *_ in looks}
    # No validation curve looks like a training curve.
    trained = [made(f"t{number}", 0, (None,), model__hidden_size=number) for number in range(MAX_CURVES)]
    dashes = {str(line._dash_pattern) for line in shown(made_curves(*trained, by="step")).axes[0].get_lines()}
    assert len(dashes) == 4
    assert dashes.isdisjoint(str(pattern) for *_, pattern in looks)


def test_more_curves_than_can_be_told_apart_are_refused(tmp_path: Path) -> None:
    results = [made(f"r{number}", model__hidden_size=number) for number in range(MAX_CURVES + 1)]
    with pytest.raises(ConfigError, match=f"a picture has room for {MAX_CURVES} curves, not {MAX_CURVES + 1}"):
        plot_curves(compare_results(results), tmp_path / "a.svg")
    results[0] = replace(results[0], readings=())
    plot_curves(compare_results(results), tmp_path / "a.svg", by="step")


@pytest.mark.parametrize(
    ("name", "num_rows", "by"),
    by_pairs(("a-run", "a-run-of-a-long-name" * 5), (1, 3, 28), (("step",), ("step", "time"), AXES)),
)
def test_nothing_overlaps_and_everything_is_within_the_picture(name: str, num_rows: int, by: Any) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    settings = [{"model__hidden_size": number, "model__dropout": number / 100} for number in range(num_rows)]
    results = [made(f"{name}-{number}", state="unfinished", **each) for number, each in enumerate(settings)]
    figure = shown(made_curves(*results, by=by))
    FigureCanvasAgg(figure).draw()
    (legend,), (text,) = figure.legends, figure.texts
    boxes = [panel.get_tightbbox() for panel in figure.axes]
    legend_box, text_box = legend.get_window_extent(), text.get_window_extent()
    assert min(box.y0 for box in boxes) >= legend_box.y1
    assert legend_box.y0 >= text_box.y1
    assert text_box.y0 >= 0
    for box in (*boxes, legend_box, text_box):
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width
    assert max(box.y1 for box in boxes) <= figure.bbox.height
    for box, following in pairwise(boxes):
        assert box.x1 <= following.x0


def test_no_name_is_broken_in_the_middle_where_it_has_room() -> None:
    names = [f"one-of-many-runs-{number}" for number in range(20)]
    readings = made("a", 0, (None,)).readings
    results = [made(name, readings=readings, model__dropout=number) for number, name in enumerate(names)]
    lines = below_lines(shown(made_curves(*results, made("validated", model__dropout=0.5))))
    assert len(lines) > 3
    assert all(any(name in line for line in lines) for name in names)


def test_wide_characters_stay_within_the_picture_too() -> None:
    from unicodedata import east_asian_width

    figure = shown(
        made_curves(made("歌" * 150, state="unfinished"), made("词" * 90, state="unfinished", model__cell="x"))
    )
    cells = [sum(2 if east_asian_width(each) == "W" else 1 for each in line) for line in below_lines(figure)]
    assert max(cells) <= 11 * figures.TEXT_CHARS


def below_lines(figure: Any) -> list[str]:
    """Return the lines below the legend."""
    return figure.texts[0].get_text().split("\n")


# Files.


@pytest.mark.slow
def test_the_same_runs_give_the_same_bytes_whatever_a_users_own_style(runs: Path, tmp_path: Path) -> None:
    names = ("lstm-0", "lstm-1", "gru", "all")
    pictures: dict[str, list[bytes]] = {}
    for _ in range(2):
        for name in ("here.svg", "here.png"):
            plot_curves(compare(*names, runs_dir=runs), tmp_path / name)
            pictures.setdefault(name, []).append((tmp_path / name).read_bytes())
    (tmp_path / "matplotlibrc").write_text("font.size: 30\nfigure.facecolor: red\nno.such.key: 1\n", encoding="utf-8")
    script = (
        "import charlm\nfrom pathlib import Path\n"
        f"comparison = charlm.compare(*{names}, runs_dir=Path({str(runs)!r}))\n"
        "for ending in ('svg', 'png'):\n"
        "    charlm.plot_curves(comparison, f'there.{ending}')\n"
        "import matplotlib\n"
        "print(matplotlib.rcParams['font.size'])\n"
    )
    # Matplotlib's messages about that file are not shown.
    assert run_code(script, cwd=tmp_path) == (0, "30.0\n", "")
    for name, (first, second) in pictures.items():
        assert first == second == (tmp_path / name.replace("here", "there")).read_bytes()
    assert not list(tmp_path.glob(".tmp-*"))


def test_the_ending_chooses_the_format_and_the_width_is_that_of_a_readme(tmp_path: Path) -> None:
    comparison = compare_results([made("a")])
    for name in ("a.svg", "a.SVG"):
        plot_curves(comparison, tmp_path / name)
        svg = (tmp_path / name).read_text(encoding="utf-8")
        assert svg.startswith("<?xml")
        assert 'width="792pt"' in svg
        assert "<dc:date>" not in svg
        assert ">characters seen<" in svg
    for name in ("a.png", "a.Png"):
        plot_curves(comparison, tmp_path / name)
        content = (tmp_path / name).read_bytes()
        assert content.startswith(b"\x89PNG\r\n")
        assert int.from_bytes(content[16:20]) == 2200


@pytest.mark.parametrize(
    ("flags", "titles"),
    [
        ([], ["step", "characters seen", "minutes"]),
        (["--by=time"], ["minutes"]),
        (["--by=time", "--by=step", "--by=time"], ["minutes", "step"]),
    ],
)
def test_only_the_requested_axes_are_drawn(
    flags: list[str], titles: list[str], plot: Callable[..., tuple[Outcome, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Any] = []
    draw = plotting.draw_curves
    monkeypatch.setattr(plotting, "draw_curves", lambda curves: figures.append(draw(curves)) or figures[-1])
    assert plot("gru", *flags)[0].exit_code == 0
    (figure,) = figures
    assert [panel.get_xlabel() for panel in figure.axes] == titles
    first, *others = figure.axes
    assert all(panel.get_shared_y_axes().joined(first, panel) for panel in others)
    assert not any(panel.yaxis.get_tick_params()["labelleft"] for panel in others)


@pytest.mark.parametrize("flags", [[], ["--json"], ["--csv"], ["--markdown"]])
def test_the_table_is_what_it_is_without_a_picture(
    flags: list[str], runs: Path, tmp_path: Path, plot: Callable[..., tuple[Outcome, str]], charlm_command: Charlm
) -> None:
    plain = charlm_command("compare", "gru", "split", *flags, f"--runs-dir={runs}")
    outcome, svg = plot("gru", "split", *flags)
    assert (outcome.exit_code, outcome.stdout) == (0, plain.stdout)
    assert outcome.stderr == plain.stderr + f"charlm: the learning curves are in {tmp_path / 'curves.svg'}\n"
    assert svg


def test_a_damaged_run_is_left_out_of_the_picture_too(
    runs: Path, tmp_path: Path, plot: Callable[..., tuple[Outcome, str]]
) -> None:
    damaged = shutil.copytree(runs / "lstm-1", tmp_path / "damaged")
    (damaged / "environment.json").unlink()
    outcome, svg = plot("gru", damaged)
    assert outcome.exit_code == 4
    assert "charlm: the run damaged is left out: " in outcome.stderr
    assert ">gru<" in svg


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--plot=curves.jpg"], "--plot must be a file that ends in .svg, .png or .pdf, got curves.jpg"),
        (["--plot=svg"], "--plot must be a file that ends in .svg, .png or .pdf, got svg"),
        (["--plot="], "--plot is empty: give it a value, or leave it out (perhaps a shell variable is unset)"),
        (["--plot=.svg"], "--plot must be a file that ends in .svg, .png or .pdf, got .svg"),
        (["--plot=no-such/curves.svg"], "--plot no-such/curves.svg: there is no folder no-such"),
        (["--plot=curves.svg", "--by=epoch"], "curves can be drawn by step, chars or time, not by epoch"),
        (
            ["--plot=curves.svg", "--by="],
            "--by is empty: give it a value, or leave it out (perhaps a shell variable is unset)",
        ),
        (["--by=step"], "--by chooses the horizontal axis of the curves, so it needs --plot FILE"),
        (["--plot=curves.svg", "--json", "--csv"], "--json and --csv cannot be combined: give only one of them"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_drawn_is_refused_in_one_sentence_before_any_run_is_read(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, charlm_command: Charlm
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = charlm_command("compare", "absent", *arguments)
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (2, "", f"charlm: {sentence}\n")
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_it_says_what_to_install_before_any_run_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, charlm_command: Charlm
) -> None:
    monkeypatch.setattr(plotting, "find_spec", lambda name: None if name == "matplotlib" else pytest.fail(name))
    outcome = charlm_command("compare", "absent", f"--plot={tmp_path / 'a.svg'}")
    sentence = "--plot needs Matplotlib, which is not installed: pip install 'charlm[plots]'"
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (2, "", f"charlm: {sentence}\n")
    with pytest.raises(ConfigError, match="a picture needs Matplotlib"):
        plot_curves(compare_results([made("a")]), tmp_path / "a.svg")
    assert MISSING in sentence


def test_what_cannot_be_written_ends_with_code_6_after_the_table_and_leaves_nothing(
    runs: Path, tmp_path: Path, charlm_command: Charlm
) -> None:
    (tmp_path / "taken.svg").mkdir()
    outcome = charlm_command("compare", "gru", f"--plot={tmp_path / 'taken.svg'}", f"--runs-dir={runs}")
    assert outcome.exit_code == 6
    assert outcome.stdout.startswith("run\t")
    assert outcome.stderr.startswith(f"charlm: cannot write {tmp_path / 'taken.svg'}: ")
    assert [path.name for path in tmp_path.iterdir()] == ["taken.svg"]
    with pytest.raises(StorageError):
        plot_curves(compare("gru", runs_dir=runs), tmp_path / "taken.svg")


# The library, and Matplotlib's own state.


def test_the_library_does_the_same(runs: Path, tmp_path: Path, plot: Callable[..., tuple[Outcome, str]]) -> None:
    comparison = charlm.compare("lstm-0", "lstm-1", "gru", runs_dir=runs)
    curves = charlm.plot_curves(comparison, str(tmp_path / "mine.svg"))
    assert curves == curves_of(comparison)
    assert (tmp_path / "mine.svg").read_text(encoding="utf-8") == plot("lstm-0", "lstm-1", "gru")[1]
    assert charlm.plot_curves(comparison, tmp_path / "mine.svg", by="time").by == ("time",)
    wrong: Any = "epoch"
    for by, word in ((wrong, "epoch"), ((), "nothing"), (("step", wrong), "epoch")):
        with pytest.raises(ConfigError, match=f"by step, chars or time, not by {word}"):
            charlm.plot_curves(comparison, tmp_path / "mine.svg", by=by)
    with pytest.raises(
        ConfigError, match=r"a picture must be a file that ends in \.svg, \.png or \.pdf, got .*mine\.gif"
    ):
        charlm.plot_curves(comparison, tmp_path / "mine.gif")
    with pytest.raises(RunError, match="there is nothing to draw: "):
        charlm.plot_curves(charlm.compare("fresh", runs_dir=runs), tmp_path / "mine.svg")


def test_drawing_leaves_matplotlib_as_it_was(tmp_path: Path) -> None:
    import matplotlib

    logger = logging.getLogger("matplotlib")
    logger.setLevel(logging.INFO)
    with matplotlib.rc_context({"font.size": 31.0, "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams.copy())
        plot_curves(compare_results([made("a")]), tmp_path / "a.svg")
        assert dict(matplotlib.rcParams.copy()) == before
    assert logger.level == logging.INFO
    logger.setLevel(logging.NOTSET)


def test_help_the_library_and_a_plain_comparison_bring_in_no_matplotlib(runs: Path, tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from charlm.cli.main import app\n"
        f"lines = (['--help'], ['gru', '--runs-dir={runs}'])\n"
        "codes = [CliRunner().invoke(app, ['compare', *line]).exit_code for line in lines]\n"
        "import charlm.library\n"
        "print(codes, 'matplotlib' in sys.modules)\n"
        f"plot = ['gru', '--runs-dir={runs}', '--plot={tmp_path / 'a.svg'}']\n"
        "print(CliRunner().invoke(app, ['compare', *plot]).exit_code, 'matplotlib.pyplot' in sys.modules)\n"
    )
    assert run_code(script) == (0, "[0, 0] False\n0 False\n", "")

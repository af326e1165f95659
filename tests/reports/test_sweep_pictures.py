"""`charlm plot SWEEP`: results by settings, the front and importances are those that the sweep has written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from charlm.errors import ConfigError, RunError
from charlm.library.plotting import plot
from charlm.reports.pictures import Line, Picture
from charlm.runs.run import SWEEP_DEFINITION

Settings = Mapping[str, Any]


def write(folder: Path, points: list[tuple[Settings, list[float]]], **changes: Any) -> Path:
    """Write the results of a sweep with one trial for each value, and return its folder."""
    trials = [
        {
            "trial": f"trial-{number}-{seed}",
            "number": number,
            "settings": settings,
            "seed": seed,
            "state": "finished",
            "figures": {"val_bpc": bits, "num_parameters": 1_000 * (number + 1)},
        }
        for number, (settings, values) in enumerate(points)
        for seed, bits in enumerate(values)
    ]
    record = {
        "kind": "sweep",
        "name": "made-up",
        "objective": {"metric": "val_bpc", "direction": "minimize"},
        "configurations": [{"number": number} for number in range(len(points))],
        "trials": trials,
        "importance": None,
        "pareto": {"num_parameters": [0]},
        "warnings": [],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SWEEP_DEFINITION).write_text("name: made-up\n", encoding="utf-8")
    (folder / "results.json").write_text(json.dumps(record | changes), encoding="utf-8")
    return folder


def grid(cells: tuple[str, ...] = ("rnn", "gru"), sizes: tuple[int, ...] = (16, 32, 64)) -> list[Any]:
    """Return the points of a grid with two seeds each."""
    return [
        ({"model.cell": cell, "model.hidden_size": size}, [3.0 - size / 64, 3.5 - size / 64])
        for cell in cells
        for size in sizes
    ]


def lines(picture: Picture, name: str) -> list[Line]:
    """Return the lines of the panel with that horizontal scale."""
    (panel,) = (panel for panel in picture.panels if panel.x.name == name)
    return list(panel.lines)


def test_a_grid_has_a_line_for_each_cell_with_means_over_seeds(tmp_path: Path) -> None:
    picture = plot(write(tmp_path / "sweep", grid()))
    for line, cell in zip(lines(picture, "model.hidden_size"), ("rnn", "gru"), strict=True):
        assert (line.label, line.is_joined) == (cell, True)
        assert [dot.x for dot in line.dots] == [16, 32, 64]
        for dot, size in zip(line.dots, (16, 32, 64), strict=True):
            values = [2 ** (bits - size / 64) for bits in (3.0, 3.5)]
            assert dot.y == pytest.approx(sum(values) / 2)
            assert dot.deviation == pytest.approx(abs(values[0] - values[1]) / math.sqrt(2))
    assert picture.panels[0].y.title == "validation perplexity"
    assert [key.label for key in picture.keys] == ["rnn", "gru"]


def test_where_several_numbers_vary_a_line_joins_the_best_results(tmp_path: Path) -> None:
    points = [
        ({"model.hidden_size": size, "optimizer.learning_rate": rate}, [4 - size / 64 + abs(rate - 0.01)])
        for size in (16, 32)
        for rate in (0.001, 0.01, 0.1)
    ]
    picture = plot(write(tmp_path / "sweep", points), y="bpc")
    (sizes,), (rates,) = lines(picture, "model.hidden_size"), lines(picture, "optimizer.learning_rate")
    assert [(dot.x, dot.y) for dot in sizes.dots] == [(16, pytest.approx(3.75)), (32, pytest.approx(3.5))]
    assert [dot.y for dot in rates.dots] == [pytest.approx(3.509), pytest.approx(3.5), pytest.approx(3.59)]
    assert [panel.x.is_log for panel in picture.panels[:2]] == [False, True]
    assert "A line joins the best results at each value." in picture.notes


def test_a_random_search_has_marks_that_are_not_joined(tmp_path: Path) -> None:
    points = [
        ({"model.hidden_size": 10 + number, "optimizer.learning_rate": number / 7 + 0.1}, [3.0 + number])
        for number in range(5)
    ]
    (line,) = lines(plot(write(tmp_path / "sweep", points)), "model.hidden_size")
    assert (line.is_joined, line.marked) == (False, (0, 1, 2, 3, 4))


def test_without_numeric_settings_there_are_bars_best_first(tmp_path: Path) -> None:
    points = [({"model.cell": cell}, [bits]) for cell, bits in (("rnn", 3.0), ("gru", 1.0), ("lstm", 2.0))]
    panel = plot(write(tmp_path / "sweep", points)).panels[0]
    assert [(bar.label, bar.value) for bar in panel.bars] == [
        ("gru", pytest.approx(2)),
        ("lstm", pytest.approx(4)),
        ("rnn", pytest.approx(8)),
    ]


def test_the_front_and_the_importances_are_those_of_the_record(tmp_path: Path) -> None:
    shares = {"model.hidden_size": 0.9, "model.cell": 0.1}
    picture = plot(write(tmp_path / "sweep", grid(), importance=shares, pareto={"num_parameters": [4, 0]}))
    front = lines(picture, "num_parameters")[-1]
    assert front.label.startswith("front")
    assert [dot.x for dot in front.dots] == [1_000, 5_000]
    assert [(bar.label, bar.value) for bar in picture.panels[-1].bars] == [("hidden_size", 0.9), ("cell", 0.1)]


def test_unfinished_configurations_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = write(tmp_path / "sweep", grid())
    record = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    record["trials"][0]["state"] = "failed"
    (folder / "results.json").write_text(json.dumps(record), encoding="utf-8")
    picture = plot(folder)
    assert [len(line.dots) for line in lines(picture, "model.hidden_size")] == [2, 3]
    assert picture.caveats == ("1 of 6 configurations have not finished and are not drawn",)


def test_a_metric_that_is_no_loss_keeps_its_own_unit(tmp_path: Path) -> None:
    objective = {"metric": "num_parameters", "direction": "maximize"}
    picture = plot(write(tmp_path / "sweep", grid(), objective=objective))
    assert (picture.panels[0].y.name, picture.panels[0].y.title) == ("num_parameters", "num_parameters")
    assert lines(picture, "model.hidden_size")[0].dots[0].y == 1_000


@pytest.mark.parametrize("content", ["", "[]", '{"kind": "other"}', '{"kind": "sweep"}', "nonsense", "[" * 99])
def test_damaged_results_are_refused_in_a_sentence(tmp_path: Path, content: str) -> None:
    folder = write(tmp_path / "sweep", grid())
    (folder / "results.json").write_text(content, encoding="utf-8")
    with pytest.raises(RunError):
        plot(folder)


@pytest.mark.parametrize("junk", [None, 3, "x", [], {}, [None], [{"number": True}], [{"number": 1, "figures": []}]])
def test_records_of_strangers_break_nothing(tmp_path: Path, junk: Any) -> None:
    for key in ("objective", "configurations", "importance", "pareto", "warnings"):
        plot(write(tmp_path / "sweep", grid(), **({key: junk} if key != "objective" else {})))
    with pytest.raises(RunError, match="nothing to draw"):
        plot(write(tmp_path / "sweep", [], trials=junk))
    with pytest.raises(RunError, match="nothing to draw"):
        plot(write(tmp_path / "sweep", grid(), objective=junk))


def test_a_sweep_has_a_picture_of_its_own(tmp_path: Path) -> None:
    folder = write(tmp_path / "sweep", grid())
    for arguments, options, words in (
        ((folder, "other"), {}, "has a picture of its own"),
        ((folder,), {"part": "val"}, "--part is for learning curves"),
        ((folder,), {"panels": True}, "--panels is for learning curves"),
        ((folder,), {"y": "bpc,nats"}, "a sweep is drawn in one unit"),
    ):
        with pytest.raises(ConfigError, match=words):
            plot(*arguments, **options)
    (folder / "results.json").unlink()
    with pytest.raises(RunError, match="the sweep sweep has no results yet"):
        plot(folder)

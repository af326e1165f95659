"""TPE by Optuna, rebuilt from our own records; importance; Pareto fronts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import charlm
from charlm.errors import ConfigError
from charlm.settings.strict_yaml import Place
from charlm.sweeps import search
from charlm.sweeps.events import SweepEnd, TrialEnd
from charlm.sweeps.ledger import LEDGER
from charlm.sweeps.results import pareto_front
from charlm.sweeps.search import belongs, importance, suggest
from charlm.sweeps.space import Options, Point, Range, Setting, Space, values_text
from charlm.sweeps.sweep_file import read_plan

PLACE = Place("sweep.yaml", 1)
SPACE = Space(
    (
        Range("optimizer.learning_rate", "log", 1e-4, 1e-1, PLACE),
        Range("model.hidden_size", "int", 4, 64, PLACE),
        Options("model.cell", tuple((Setting("model.cell", cell, PLACE),) for cell in ("rnn", "gru", "lstm"))),
    )
)
SWEEP = """
base: base.yaml
name: search
method: tpe
space:
  optimizer.learning_rate: {log: [1e-3, 1e-1]}
  model.hidden_size: {int: [2, 8]}
  model.cell: [rnn, gru]
budget: {num_trials: 12}
"""


def loss(point: Point) -> float:
    """Return a made-up result whose best point is known: a rate of 0.01; nothing else matters much."""
    rate, size, _ = (setting.value for setting in point)
    return (math.log10(rate) + 2) ** 2 + 0.001 * size


pytestmark = pytest.mark.usefixtures("_in_threads")


@pytest.fixture
def sweep_file(write_sweep: Callable[..., Path]) -> Callable[..., Path]:
    """Return what writes a sweep file of four steps."""

    def write(text: str = SWEEP, *overrides: str) -> Path:
        return write_sweep(text, "train.max_steps=4", *overrides)

    return write


def test_a_search_is_a_function_of_what_is_known() -> None:
    pytest.importorskip("optuna")
    known = [(point, loss(point), True) for point in (SPACE.draw(0, number) for number in range(15))]
    assert suggest(SPACE, known, seed=0) == suggest(SPACE, known, seed=0)
    assert suggest(SPACE, known, seed=0) != suggest(SPACE, known, seed=1)
    # Each call draws again; otherwise the first answers would all be the same.
    assert suggest(SPACE, [], seed=0) != suggest(SPACE, known[:1], seed=0)


@pytest.mark.parametrize("has_ended", [True, False])
def test_a_search_keeps_away_from_failed_and_running_points(has_ended: bool) -> None:
    pytest.importorskip("optuna")
    space = Space((Range("optimizer.learning_rate", "uniform", 0.0, 1.0, PLACE),))
    good = [(space.dimensions[0].at(share / 20), share / 20 - 0.5, True) for share in range(20)]
    open_or_failed = [(space.dimensions[0].at(0.001 * share), None, has_ended) for share in range(1, 60)]
    near, away = ([], [])
    for seed in range(10):
        near += [suggest(space, good, seed=seed)]
        away += [suggest(space, [*good, *open_or_failed], seed=seed)]
    assert sum(point[0].value < 0.06 for point in near) > sum(point[0].value < 0.06 for point in away)


def test_it_finds_the_neighbourhood_that_chance_misses() -> None:
    pytest.importorskip("optuna")
    known: list[tuple[Point, float | None, bool]] = []
    for _ in range(50):
        point = suggest(SPACE, known, seed=0)
        assert point is not None
        known.append((point, loss(point), True))
    late = [value for _, value, _ in known[30:]]
    chance = [loss(SPACE.draw(0, number)) for number in range(200)]
    assert sorted(late)[len(late) // 2] < sorted(chance)[len(chance) // 4]
    assert all(1e-4 <= point[0].value <= 1e-1 and 4 <= point[1].value <= 64 for point, *_ in known)
    assert {type(point[1].value) for point, *_ in known} == {int}
    assert all(point[0].value == float(f"{point[0].value:.4g}") for point, *_ in known)


def test_a_range_is_searched_in_its_own_scale_and_others_keep_their_log() -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = Space((*SPACE.dimensions, Range("model.dropout", "uniform", 0.0, 0.5, PLACE)))
    assert suggest(space, [], seed=0) is not None
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING
    rate, size, cell, dropout = search._distributions(optuna, space).values()
    assert (rate.low, rate.high, rate.log) == (1e-4, 1e-1, True)
    assert (size.low, size.high, size.log) == (4, 64, False)
    assert cell.choices == (0, 1, 2)
    assert (dropout.low, dropout.high, dropout.log) == (0.0, 0.5, False)


def test_it_proposes_nothing_twice_and_ends_where_there_is_nothing_new() -> None:
    pytest.importorskip("optuna")
    small = Space((SPACE.dimensions[2], Range("model.num_layers", "int", 1, 2, PLACE)))
    known: list[tuple[Point, float | None, bool]] = []
    while (point := suggest(small, known, seed=0)) is not None:
        # Some are running, some have failed.
        known.append((point, [1.0, None, None][len(known) % 3], len(known) % 3 != 1))
    assert len({values_text(point) for point, *_ in known}) == len(known) == 6


def test_a_proposal_is_taken_up_only_where_the_space_still_has_it() -> None:
    point = SPACE.draw(0, 0)
    values = {setting.key: setting.value for setting in point}
    assert belongs(SPACE, values) == point
    assert belongs(SPACE, {**values, "model.hidden_size": 65}) is None
    assert belongs(SPACE, {**values, "model.cell": "mamba"}) is None
    assert belongs(SPACE, {**values, "model.dropout": 0.5}) is None
    assert belongs(SPACE, {"model.cell": "rnn"}) is None
    assert belongs(SPACE, {**values, "optimizer.learning_rate": True}) is None


NESTED = Space(
    (
        Options(
            "size",
            (
                (),
                (Setting("model.num_layers", 2, PLACE),),
                (Setting("model.num_layers", 2, PLACE), Setting("model.dropout", 0.1, PLACE)),
                (Setting("model.num_layers", 3, PLACE), Setting("model.dropout", 0.1, PLACE)),
            ),
        ),
        Range("optimizer.learning_rate", "uniform", 0.1, 0.9, PLACE),
    )
)


def test_an_entry_that_holds_another_is_told_from_it() -> None:
    for point in islice(NESTED.draws(0), 40):
        assert belongs(NESTED, {setting.key: setting.value for setting in point}) == point
    parameters = search._parameters(NESTED, [*NESTED.combinations()])
    assert [each["size"] for each in parameters] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_proposal_is_of_the_same_kind_of_value() -> None:
    space = Space((Options("model.layer_norm", ((Setting("model.layer_norm", True, PLACE),),)),))
    assert belongs(space, {"model.layer_norm": True}) is not None
    assert belongs(space, {"model.layer_norm": 1}) is None
    space = Space((Range("model.lookahead", "int", 0, 4, PLACE),))
    assert belongs(space, {"model.lookahead": 1}) is not None
    assert belongs(space, {"model.lookahead": True}) is None


def test_a_tpe_sweep_cut_anywhere_loses_and_doubles_nothing(tmp_path: Path, sweep_file: Any) -> None:
    pytest.importorskip("optuna")
    path = sweep_file()
    whole = charlm.sweep(path, runs_dir=tmp_path / "whole")
    assert len(whole.trials) == 12
    assert all(row.state == "finished" for row in whole.trials)
    num_starts = 0
    while True:
        num_starts += 1
        ended = 0
        reports = charlm.sweep_reports(path, runs_dir=tmp_path / "cut")
        last: Any = None
        for last in reports:
            ended += isinstance(last, TrialEnd)
            if ended == 3:
                reports.close()
                break
        if isinstance(last, SweepEnd):
            break
    assert num_starts > 3
    # With one worker the results arrive in the same order, so the search is the same.
    assert [row.trial for row in last.results.trials] == [row.trial for row in whole.trials]
    runs = [path.name for path in (tmp_path / "cut" / "search").iterdir() if path.is_dir()]
    assert sorted(runs) == sorted(row.trial for row in whole.trials)


def test_a_tpe_sweep_with_rungs_draws_all_before_the_first_is_decided(tmp_path: Path, sweep_file: Any) -> None:
    pytest.importorskip("optuna")
    text = SWEEP + "stop_early: {rungs: [2, 4], keep: 0.25}\n"
    results = charlm.sweep(sweep_file(text, "train.max_steps=null", "train.epochs=1"), runs_dir=tmp_path)
    states = [row.state for row in results.trials]
    assert (states.count("finished"), states.count("stopped")) == (3, 9)
    again = charlm.sweep(tmp_path / "sweep.yaml", runs_dir=tmp_path)
    assert again == results


def test_proposals_come_before_their_outcomes_in_the_ledger(tmp_path: Path, sweep_file: Any) -> None:
    pytest.importorskip("optuna")
    charlm.sweep(sweep_file(SWEEP.replace("12", "3")), runs_dir=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "search" / LEDGER).read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["proposal", "outcome"] * 3


def test_without_optuna_tpe_says_what_to_install_and_grids_need_nothing(
    tmp_path: Path, sweep_file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "find_spec", lambda _: None)
    with pytest.raises(
        ConfigError, match=r"method tpe needs Optuna.*pip install 'charlm\[sweeps\]'.*\(.*sweep.yaml:4\)"
    ):
        read_plan(sweep_file())
    with pytest.raises(ConfigError, match="needs Optuna"):
        suggest(SPACE, [], seed=0)
    assert read_plan(sweep_file(SWEEP.replace("tpe", "random"))).method == "random"
    grid = "base: base.yaml\nspace:\n  model.cell: [rnn, gru]\n  model.hidden_size: [2, 4]\n"
    assert charlm.sweep(sweep_file(grid), runs_dir=tmp_path).importance is None


def test_importance_finds_the_setting_that_matters() -> None:
    pytest.importorskip("optuna")
    values = [(point, loss(point)) for point in (SPACE.draw(0, number) for number in range(60))]
    shares = importance(SPACE, values)
    assert shares is not None
    assert next(iter(shares)) == "optimizer.learning_rate"
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-3)
    assert any(share != round(share, 1) for share in shares.values())
    assert all(share == round(share, 4) for share in shares.values())
    assert importance(SPACE, values[:3]) is None


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([(0, 1.0, 9.0), (1, 2.0, 5.0), (2, 3.0, 6.0), (3, 4.0, 1.0)], [0, 1, 3]),
        ([(0, 1.0, 1.0), (1, 1.0, 1.0), (2, 2.0, 2.0)], [0]),
        ([(0, 1.0, 3.0), (1, 1.0, 2.0)], [1]),
        ([(0, 2.0, 1.0), (1, 1.0, 2.0)], [1, 0]),
        ([], []),
    ],
)
def test_a_front_holds_what_nothing_beats_in_both(points: list[tuple[int, float, float]], front: list[int]) -> None:
    assert pareto_front(points) == front


def test_fronts_are_of_bits_per_character_against_speed_and_size(tmp_path: Path, sweep_file: Any) -> None:
    text = "base: base.yaml\nspace:\n  model.hidden_size: [2, 4, 8]\n  model.cell: [rnn, gru]\n"
    results = charlm.sweep(sweep_file(text), runs_dir=tmp_path)
    by_number = {each.number: each for each in results.configurations}
    front = results.fronts["num_parameters"]
    assert front[0] == results.configurations[0].number
    for number, each in by_number.items():
        beaten = any(
            by_number[other].figures["val_bpc"].mean <= each.figures["val_bpc"].mean
            and by_number[other].num_parameters <= each.num_parameters
            and other != number
            for other in by_number
        )
        assert beaten == (number not in front)
    speeds = [by_number[number].figures["chars_per_second"].mean for number in results.fronts["chars_per_second"]]
    assert speeds == sorted(speeds)

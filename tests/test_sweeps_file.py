"""Sweep files: what they mean, and that whatever is wrong with one is said before anything starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from charlm.errors import ConfigError
from charlm.settings.layers import load_settings
from charlm.sweeps.plan import Plan, make_trials
from charlm.sweeps.reading import plan_seeds, read_plan, shipped_sweeps

GRID = "space:\n  model.cell: [rnn, gru]\n"


@pytest.fixture
def sweep_file(tmp_path: Path) -> Callable[[str], Path]:
    """Return what writes a sweep file."""

    def write(text: str) -> Path:
        path = tmp_path / "cells.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def trials(plan: Plan, threads: int | None = None) -> list:
    return [
        trial
        for number, point in enumerate(plan.points())
        for trial in make_trials(plan, number, point, threads=threads)
    ]


def test_without_more_it_is_a_grid_over_the_quick_start_by_validation(sweep_file):
    plan = read_plan(sweep_file(GRID))
    assert (plan.name, plan.method, plan.seeds, plan.metric, plan.direction) == (
        *("cells", "grid", (0,), "val_bpc", "minimize"),
    )
    quickstart = load_settings("quickstart")
    for trial, cell in zip(trials(plan), ["rnn", "gru"], strict=True):
        model = quickstart.model.model_copy(update={"cell": cell})
        silent = quickstart.eval.model_copy(update={"baselines": False})
        assert trial.settings == quickstart.model_copy(update={"model": model, "eval": silent})


def test_the_base_is_found_from_the_file_and_its_wishes_count(tmp_path, sweep_file):
    (tmp_path / "base.yaml").write_text("eval: {baselines: true}\ntrain: {seed: 7, threads: 2}\n", encoding="utf-8")
    plan = read_plan(sweep_file("base: base.yaml\nseeds: 2\n" + GRID), overrides=["model.hidden_size=9"])
    assert plan.seeds == (7, 8)
    first, second, *_ = trials(plan, threads=1)
    assert (first.settings.train.seed, second.settings.train.seed) == (7, 8)
    assert first.settings.eval.baselines
    assert first.settings.train.threads == 2
    assert first.settings.model.hidden_size == 9


def test_a_corpus_of_the_space_is_found_from_the_file(tmp_path, sweep_file):
    plan = read_plan(sweep_file("space:\n  corpus.path: [one.txt, two.txt]\n"))
    paths = [trial.settings.corpus.path for trial in trials(plan)]
    assert paths == [(str(tmp_path / "one.txt"),), (str(tmp_path / "two.txt"),)]


def test_a_trial_is_named_by_what_varies_and_a_hash_of_what_it_is(sweep_file):
    text = "seeds: 2\nspace:\n  model.cell: [rnn, gru]\n  model.dropout: [0.0]\n  train.epochs: [3]\n"
    named = [trial.name for trial in trials(read_plan(sweep_file(text)))]
    assert [name.rpartition("-")[0] for name in named] == ["rnn-seed0", "rnn-seed1", "gru-seed0", "gru-seed1"]
    assert len({name.rpartition("-")[2] for name in named}) == 4
    # Where it runs is not what it is.
    plan = read_plan(sweep_file(text))
    assert [trial.name for trial in trials(plan, threads=1)] == named
    elsewhere = read_plan(sweep_file(text), overrides=["train.threads=2", "train.device=cpu"])
    assert [trial.name for trial in trials(elsewhere)] == named
    longer = read_plan(sweep_file(text.replace("[3]", "[4]")))
    assert not {trial.name for trial in trials(longer)} & set(named)


def test_random_points_are_drawn_anew_the_same(sweep_file):
    text = "method: random\nspace:\n  optimizer.learning_rate: {log: [1e-4, 1e-2]}\nbudget: {num_trials: 5}\n"
    first = [trial.name for trial in trials(read_plan(sweep_file(text)))]
    assert first == [trial.name for trial in trials(read_plan(sweep_file(text)))]
    assert len(set(first)) == 5
    more = [trial.name for trial in trials(read_plan(sweep_file(text.replace("5}", "8}"))))]
    assert more[:5] == first
    assert first != [trial.name for trial in trials(read_plan(sweep_file(text), overrides=["train.seed=1"]))]


def test_seeds_alone_are_a_sweep_with_a_name_of_its_own():
    settings = load_settings(overrides=["train.seed=3"])
    plan = plan_seeds(settings, 2)
    assert plan.seeds == (3, 4)
    assert plan == plan_seeds(settings, 2)
    assert plan.name != plan_seeds(load_settings(overrides=["train.seed=4"]), 2).name
    assert [trial.settings.train.seed for trial in trials(plan)] == [3, 4]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("seed: 3\n" + GRID, ["unknown key seed; did you mean seeds? (cells.yaml:1)"]),
        ("spaces: {}\n", ["unknown key spaces; did you mean space? (cells.yaml:1)"]),
        (GRID + "budget: {num_trails: 3}\n", ["did you mean budget.num_trials? (cells.yaml:3)"]),
        ("seeds: 0\n" + GRID, ["seeds must be at least 1, got 0 (cells.yaml:1)"]),
        ("seeds: true\n" + GRID, ["seeds must be a whole number, got True (cells.yaml:1)"]),
        ("method: gird\n" + GRID, ["method must be one of 'grid', 'random'", "(cells.yaml:1)"]),
        ("space:\n  model.cel: [rnn]\n", ["unknown setting model.cel; did you mean model.cell? (cells.yaml:2)"]),
        ("space:\n  model.cell: [run]\n", ["model.cell must be one of 'rnn', 'gru', 'lstm', got 'run' (cells.yaml:2)"]),
        (
            "space:\n  model.hidden_size: [8, 0]\n",
            ["model.hidden_size must be at least 1, got 0 (cells.yaml:2)"],
        ),
        (
            "space:\n  model.hidden_size:\n    - 8\n    - 0.5\n",
            ["model.hidden_size must be a whole number, got 0.5 (cells.yaml:4)"],
        ),
        (
            "method: random\nbudget: {num_trials: 3}\nspace:\n  model.dropout: {uniform: [0.0, 1.5]}\n",
            ["model.dropout must be less than 1.0, got 1.5 (cells.yaml:4)"],
        ),
        (
            "method: random\nbudget: {num_trials: 3}\nspace:\n  model.hidden_size: {log: [8, 64]}\n",
            ["model.hidden_size must be a whole number, got 8.0 (cells.yaml:4)"],
        ),
        (
            "space:\n  model.num_layers: [1, 2]\n",
            ["model.dropout acts between layers, and model.num_layers is 1"],
        ),
        ("space:\n  model.hidden_size: {int: [8, 16]}\n", ["a grid takes lists only", "(cells.yaml:2)"]),
        (GRID + "budget: {num_trials: 3}\n", ["budget.num_trials belongs to random", "(cells.yaml:3)"]),
        ("method: random\n" + GRID, ["method random needs budget.num_trials or budget.minutes"]),
        ("method: random\nbudget: {num_trials: 3}\n", ["space is empty"]),
        (GRID + "objective: {metric: val_bcp}\n", ["unknown metric val_bcp; did you mean val_bpc? (cells.yaml:3)"]),
        (GRID + "objective: {metric: xyz}\n", ["unknown metric xyz; there are val_bpc, "]),
        (GRID + "objective: {metric: test_bpc}\n", ["test figures are told of each trial and choose none"]),
        (GRID + "objective: {metric: val_cloze_bpc}\n", ["is of bidirectional models", "(cells.yaml:3)"]),
        (
            "space:\n  corpus.split: [default, none]\n",
            ["objective.metric val_bpc needs a validation part, and corpus.split is none"],
        ),
        (GRID + "objective: {metric: val_bpc, direction: up}\n", ["objective.direction must be one of"]),
        ("base: nowhere.yaml\n" + GRID, ["cannot read the configuration", "nowhere.yaml", "(base, cells.yaml:1)"]),
        ("- 1\n", ["cells.yaml:1: a sweep is a mapping of keys such as space:"]),
        ("space: [1\n", ["not valid YAML"]),
        ("name: a\nname: b\n" + GRID, ["the key name stands here twice"]),
        ("name: ../a\n" + GRID, ["cannot name a run"]),
        (
            "space:\n"
            + "".join(
                f"  {key}: [{', '.join(map(str, range(1, 31)))}]\n"
                for key in ("model.hidden_size", "sampling.batch_size", "sampling.seq_len")
            ),
            ["the grid has 27,000 points, and a sweep has at most 10,000 (cells.yaml:1)"],
        ),
    ],
)
def test_a_bad_file_is_refused_with_line_and_nearest_name_and_nothing_is_written(
    tmp_path: Path, charlm_command: Callable[..., Result], sweep_file, monkeypatch, text: str, problems: list[str]
) -> None:
    sweep_file(text)
    monkeypatch.chdir(tmp_path)
    result = charlm_command("sweep", "cells.yaml")
    assert result.exit_code == 2
    for problem in problems:
        assert problem in result.stderr
    assert not (tmp_path / "runs").exists()


def test_every_problem_is_told_at_once(sweep_file):
    with pytest.raises(ConfigError) as caught:
        read_plan(
            sweep_file("space:\n  model.cel: [rnn]\n  model.hidden_size: {int: [2, 1]}\nobjective: {metric: nope}\n")
        )
    assert [line.rpartition(":")[2] for line in str(caught.value).split("\n")] == ["2)", "3)", "4)"]


def test_an_option_cannot_set_what_varies(sweep_file):
    for option in ("model.cell=lstm", "model={cell: lstm}"):
        with pytest.raises(ConfigError, match=r"model.cell varies here, and --set .* would set it"):
            read_plan(sweep_file(GRID), overrides=[option])


def test_a_file_that_is_not_there_names_the_shipped_ones(tmp_path):
    with pytest.raises(
        ConfigError, match=r"cannot read the sweep .*: no such file.*; shipped ones by name: cells, learn"
    ):
        read_plan(tmp_path / "nothing.yaml")


@pytest.mark.parametrize("name", shipped_sweeps())
def test_each_shipped_sweep_can_be_read(name):
    plan = read_plan(name)
    assert plan.name == name
    assert len(trials(plan)) >= 12


def test_the_shipped_comparison_of_cells_is_what_it_says():
    from charlm.networks.building import parameter_shapes

    found = trials(read_plan("cells"))
    assert len(found) == 18
    shapes = {(trial.settings.model.cell, trial.settings.model.num_layers) for trial in found}
    assert shapes == {(cell, layers) for cell in ("rnn", "gru", "lstm") for layers in (1, 2)}
    sizes = [sum(shape.numel() for shape in parameter_shapes(trial.settings.model, 62).values()) for trial in found]
    assert max(sizes) / min(sizes) < 1.01

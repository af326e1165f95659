"""Sweep files: what they mean, and that every problem with one is reported before anything starts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from charlm.errors import ConfigError
from charlm.settings.loading import load_settings
from charlm.sweeps.plan import Plan, make_trials, run_settings
from charlm.sweeps.sweep_file import plan_seeds, read_plan, shipped_sweeps

GRID = "space:\n  model.cell: [rnn, gru]\n"


@pytest.fixture
def sweep_file(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a sweep file."""

    def write(text: str) -> Path:
        path = tmp_path / "cells.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def trials(plan: Plan) -> list:
    return [trial for number, point in enumerate(plan.points()) for trial in make_trials(plan, number, point)]


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


def test_the_base_is_found_from_the_file_and_its_settings_count(tmp_path, sweep_file):
    (tmp_path / "base.yaml").write_text("eval: {baselines: true}\ntrain: {seed: 7, threads: 2}\n", encoding="utf-8")
    plan = read_plan(sweep_file("base: base.yaml\nseeds: 2\n" + GRID), overrides=["model.hidden_size=9"])
    assert plan.seeds == (7, 8)
    first, second, *_ = trials(plan)
    assert (first.settings.train.seed, second.settings.train.seed) == (7, 8)
    assert first.settings.eval.baselines
    assert run_settings(first, None, threads=1).train.threads == 2
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
    # Where it runs does not change what it is.
    plan = read_plan(sweep_file(text))
    assert [trial.name for trial in trials(plan)] == named
    elsewhere = read_plan(
        sweep_file(text), overrides=["train.threads=2", "train.device=cpu", "model.implementation=torch"]
    )
    assert [trial.name for trial in trials(elsewhere)] == named
    longer = read_plan(sweep_file(text.replace("[3]", "[4]")))
    assert not {trial.name for trial in trials(longer)} & set(named)


def test_a_trial_of_long_values_has_a_name_that_a_run_can_have(sweep_file):
    long = "x" * 79
    first, second = trials(read_plan(sweep_file(f"space:\n  corpus.path: [{long} y, {'y' * 200}]\n")))
    assert re.fullmatch(f"{long}-[0-9a-f]{{8}}", first.name)
    assert re.fullmatch("y{80}-[0-9a-f]{8}", second.name)


def test_a_trial_of_odd_values_has_a_name_that_a_run_can_have(sweep_file):
    text = "space:\n  sample.prefixes: [['.the ', 'é'], ['a/b']]\n  train.eval_every: [5, {epochs: 2}]\n"
    names = [trial.name.rpartition("-")[0] for trial in trials(read_plan(sweep_file(text)))]
    assert names == ["the-u00e9-5", "the-u00e9-epochs-2", "a-b-5", "a-b-epochs-2"]
    # A value without a letter that a name can have leaves no gap.
    text = (
        "space:\n  model.layer_norm: [true, false]\n  sample.prefixes: ['é', 'è']\n  optimizer.clip_norm: [null, 1.0]\n"
    )
    names = [trial.name.rpartition("-")[0] for trial in trials(read_plan(sweep_file(text)))]
    assert names == [*(["true-null", "true-1.0"] * 2), *(["false-null", "false-1.0"] * 2)]


def test_a_large_number_and_a_small_one_have_different_names(sweep_file):
    found = trials(read_plan(sweep_file("space:\n  optimizer.learning_rate: [1e29, 1e-29, 0.01]\n")))
    assert [trial.name.rpartition("-")[0] for trial in found] == ["1e29", "1e-29", "0.01"]


def test_random_points_are_drawn_anew_the_same(sweep_file):
    text = "method: random\nspace:\n  optimizer.learning_rate: {log: [1e-4, 1e-2]}\nbudget: {num_trials: 5}\n"
    first = [trial.name for trial in trials(read_plan(sweep_file(text)))]
    assert first == [trial.name for trial in trials(read_plan(sweep_file(text)))]
    assert len(set(first)) == 5
    more = [trial.name for trial in trials(read_plan(sweep_file(text.replace("5}", "8}"))))]
    assert more[:5] == first
    drawn = {trial.point[0].value for trial in trials(read_plan(sweep_file(text)))}
    otherwise = {trial.point[0].value for trial in trials(read_plan(sweep_file(text), overrides=["train.seed=1"]))}
    assert not drawn & otherwise


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
        ("seeds: 1001\n" + GRID, ["seeds must be at most 1000, got 1001 (cells.yaml:1)"]),
        ("budget: {num_trials: 10001}\n" + GRID, ["budget.num_trials must be at most 10000, got 10001 (cells.yaml:1)"]),
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
            ["model.hidden_size must be a whole number: write {int: [8, 64]}, or a list (cells.yaml:4)"],
        ),
        (
            "space:\n  model.num_layers: [1, 2]\n",
            ["model.dropout acts between layers, and model.num_layers is 1"],
        ),
        ("space:\n  model.hidden_size: {int: [8, 16]}\n", ["a grid accepts only lists", "(cells.yaml:2)"]),
        (GRID + "budget: {num_trials: 3}\n", ["budget.num_trials is for methods random", "(cells.yaml:3)"]),
        ("method: random\n" + GRID, ["method random needs budget.num_trials or budget.minutes"]),
        ("method: random\nbudget: {num_trials: 3}\n", ["space is empty"]),
        (GRID + "objective: {metric: val_bcp}\n", ["unknown metric val_bcp; did you mean val_bpc? (cells.yaml:3)"]),
        (GRID + "objective: {metric: xyz}\n", ["unknown metric xyz; there are val_bpc, "]),
        (GRID + "objective: {metric: test_bpc}\n", ["test results are reported but never used for selection"]),
        (GRID + "objective: {metric: val_backward_bpc}\n", ["needs a bidirectional model", "(cells.yaml:3)"]),
        (GRID + "objective: {metric: val_cloze_bpc}\n", ["needs a bidirectional model", "(cells.yaml:3)"]),
        (
            "space:\n  corpus.split: [default, none]\n",
            ["objective.metric val_bpc needs a validation split, and corpus.split none has none: use train_bpc"],
        ),
        (GRID + "objective: {metric: val_bpc, direction: up}\n", ["objective.direction must be one of"]),
        ("base: nowhere.yaml\n" + GRID, ["cannot read the configuration", "nowhere.yaml", "(base, cells.yaml:1)"]),
        ("- 1\n", ["cells.yaml:1: a sweep is a mapping of keys such as space:"]),
        ("space: [1\n", ["not valid YAML"]),
        ("name: a\nname: b\n" + GRID, ["the key name is given twice"]),
        ("name: ../a\n" + GRID, ["name must be at most 100 letters, ", "got '../a' (cells.yaml:1)"]),
        (
            "space:\n"
            + "".join(
                f"  {key}: [{', '.join(map(str, range(1, 31)))}]\n"
                for key in ("model.hidden_size", "sampling.batch_size", "sampling.seq_len")
            ),
            ["the grid has 27,000 points, and a sweep can have at most 10,000 (cells.yaml:1)"],
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


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "nothing varies: give space, or seeds above 1 (cells.yaml)"),
        ("space: {}\n", "nothing varies: give space, or seeds above 1 (cells.yaml:1)"),
        ("[]\n", "cells.yaml:1: a sweep is a mapping of keys such as space:"),
        ("false\n", "cells.yaml:1: a sweep is a mapping of keys such as space:"),
        ("name: ''\n" + GRID, "the first a letter or a digit, got '' (cells.yaml:1)"),
        (
            "space:\n  model.hidden_size: {uniform: [8, 64]}\nmethod: random\nbudget: {num_trials: 9}\n",
            "model.hidden_size must be a whole number: write {int: [8, 64]}, or a list (cells.yaml:2)",
        ),
        (
            "space:\n  model.dropout: {uniform: [0.5, 1.5]}\n  model.num_layers: [2]\nmethod: random\n"
            "budget: {num_trials: 99}\n",
            "model.dropout must be less than 1.0, got 1.5 (cells.yaml:2)",
        ),
        (
            "space:\n  model.dropout: [0.0, 0.5]\n  model.num_layers: [2, 1]\n"
            "method: random\nbudget: {num_trials: 200}\n",
            "model.dropout acts between layers, and model.num_layers is 1: change one of them (cells.yaml:2)",
        ),
        (
            "space:\n  model.dropout: [0.0, 0.5]\n  model.num_layers: [2, 1]\n",
            "model.dropout acts between layers, and model.num_layers is 1: change one of them (cells.yaml:2)",
        ),
        (
            "space:\n  corpus.name: [stories, storeis]\n",
            "no corpus called storeis; did you mean stories? (cells.yaml:2)",
        ),
        (
            "space:\n  size:\n    - model.cell: rnn\n      model.hidden_size: 0\n",
            "model.hidden_size must be at least 1, got 0 (cells.yaml:4)",
        ),
        (
            "space:\n  size:\n    - model.cell: rnn\n      model.hiden_size: 8\n",
            "unknown setting model.hiden_size; did you mean model.hidden_size? (cells.yaml:4)",
        ),
        ("space:\n  corpus.name: [xyzzy]\n", "there is no corpus called xyzzy; there are stories, lyrics, "),
        (
            "space:\n  both: [{model.cell: rnn, train.epochs: 2}]\nstop_early: {rungs: [5, 9]}\n",
            "train.epochs cannot vary: stop_early.rungs set the budget (cells.yaml:2)",
        ),
        (
            "space:\n  train.minutes: [1.0, 2.0]\nstop_early: {rungs: [5, 9]}\n",
            "train.minutes cannot vary: stop_early.rungs set the budget (cells.yaml:2)",
        ),
        (
            "space:\n  corpus.split: [[0.9, 0.0, 0.1]]\n",
            "val_bpc needs a validation split, and corpus.split [0.9, 0.0, 0.1] has none: use train_bpc (cells.yaml)",
        ),
        (
            "space:\n  corpus: [{corpus.name: timemachine, corpus.split: standard}]\n",
            "val_bpc needs a validation split, and corpus.split standard has none: use train_bpc (cells.yaml)",
        ),
    ],
)
def test_what_is_wrong_is_said_once(sweep_file, monkeypatch, tmp_path, text: str, problem: str):
    sweep_file(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        read_plan("cells.yaml")
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("split", ["[0.9, 0.1]", "[2000, 500, 500]", "standard", "90/10"])
def test_a_split_with_a_validation_part_can_be_searched_by_it(sweep_file, split: str):
    assert read_plan(sweep_file(f"space:\n  corpus.split: ['default', {split}]\n")).metric == "val_bpc"


def test_what_search_puts_together_must_be_possible(sweep_file):
    pytest.importorskip("optuna")
    text = "method: tpe\nbudget: {num_trials: 3}\nspace:\n  model.dropout: {uniform: [0.0, 0.5]}\n"
    with pytest.raises(ConfigError, match=r"^model.dropout acts between layers, and model.num_layers is 1"):
        read_plan(sweep_file(text + "  model.num_layers: [2, 1]\n"))
    assert read_plan(sweep_file(text + "  model.num_layers: [2, 3]\n")).method == "tpe"


def test_the_last_seed_must_be_possible(sweep_file):
    read_plan(sweep_file("seeds: 2\n" + GRID), overrides=[f"train.seed={2**63 - 2}"])
    with pytest.raises(ConfigError, match=r"^train.seed must be less than"):
        read_plan(sweep_file("seeds: 2\n" + GRID), overrides=[f"train.seed={2**63 - 1}"])


def test_the_first_of_very_many_problems_are_reported_with_their_number(sweep_file):
    text = "space:\n" + "".join(f"  model.x{number}: [1]\n" for number in range(25))
    with pytest.raises(ConfigError) as caught:
        read_plan(sweep_file(text))
    lines = str(caught.value).split("\n")
    assert len(lines) == 21
    assert lines[-1] == "and 5 more problems"
    sizes = ", ".join(str(-number) for number in range(25))
    with pytest.raises(ConfigError) as caught:
        read_plan(sweep_file(f"space:\n  model.hidden_size: [{sizes}]\n"))
    lines = str(caught.value).split("\n")
    assert (len(lines), lines[-1]) == (21, "and more problems")


def test_a_misspelt_base_is_reported_with_the_nearest_name(sweep_file):
    with pytest.raises(ConfigError, match=r"no such file.*; did you mean quickstart\? \(base, .*cells.yaml:1\)"):
        read_plan(sweep_file("base: quickstrat\n" + GRID))
    with pytest.raises(ConfigError) as caught:
        read_plan(sweep_file("base: nowhere.yaml\n" + GRID))
    assert "did you mean" not in str(caught.value)


def test_a_file_without_a_name_that_a_run_can_have_needs_one(tmp_path):
    path = tmp_path / "my cells.yaml"
    path.write_text(GRID, encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"my cells cannot name the sweep's folder: set name, at most 100.*my cells.yaml"
    ):
        read_plan(path)
    path.write_text("name: cells\n" + GRID, encoding="utf-8")
    assert read_plan(path).name == "cells"


def test_rungs_replace_every_budget_of_the_base(tmp_path, sweep_file):
    (tmp_path / "base.yaml").write_text("train: {epochs: 3, minutes: 1.0}\n", encoding="utf-8")
    plan = read_plan(sweep_file("base: base.yaml\n" + GRID + "stop_early: {rungs: [5, 9]}\n"))
    train = trials(plan)[0].settings.train
    assert (train.epochs, train.minutes, train.max_steps) == (None, None, 9)
    assert plan.keep == pytest.approx(1 / 3)


def test_problems_of_file_space_and_base_are_reported_together(tmp_path, sweep_file):
    (tmp_path / "base.yaml").write_text("model: {hiden_size: 3}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_plan(sweep_file("base: base.yaml\nspace:\n  model.cel: [rnn]\n"))
    assert [line.rpartition("(")[2].rpartition("/")[2] for line in str(caught.value).split("\n")] == [
        *("cells.yaml:3)", "base.yaml:1)"),
    ]
    with pytest.raises(ConfigError) as caught:
        read_plan(sweep_file("seeds: 0\nspace:\n  model.cel: [rnn]\n"))
    assert [line.rpartition(":")[2] for line in str(caught.value).split("\n")] == ["1)", "3)"]


def test_every_problem_is_reported_at_once(sweep_file):
    with pytest.raises(ConfigError) as caught:
        read_plan(
            sweep_file("space:\n  model.cel: [rnn]\n  model.hidden_size: {int: [2, 1]}\nobjective: {metric: nope}\n")
        )
    assert [line.rpartition(":")[2] for line in str(caught.value).split("\n")] == ["2)", "3)", "4)"]


def test_what_is_better_can_be_said(sweep_file):
    assert read_plan(sweep_file(GRID + "objective: {direction: maximize}\n")).direction == "maximize"
    assert read_plan(sweep_file(GRID + "objective: {metric: chars_per_second}\n")).direction == "maximize"
    text = GRID + "objective: {metric: chars_per_second, direction: minimize}\n"
    assert (read_plan(sweep_file(text)).direction, read_plan(sweep_file(text)).sign) == ("minimize", 1.0)


def test_problems_are_reported_in_the_order_of_their_lines(sweep_file):
    with pytest.raises(ConfigError) as caught:
        read_plan(sweep_file("objective: {metric: nope}\nname: cells\nspace:\n  model.cel: [rnn]\n"))
    assert [line.rpartition(":")[2] for line in str(caught.value).split("\n")] == ["1)", "4)"]


def test_a_file_is_preferred_to_a_bundled_one_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("learning-rate").write_text("base: quickstart\n" + GRID, encoding="utf-8")
    Path("quickstart").write_text("model: {hidden_size: 7}\n", encoding="utf-8")
    plan = read_plan("learning-rate")
    assert (plan.name, plan.method) == ("learning-rate", "grid")
    assert {trial.settings.model.hidden_size for trial in trials(plan)} == {7}


def test_a_byte_order_mark_is_no_part_of_a_sweep(tmp_path):
    (tmp_path / "cells.yaml").write_text(GRID, encoding="utf-8-sig")
    assert read_plan(tmp_path / "cells.yaml").space.keys == ("model.cell",)
    (tmp_path / "cells.yaml").write_text(GRID, encoding="utf-16")
    with pytest.raises(ConfigError, match=r"cells.yaml: not UTF-8 text \(byte 0\)"):
        read_plan(tmp_path / "cells.yaml")


def test_an_option_cannot_set_what_varies(sweep_file):
    for option in ("model.cell=lstm", "model={cell: lstm}", "model=null", "model.cell.x=1"):
        with pytest.raises(ConfigError, match=r"model.cell varies here, and --set .* would set it .*cells.yaml:1"):
            read_plan(sweep_file(GRID), overrides=[option])
    plan = read_plan(sweep_file(GRID), overrides=["model={hidden_size: 8}"])
    assert {trial.settings.model.hidden_size for trial in trials(plan)} == {8}


def test_an_option_cannot_set_what_rungs_replace(sweep_file):
    for option in ("train.minutes=3", "train={max_steps: 5}", "train.epochs=2"):
        with pytest.raises(ConfigError, match=r"stop_early.rungs set the budget, and --set .* would set train\."):
            read_plan(sweep_file(GRID + "stop_early: {rungs: [5, 9]}\n"), overrides=[option])


def test_a_missing_file_names_the_bundled_ones(tmp_path):
    with pytest.raises(
        ConfigError, match=r"cannot read the sweep .*: no such file.*; the bundled ones are cells, grad"
    ):
        read_plan(tmp_path / "nothing.yaml")


@pytest.mark.parametrize("name", shipped_sweeps())
def test_each_bundled_sweep_can_be_read(name):
    plan = read_plan(name)
    assert plan.name == name
    assert len(trials(plan)) >= 6


def test_the_bundled_comparison_of_cells_is_what_it_says():
    from charlm.networks.shapes import num_numbers, parameter_shapes

    found = trials(read_plan("cells"))
    assert len(found) == 18
    shapes = {(trial.settings.model.cell, trial.settings.model.num_layers) for trial in found}
    assert shapes == {(cell, layers) for cell in ("rnn", "gru", "lstm") for layers in (1, 2)}
    sizes = [num_numbers(parameter_shapes(trial.settings.model, 62).values()) for trial in found]
    assert max(sizes) / min(sizes) < 1.01


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        ([], ["seed0-07bf80b6", "seed1-762bd159"]),
        (["corpus.clean=none"], ["seed0-07bf80b6", "seed1-762bd159"]),
        (["corpus.clean=letters"], ["seed0-521de209", "seed1-56409787"]),
        (["corpus.clean.newline=lf"], ["seed0-0564e229", "seed1-84ff621b"]),
        (["corpus.path=[/a/a.txt, /a/b.txt]"], ["seed0-943128e0", "seed1-50a2afaa"]),
    ],
)
def test_trials_keep_the_names_that_they_had_before_defaults_changed(overrides: list[str], names: list[str]) -> None:
    plan = plan_seeds(load_settings(overrides=overrides), 2)
    assert [trial.name for trial in make_trials(plan, 0, ())] == names
    assert plan.name == f"seeds-{names[0].removeprefix('seed0-')}"

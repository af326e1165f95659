"""`charlm inspect`: what it prints, draws and refuses, for every kind of network."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from terminals import terminal
from typer.testing import Result

import charlm
from charlm.reports.insight_pictures import gate_picture, gradient_picture, insight_picture, memory_picture
from charlm.runs.run import Run
from charlm.settings.schema import Settings

Charlm = Callable[..., Result]
Trained = Callable[..., Run]


@pytest.fixture(scope="module")
def train_tiny(tiny_settings: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Return a function that trains for a few steps; the runs of this module share a folder."""
    folder = tmp_path_factory.mktemp("inspected") / "runs"

    def make(name: str, *overrides: str) -> Run:
        settings = tiny_settings("train.max_steps=3", *overrides)
        return charlm.train(settings, name=name, runs_dir=folder, progress=False)

    return make


def test_the_findings_of_several_cells_stand_side_by_side(charlm_command: Charlm, train_tiny: Trained) -> None:
    runs = [train_tiny(cell, f"model.cell={cell}").path for cell in ("rnn", "gru", "lstm")]
    shown = charlm_command("inspect", *runs, "--chars=60")
    assert (shown.exit_code, shown.stderr) == (0, "")
    for word in (
        "RNN, 1 layer of 8",
        "GRU",
        "the bound 1",
        "forget f",
        "update z",
        "hidden h",
        "95 % interval",
        "n-grams",
    ):
        assert word in shown.stdout
    record = json.loads(charlm_command("inspect", *runs, "--json", "--chars=60").stdout)
    assert [each["run"] for each in record["runs"]] == ["rnn", "gru", "lstm"]
    assert record["runs"][0]["gates"][0]["units"][7]
    assert record["runs"][0]["gradients"]["layers"][0]["cell"] is None
    assert record["runs"][2]["gradients"]["layers"][0]["cell"][0] > 0


def test_the_library_finds_what_the_command_prints(charlm_command: Charlm, trained: Run) -> None:
    record = json.loads(charlm_command("inspect", trained.path, "--json", "--show", "gradients,memory").stdout)
    (found,) = charlm.inspect(trained, show=["gradients", "memory"])
    assert found.gradients is not None
    assert record["runs"][0]["gradients"]["layers"][0]["hidden"] == list(found.gradients.layers[0].hidden)
    assert record["runs"][0]["gates"] is None
    assert found.reading is not None
    assert found.reading.name == "the validation split"


def test_start_is_the_network_before_its_training(train_tiny: Trained, charlm_command: Charlm) -> None:
    run = train_tiny("began", "model.num_layers=2", "train.seed=5", "model.init=orthogonal")
    fresh, trained = charlm.inspect(run, show=["gradients", "jacobians"], checkpoint=["start", "best"], max_chars=60)
    assert (fresh.step, trained.step) == (0, 3)
    assert fresh.clipping is None
    assert trained.clipping is not None
    assert fresh.spectra is not None
    assert [spectrum.norm for spectrum in fresh.spectra] == pytest.approx([1.0] * 8, abs=1e-5)
    shown = charlm_command("inspect", run.path, "--checkpoint", "0,best", "--show", "gradients", "--chars=60")
    assert "run began, start: LSTM" in shown.stdout
    assert "run began, step 3: LSTM" in shown.stdout


def test_what_is_named_twice_counts_once_and_equal_names_become_paths(train_tiny: Trained, tmp_path: Path) -> None:
    run = train_tiny("twin")
    shutil.copytree(run.path, tmp_path / "twin")
    found = charlm.inspect(
        run, run.path, tmp_path / "twin", show=["gradients"], checkpoint=["start", "last"], max_chars=40
    )
    assert [each.run for each in found] == [str(run.path)] * 2 + [str(tmp_path / "twin")] * 2
    assert found[1].gradients == found[3].gradients
    assert len(gradient_picture(found).panels) == 2


def test_the_chosen_step_is_inspected_and_a_missing_one_is_refused(charlm_command: Charlm, trained: Run) -> None:
    assert "step 60:" in charlm_command("inspect", trained.path, "--checkpoint=60", "--show=gates").stdout
    refused = charlm_command("inspect", trained.path, "--checkpoint=61")
    assert refused.exit_code != 0
    assert "61" in refused.stderr


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("both", ["model.direction=bidirectional"]),
        ("back", ["model.direction=backward"]),
        ("norm", ["model.layer_norm=true", "model.cell=gru"]),
        ("zone", ["model.zoneout=0.1", "model.zoneout_cells=0.2"]),
        ("deep", ["model.num_layers=3", "model.residual=true", "model.cell=rnn", "model.activation=relu"]),
        ("tied", ["model.embedding_size=8", "model.tied_embeddings=true", "model.learned_state=true"]),
        ("sigmoid", ["model.cell=rnn", "model.activation=sigmoid"]),
    ],
)
def test_every_kind_of_network_is_inspected(
    name: str, overrides: list[str], train_tiny: Trained, charlm_command: Charlm
) -> None:
    run = train_tiny(name, *overrides)
    shown = charlm_command("inspect", run.path, "--chars", "60")
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert ("forward half" in shown.stdout) == (name == "both")


def test_a_leaky_network_is_refused_by_name(train_tiny: Trained, charlm_command: Charlm) -> None:
    refused = charlm_command("inspect", train_tiny("leaky", "model.direction=leaky").path)
    assert refused.exit_code == 2
    assert "run leaky is leaky" in refused.stderr


def test_items_are_read_one_by_one(charlm_command: Charlm, listed: Run) -> None:
    shown = charlm_command("inspect", listed.path)
    assert (shown.exit_code, shown.stderr) == (0, "")
    record = json.loads(charlm_command("inspect", listed.path, "--show", "gradients", "--json").stdout)
    counts = record["runs"][0]["gradients"]["num_at_lag"]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < counts[0]


def test_an_exported_file_is_inspected_on_a_text_that_is_named(
    charlm_command: Charlm, trained: Run, tmp_path: Path
) -> None:
    file, text = tmp_path / "model.charlm", tmp_path / "other.txt"
    text.write_text("the cat sat on the mat.\n" * 20, encoding="utf-8")
    charlm_command("export", trained.path, "-o", file)
    shown = charlm_command("inspect", file, "--corpus", text, "--unknown", "skip")
    assert shown.exit_code == 0
    assert "other.txt" in shown.stdout
    assert "gradient norm at" not in shown.stdout


def test_what_needs_no_text_is_shown_where_the_text_is_gone(
    charlm_command: Charlm, tiny_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat, and the dog sat on the log.\n" * 30, encoding="utf-8")
    settings = tiny_settings("train.max_steps=3", f"corpus.path='{text}'")
    run = charlm.train(settings, name="gone", runs_dir=tmp_path / "runs", progress=False)
    text.unlink()
    shown = charlm_command("inspect", run.path)
    assert shown.exit_code == 0
    assert "only what needs no text is measured" in shown.stderr
    assert "spectral radius" in shown.stdout
    assert "Mean norm" not in shown.stdout
    for asked in ("--split=val", "--neuron=1:1"):
        refused = charlm_command("inspect", run.path, asked)
        assert (refused.exit_code, refused.stdout, len(refused.stderr.splitlines())) == (3, "", 1)


def test_the_picture_has_all_that_was_found(charlm_command: Charlm, trained: Run, tmp_path: Path) -> None:
    file = tmp_path / "inside.svg"
    shown = charlm_command("inspect", trained.path, "--chars=60", "-o", file)
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert f"{file}: " in shown.stdout
    drawn = file.read_text(encoding="utf-8")
    assert drawn.startswith("<?xml")
    assert charlm_command("inspect", trained.path, "--chars=60", "-o", file).exit_code == 2
    assert file.read_text(encoding="utf-8") == drawn
    assert charlm_command("inspect", trained.path, "--chars=60", "-o", file, "--force").exit_code == 0


def test_pictures_name_networks_once_and_keep_their_looks(train_tiny: Trained) -> None:
    found = charlm.inspect(
        train_tiny("one"), train_tiny("two", "model.num_layers=2"), checkpoint=["start", "last"], max_chars=60
    )
    picture = gradient_picture(found)
    titles = ["layer 1, start", "layer 1, step 3", "layer 2, start", "layer 2, step 3"]
    assert [panel.title for panel in picture.panels] == titles
    assert [key.label for key in picture.keys][:2] == ["one", "two"]
    assert {line.number for line in picture.panels[3].lines} == {1}
    memory = memory_picture(found)
    assert [panel.title for panel in memory.panels] == ["start", "step 3"]
    for panel in memory.panels:
        assert [line.label for line in panel.lines] == ["one", "two", "n-grams with contexts of k"]
    gates = gate_picture(found)
    assert [panel.title for panel in gates.panels][:3] == [
        "one, start, layer 1",
        "one, step 3, layer 1",
        "two, start, layer 1",
    ]
    assert len(gates.panels) == 6
    whole = insight_picture(found)
    assert len(whole.panels) == 12
    numbers = [key.number for key in whole.keys if key.number is not None]
    assert len(set(numbers)) == len(numbers)
    for panel in whole.panels:
        for line in panel.lines:
            assert all(math.isfinite(dot.y) for dot in line.dots)


@pytest.mark.parametrize("part", ["h", "c", "f"])
def test_a_unit_colours_the_text_with_its_own_values(charlm_command: Charlm, trained: Run, part: str) -> None:
    shown = charlm_command("inspect", trained.path, "--neuron", f"1:3:{part}", "--chars=30")
    assert (shown.exit_code, shown.stderr) == (0, "")
    head, *rows = shown.stdout.splitlines()
    assert head == "position\tcharacter\tvalue"
    assert len(rows) == 30
    record = json.loads(
        charlm_command("inspect", trained.path, "--neuron", f"1:3:{part}", "--chars=30", "--json").stdout
    )
    model = charlm.open_run(trained)
    _, ids = model.encode(record["text"], "prefix")
    state = model.network.initial_state(1)
    for row, place, value in zip(rows, range(30), record["values"], strict=True):
        _, state = model.network(torch.tensor(ids[place : place + 1].astype("int64"))[:, None], state)
        assert row.endswith(f"{value:.4f}")
        if part != "f":
            assert value == pytest.approx(state["hc".index(part)][0, 0, 2].item(), abs=1e-5)


def test_a_unit_is_shown_on_the_training_text_where_there_is_no_other(
    train_tiny: Trained, charlm_command: Charlm
) -> None:
    run = train_tiny("whole", "corpus.split=none")
    shown = charlm_command("inspect", run.path, "--neuron=1:1", "--chars=30")
    assert (shown.exit_code, shown.stderr, len(shown.stdout.splitlines())) == (0, "", 31)


def test_a_unit_of_a_backward_model_stands_beside_its_own_character(
    train_tiny: Trained, charlm_command: Charlm
) -> None:
    run = train_tiny("backwards", "model.direction=backward", "model.cell=gru")
    record = json.loads(charlm_command("inspect", run.path, "--neuron=1:1:z", "--chars=50", "--json").stdout)
    (found,) = charlm.inspect(run, show=["gates"], max_chars=50)
    assert found.gates is not None
    below = sum(value < 0.1 for value in record["values"]) / 50
    assert found.gates[1].units[0][0] == pytest.approx(below)
    (text,) = run.settings().corpus.path
    assert record["text"] in Path(text).read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_terminal_shows_the_units_that_were_found_and_then_pictures(trained: Run) -> None:
    with terminal("inspect", trained.path, "--chars=200") as screen:
        assert screen.wait() == 0
    shown = screen.shown.decode()
    assert shown.index("Units that follow a feature") < shown.rindex("nats per character")
    assert "\x1b[1m" in shown


def test_a_terminal_colours_the_text_by_a_unit(trained: Run) -> None:
    with terminal("inspect", trained.path, "--neuron=1:1", "--chars=200") as screen:
        assert screen.wait() == 0
    assert "\x1b[37;44m" in screen.shown.decode()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{run}", "--neuron", "37"], "named by its layer and its number"),
        (["{run}", "--neuron", "1:99"], "no unit 99"),
        (["{run}", "--neuron", "2:1"], "no layer 2"),
        (["{run}", "--neuron", "1:1:z"], "has no 'z'"),
        (["{run}", "--neuron", "1:1", "-o", "unit.svg"], "without -o"),
        (["{run}", "--neuron", "1:1", "--show", "gates"], "without --show"),
        (["no-such-run"], "there is no run no-such-run"),
        (["{run}", "--show", "gradient"], "did you mean gradients?"),
        (["{run}", "--show", "everything"], "--show must be among"),
        (["{run}", "--checkpoint", "first"], "--checkpoint must be best, last, start"),
        (["{run}", "--checkpoint", "best,99"], "99"),
        (["{run}", "-o", "inside.gif"], ".svg, .png or .pdf"),
        (["{run}", "--force"], "needs -o FILE"),
        (["{run}", "--chars", "1"], "--chars"),
        (["{run}", "--corpus", "missing.txt"], "missing.txt"),
        (["{run}", "--split", "val", "--corpus", "missing.txt"], "either --corpus or --split"),
    ],
)
def test_what_a_tired_user_types_gets_a_sentence(
    arguments: list[str], sentence: str, charlm_command: Charlm, trained: Run
) -> None:
    typed: list[Any] = [str(trained.path) if word == "{run}" else word for word in arguments]
    refused = charlm_command("inspect", *typed)
    assert refused.exit_code in (2, 3, 4)
    assert sentence in refused.stderr
    assert refused.stdout == ""

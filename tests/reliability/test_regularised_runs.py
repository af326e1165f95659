"""Runs with every regulariser are resumed to the last bit, measured, and used for writing."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import torch
from pairs import one_in
from safetensors.torch import load_file
from torch.testing import assert_close
from typer.testing import Result

import charlm
from charlm.runs.checkpoints import load_checkpoint
from charlm.runs.restoring import restore_model
from charlm.runs.run import Run
from charlm.training.events import Step

SHARED = (
    *("model.num_layers=2", "model.dropout=0.2", "model.input_dropout=0.1", "model.output_dropout=0.2"),
    *("model.recurrent_dropout=0.2", "model.residual=true", "model.learned_state=true"),
    *("optimizer.label_smoothing=0.1", "eval.baselines=false"),
)
# Our cells are slow: nine windows an epoch, and a little more than one of them.
SHORT = ("corpus.max_chars=600", "sampling.seq_len=15", "train.max_steps=12")
TIED = ("model.embedding_size=8", "model.tied_embeddings=true")
RUNS: dict[str, tuple[str, ...]] = {
    "everything": (
        *(*SHORT, *SHARED, *TIED, "model.locked_dropout=true"),
        *("model.zoneout=0.1", "model.zoneout_cells=0.2", "model.layer_norm=true"),
    ),
    "everything, both ways": (
        *(*SHORT, *SHARED, "model.embedding_size=5", "model.locked_dropout=true", "model.cell=gru"),
        *("model.zoneout=0.1", "model.layer_norm=true", "model.direction=bidirectional", "model.lookahead=5"),
    ),
    "backward": (*SHARED, *TIED, "model.direction=backward", "model.cell=gru"),
    "random windows": (*SHARED, "sampling.method=random", "model.cell=rnn", "optimizer.accumulation=2"),
    "torch": (*SHARED, *TIED, "model.locked_dropout=true", "model.implementation=torch"),
}


@pytest.mark.parametrize("name", one_in(2, RUNS))
def test_a_cut_run_is_the_uncut_run(laboratory: Any, endurance: Any, name: str) -> None:
    random = Random(f"{endurance.seed} {name}")
    cuts = laboratory.cuts(random, *sorted(random.sample(range(1, 12), 3)))
    assert laboratory.difference(cuts, *RUNS[name]) is None, cuts


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_measured_by_the_command_as_it_measured_itself(
    laboratory: Any, charlm_command: Callable[..., Result], name: str
) -> None:
    run: Run = laboratory.whole(*RUNS[name])
    summary = run.summary()
    assert summary is not None
    for split in ("val", "test"):
        record = json.loads(charlm_command("eval", f"--run={run.path}", f"--split={split}", "--json").stdout)
        assert record["bpc"] == summary[f"{split}_bpc"]
    known = "--suffix= the" if "model.direction=backward" in RUNS[name] else "--prefix=the "
    shown = charlm_command("generate", known, f"--run={run.path}", "--length=30").stdout
    assert "the" in shown
    assert len(shown) >= 30
    text = "the cat sat on the mat."
    assert len(list(charlm.score(charlm.open_run(run), text))) == len(text)


@pytest.mark.parametrize("name", RUNS)
def test_a_checkpoint_holds_each_tensor_once_and_what_was_learned(laboratory: Any, name: str) -> None:
    run: Run = laboratory.whole(*RUNS[name])
    checkpoint = load_checkpoint(run, "last")
    network = restore_model(checkpoint)
    saved = load_file(checkpoint_folder(run) / "model.safetensors")
    assert_close(dict(network.state_dict()), saved, rtol=0, atol=0)
    halves = 2 if "model.direction=bidirectional" in RUNS[name] else 1
    has_table = any(option.startswith("model.embedding_size") for option in RUNS[name])
    is_tied = "model.tied_embeddings=true" in RUNS[name]
    assert sum("embedding" in key for key in saved) == (halves if has_table and not is_tied else 0)
    assert sum(key.endswith("decoder.weight") for key in saved) == halves
    # Each half's states have left their zeros, and its norms their ones.
    states = [value for key, value in saved.items() if "initial" in key]
    assert len(states) == halves * (1 if "model.cell=gru" in RUNS[name] or "model.cell=rnn" in RUNS[name] else 2)
    assert all(value.ne(0).any() for value in states)
    gains = [value for key, value in saved.items() if "gain" in key]
    assert bool(gains) == ("model.layer_norm=true" in RUNS[name])
    assert all(value.ne(1).any() for value in gains)


def checkpoint_folder(run: Run) -> Any:
    """Return the folder of the newest checkpoint."""
    return run.checkpoint_paths()[-1]


def test_smoothing_changes_what_is_learned_and_not_how_it_is_measured(laboratory: Any) -> None:
    tellings = []
    for share in (0.0, 0.5):
        settings = laboratory.make("train.max_steps=3", f"optimizer.label_smoothing={share}")
        reports = laboratory.session(laboratory.folder(), settings)
        tellings.append([report.figures.main.nats for report in reports if isinstance(report, Step)])
    assert tellings[0][0] == tellings[1][0]
    assert tellings[0][1] != tellings[1][1]


@pytest.mark.kernels
def test_a_run_of_the_kernels_is_also_the_references(laboratory: Any) -> None:
    ends = []
    for implementation in ("native", "reference"):
        run: Run = laboratory.whole(*SHARED, *TIED, f"model.implementation={implementation}")
        ends.append(load_checkpoint(run, "last").state["val_nats_per_char"])
        assert run.environment()["implementation"] == implementation
        with torch.no_grad():
            assert "".join(charlm.generate(charlm.open_run(run), "the ", length=20))
    # Rounding differs from the first step onwards.
    assert ends[0] == pytest.approx(ends[1], abs=1e-3)

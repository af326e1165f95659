"""A run of the native implementation has the same bits on any number of threads, whichever it is resumed with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import charlm
from charlm.kernels.library import Kernels, load_kernels
from charlm.networks import implementations
from charlm.runs.checkpoints import load_checkpoint
from charlm.runs.run import Run
from charlm.settings.schema import Settings
from charlm.training.events import Start
from charlm.training.resume import describe_change

MakeSettings = Callable[..., Settings]
pytestmark = [pytest.mark.kernels, pytest.mark.usefixtures("set_threads")]

# Large enough for torch to divide its operations among threads, where it may: more than 32,768 numbers.
LARGE = (
    "model.implementation=native",
    "model.hidden_size=64",
    "sampling.batch_size=24",
    "sampling.seq_len=24",
    "train.max_steps=4",
    "train.eval_every=2",
    "eval.baselines=false",
    "sample.every=2",
    "optimizer.clip_norm=0.1",
)
RUNS: dict[str, tuple[str, ...]] = {
    "lstm with dropout and an average": (
        *("model.cell=lstm", "model.num_layers=2", "model.dropout=0.2", "model.output_dropout=0.1"),
        *("optimizer.average={method: ema}", "optimizer.label_smoothing=0.1", "model.init=orthogonal"),
    ),
    "gru with an embedding and locked dropout": (
        *("model.cell=gru", "model.embedding_size=64", "model.tied_embeddings=true", "model.locked_dropout=true"),
        *("model.input_dropout=0.2", "model.recurrent_dropout=0.1", "optimizer.clip_value=0.01"),
    ),
    "residual rnn with sgd": (
        *("model.cell=rnn", "model.num_layers=2", "model.residual=true", "optimizer.method=sgd"),
        *("optimizer.momentum=0.9", "optimizer.accumulation=2", "model.learned_state=true"),
    ),
    "bidirectional": ("model.direction=bidirectional", "model.cell=gru", "model.output_dropout=0.1"),
    "items": ("corpus.items=lines", "optimizer.method=adamw", "optimizer.weight_decay=0.1"),
    "bfloat16": ("train.precision=bfloat16", "model.cell=lstm", "optimizer.label_smoothing=0.1"),
    "rmsprop": ("optimizer.method=rmsprop", "sampling.method=random"),
}


def assert_same_bits(one: Run, other: Run) -> None:
    """Check that two runs have the same weights, moments, states, figures and samples."""
    first, second = load_checkpoint(one, "last"), load_checkpoint(other, "last")
    assert first.state["fingerprint"] == second.state["fingerprint"]
    assert first.state["val_nats_per_char"] == second.state["val_nats_per_char"]
    for tensors, others in ((first.model, second.model), (first.training, second.training)):
        assert tensors.keys() == others.keys()
        for name, tensor in tensors.items():
            assert np.array_equal(tensor, others[name]), name
    assert one.samples() == other.samples()
    figures = [
        [{key: value for key, value in each.items() if "second" not in key and key != "run"} for each in run.metrics()]
        for run in (one, other)
    ]
    assert figures[0] == figures[1]


@pytest.mark.parametrize("name", RUNS)
def test_a_run_has_the_same_bits_on_any_number_of_threads(
    name: str, tiny_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = load_kernels()
    assert isinstance(kernels, Kernels)
    # A processor without instructions for bfloat16 computes it with plain loops.
    monkeypatch.setattr(implementations, "load_kernels", lambda: replace(kernels, has_bfloat16=True))
    runs = [
        charlm.train(
            tiny_settings(*LARGE, *RUNS[name], f"train.threads={count}"), name=f"on-{count}", runs_dir=tmp_path
        )
        for count in (1, 2, 3, 4)
    ]
    for run in runs[1:]:
        assert_same_bits(runs[0], run)
    assert [run.environment()["threads"] for run in runs] == [1, 2, 3, 4]


def resumed(run: Run, **options: Any) -> tuple[Run, str | None]:
    """Resume a run, and return it with the note that it began with."""
    starts: list[Start] = []
    ended = charlm.train(
        name=run.name,
        runs_dir=run.path.parent,
        resume=True,
        observe=lambda report: starts.append(report) if type(report) is Start else None,
        **options,
    )
    return ended, starts[0].note


def test_a_run_goes_on_with_another_number_of_threads_to_the_same_bits(
    tiny_settings: MakeSettings, tmp_path: Path
) -> None:
    whole = charlm.train(tiny_settings(*LARGE, "train.threads=1"), name="whole", runs_dir=tmp_path)
    part = charlm.train(tiny_settings(*LARGE, "train.threads=1", "train.max_steps=2"), name="part", runs_dir=tmp_path)
    ended, note = resumed(part, overrides=["train.threads=3", "train.max_steps=4"])
    assert note is None
    assert ended.settings().train.threads == 3
    assert_same_bits(ended, whole)


def test_an_older_fingerprint_with_threads_is_compared_in_everything_else(
    tiny_settings: MakeSettings, tmp_path: Path
) -> None:
    run = charlm.train(tiny_settings("model.implementation=native"), name="run", runs_dir=tmp_path)
    now = load_checkpoint(run, "last").state["fingerprint"]
    assert "threads" not in now
    assert describe_change({**now, "threads": 7}, now) is None
    told = describe_change({**now, "threads": 7, "kernels": "x86-64-v4 0123"}, now)
    assert told is not None
    assert told.startswith("kernels x86-64-v4 0123 then")
    assert "threads" not in told

"""Training on items equals training on each alone, and a cut run of items is the uncut one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from charlm.library.training import train
from charlm.networks.building import build_model
from charlm.networks.language_model import CharLM
from charlm.networks.recurrent import detach_state
from charlm.runs.run import Run
from charlm.settings.schema import Settings
from charlm.text.item_windows import read_item_batches
from charlm.text.items import item_places
from charlm.training.events import Step
from charlm.training.launch import train_reports
from charlm.training.optimizer import build_optimizer
from charlm.training.step import take_step

V = 7
IMPLEMENTATIONS = ["torch", "reference", pytest.param("native", marks=pytest.mark.kernels)]
# Of two items, the longer is three windows long.
LENGTHS = (4, 20)


def settings_of(implementation: str, **parts: Any) -> Settings:
    """Return settings of plain gradient descent, with windows of 8 characters and room for all items in a batch."""
    sections = {
        "sampling": {"batch_size": 8, "seq_len": 8},
        "model": {"cell": "lstm", "hidden_size": 5, "num_layers": 2, "implementation": implementation},
        "optimizer": {"method": "sgd", "learning_rate": 0.5, "clip_norm": None},
        "train": {"max_steps": 9},
    }
    return Settings.model_validate({name: section | parts.get(name, {}) for name, section in sections.items()})


def draw_items(seed: int = 0) -> np.ndarray:
    """Return items of random characters between boundaries, which have the id 0."""
    random = np.random.default_rng(seed)
    return np.concatenate([[0], *(np.append(random.integers(1, V, size), 0) for size in LENGTHS)]).astype(np.uint8)


def plain_loss(network: CharLM, ids: np.ndarray, seq_len: int) -> torch.Tensor:
    """Return the mean loss of all characters, item by item, with back-propagation cut at the ends of windows."""
    losses: list[torch.Tensor] = []
    for place, length in zip(*item_places(ids, 0), strict=True):
        text = torch.from_numpy(ids[place : place + length + 1].astype(np.int64))
        state = network.initial_state(1)
        for start in range(0, int(length), seq_len):
            window = text[start : start + seq_len + 1]
            logits, state = network(window[:-1, None], detach_state(state))
            losses.append(cross_entropy(logits[:, 0], window[1:], reduction="none"))
    return torch.cat(losses).mean()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_step_is_that_of_each_item_alone(implementation: str) -> None:
    settings, ids = settings_of(implementation), draw_items()
    network = build_model(settings.model, V, seed=0)
    assert isinstance(network, CharLM)
    loss = plain_loss(network, ids, 8)
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    (batch,) = read_item_batches(ids, 0, settings.sampling, seed=0, epoch=0)
    assert [window.inputs.shape for window in batch] == [(8, 2), (8, 1), (5, 1)]
    state = detach_state(network.initial_state(8))
    optimizer = build_optimizer(network.parameters(), settings.optimizer)
    outcome = take_step(network, optimizer, batch, state, settings=settings, step=0, learning_rate=0.5)
    assert outcome.figures.main.num_predicted == len(ids) - 1
    assert outcome.figures.main.nats_per_char == pytest.approx(loss.item(), rel=1e-5)
    assert {part.shape[1] for part in outcome.state} == {8}
    found = [parameter.grad for parameter in network.parameters()]
    assert_close(found, list(gradients), rtol=1e-4, atol=1e-6)


def test_a_long_item_carries_its_state_from_step_to_step() -> None:
    settings, ids = settings_of("reference", sampling={"batch_size": 1}), draw_items()
    network = build_model(settings.model, V, seed=0)
    assert isinstance(network, CharLM)
    optimizer = build_optimizer(network.parameters(), settings.optimizer)
    state = detach_state(network.initial_state(1))
    nats = 0.0
    for batch in read_item_batches(ids, 0, settings.sampling, seed=0, epoch=0):
        # Nothing is learned, so that the loss of all steps is that of the items.
        outcome = take_step(network, optimizer, batch, state, settings=settings, step=0, learning_rate=0.0)
        nats, state = nats + outcome.figures.main.nats, outcome.state
    assert nats / (len(ids) - 1) == pytest.approx(plain_loss(network, ids, 8).item(), rel=1e-5)


@pytest.fixture
def item_settings(names_file: Path, tiny_settings: Callable[..., Settings], tmp_path: Path) -> Callable[..., Settings]:
    """Return a function that makes tiny settings for a list in which some items are several windows long."""
    lines = names_file.read_text(encoding="utf-8").splitlines()[:60]
    path = tmp_path / "list.txt"
    path.write_text("\n".join([*lines, *("".join(lines[start::7]) for start in range(7))]), encoding="utf-8")

    def make(*overrides: str) -> Settings:
        return tiny_settings(
            f"corpus.path='{path}'", "corpus.items=lines", "corpus.split=80/10/10", "sample.prefixes=null", *overrides
        )

    return make


def weights_of(run: Run) -> dict[str, bytes]:
    """Return the files of a run's last checkpoint that hold numbers."""
    folder = run.checkpoint_paths()[-1]
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def _go_on(settings: Settings, run: Run, steps: list[Step]) -> None:
    """Train a run until it has taken a step."""
    options: dict[str, Any] = {"name": run.name, "runs_dir": run.path.parent, "resume": True}
    for report in train_reports(settings, **options, should_stop=lambda: "interrupt" if steps else None):
        if isinstance(report, Step):
            steps.append(report)


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("optimizer.accumulation=2", "model.direction=backward"),
        pytest.param(("sampling.method=random", "model.cell=gru"), marks=pytest.mark.slow),
        pytest.param(("optimizer.average.method=ema", "model.learned_state=true"), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_a_run_of_items_that_is_cut_at_every_step_is_the_uncut_run(
    item_settings: Callable[..., Settings], tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    settings = item_settings("train.max_steps=4", "train.eval_every=2", "eval.baselines=false", *overrides)
    whole = train(settings, name="run", runs_dir=tmp_path / "whole")
    cut = Run(tmp_path / "cut" / "run")
    for _ in range(4):
        steps: list[Step] = []
        _go_on(settings, cut, steps)
        assert len(steps) == 1
    assert weights_of(cut) == weights_of(whole)


def test_samples_of_items_are_whole_items_from_nothing(listed: Run) -> None:
    samples = [sample for table in listed.samples() for sample in table.samples]
    assert {sample.prefix for sample in samples} == {""}
    assert all("\n" not in sample.continuation for sample in samples)

"""Whole training steps in characters per second: ours against the classic loop, in turn."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from charlm.networks.building import build_model
from charlm.networks.recurrent import detach_state
from charlm.settings.schema import Cell, Implementation, ModelSettings, SamplingSettings, Settings
from charlm.text.windows import Window
from charlm.training.optimizer import build_optimizer
from charlm.training.step import take_step

CLASSIC_CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
STEPS_A_ROUND = 5


@dataclass(frozen=True)
class Comparison:
    """Speeds measured in interleaved rounds.

    Args:
        cell: of both.
        classic: characters per second of the classic loop, one for each round.
        ours: likewise.
    """

    cell: Cell
    classic: tuple[float, ...]
    ours: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Median over the rounds of ours / classic."""
        return median(our / classic for our, classic in zip(self.ours, self.classic, strict=True))

    @property
    def ratio_range(self) -> tuple[float, float]:
        """Lowest and highest of the rounds' ratios."""
        ratios = [our / classic for our, classic in zip(self.ours, self.classic, strict=True)]
        return min(ratios), max(ratios)

    def as_record(self) -> dict[str, object]:
        """Return a JSON object: medians in characters per second, the ratio and its spread."""
        return {
            "cell": self.cell,
            "classic_chars_per_second": median(self.classic),
            "charlm_chars_per_second": median(self.ours),
            "ratio": self.ratio,
            "ratio_range": list(self.ratio_range),
            "rounds": len(self.ours),
        }


def compare_speed(
    cell: Cell,
    *,
    implementation: Implementation = "auto",
    hidden_size: int = 256,
    num_layers: int = 1,
    batch_size: int = 32,
    seq_len: int = 64,
    vocab_size: int = 65,
    rounds: int = 9,
    device: str = "cpu",
) -> Comparison:
    """Measure both loops in turn on the same random text, after a warm-up that is not counted.

    The classic loop is what a notebook does: torch.nn with one-hot inputs, zero_grad, backward, clip, Adam.
    """
    settings = Settings(
        model=ModelSettings(cell=cell, hidden_size=hidden_size, num_layers=num_layers, implementation=implementation),
        sampling=SamplingSettings(batch_size=batch_size, seq_len=seq_len),
    )
    windows = _random_windows(vocab_size, batch_size, seq_len)
    target = torch.device(device)
    loops = (
        _classic_loop(settings, vocab_size, windows, target),
        _our_loop(settings, vocab_size, windows, target),
    )
    speeds = [[_speed(loop, batch_size * seq_len, target) for loop in loops] for _ in range(rounds + 1)]
    return Comparison(cell, tuple(pair[0] for pair in speeds[1:]), tuple(pair[1] for pair in speeds[1:]))


def _speed(loop: Iterator[None], chars_a_step: int, device: torch.device) -> float:
    began = time.perf_counter()
    for _ in range(STEPS_A_ROUND):
        next(loop)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return STEPS_A_ROUND * chars_a_step / (time.perf_counter() - began)


def _random_windows(vocab_size: int, batch_size: int, seq_len: int) -> list[Window]:
    generator = np.random.default_rng(0)
    text = generator.integers(vocab_size, size=(seq_len + 1, batch_size), dtype=np.uint8)
    return [Window(text[:-1], text[1:], text[:0])]


def _classic_loop(settings: Settings, vocab_size: int, windows: list[Window], device: torch.device) -> Iterator[None]:
    model = settings.model
    network = CLASSIC_CELLS[model.cell](vocab_size, model.hidden_size, model.num_layers).to(device)
    decoder = nn.Linear(model.hidden_size, vocab_size).to(device)
    parameters = [*network.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=settings.optimizer.learning_rate)

    state: Any = None
    while True:
        inputs = torch.from_numpy(windows[0].inputs.astype(np.int64)).to(device)
        targets = torch.from_numpy(windows[0].targets.astype(np.int64)).to(device)
        hidden, state = network(one_hot(inputs, vocab_size).float(), state)
        state = detach_state(state) if model.cell == "lstm" else state.detach()
        loss = cross_entropy(decoder(hidden).reshape(-1, vocab_size), targets.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        loss.item()
        yield


def _our_loop(settings: Settings, vocab_size: int, windows: list[Window], device: torch.device) -> Iterator[None]:
    network = build_model(settings.model, vocab_size, seed=0).to(device)
    optimizer = build_optimizer(network.parameters(), settings.optimizer)

    state = network.zero_state(settings.sampling.batch_size)
    while True:
        outcome = take_step(network, optimizer, windows, state, settings=settings, step=0, learning_rate=5e-3)
        state = outcome.state
        yield

"""Train RNN, GRU and LSTM of about equal size on a memory task, each at several learning rates, and test the best.

The number of steps is fixed, not the time, so that a random seed gives the same results wherever the arithmetic is the
same. Sequences are drawn anew for each step, so there is nothing to overfit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from charlm.insight.memory_records import CellMemory, LagAccuracy, MemoryFindings, RateTrial, reach_of, share_interval
from charlm.insight.memory_tasks import NOT_ASKED, MemoryTask, Sequences
from charlm.networks.building import build_model, num_parameters
from charlm.networks.language_model import CharLM
from charlm.networks.modes import single_threaded
from charlm.settings.model import Cell, ModelSettings
from charlm.settings.optimizer import OptimizerSettings
from charlm.training.optimizer import build_optimizer, clip_gradients, set_learning_rate

# Three for each cell, around the one that is best for most tasks: gates allow ten times larger ones.
RATES: dict[Cell, tuple[float, ...]] = {
    "rnn": (3e-4, 1e-3, 3e-3),
    "gru": (3e-3, 1e-2, 3e-2),
    "lstm": (3e-3, 1e-2, 3e-2),
}
BLOCKS: dict[Cell, int] = {"rnn": 1, "gru": 3, "lstm": 4}
RNN_SIZE, BATCH_SIZE, CLIP_NORM = 128, 64, 1.0
NUM_CHOOSING, NUM_TESTED = 100, 500
# How many steps all trainings together take per minute on one core of a current server.
STEPS_PER_MINUTE = 18_000
WARM_UP_STEPS, DECAY_FROM, LAST_SHARE = 20, 0.6, 0.1
REPORT_EVERY = 20
# The streams of random numbers of a seed.
TRAINING, CHOOSING, TESTING = range(3)


@dataclass(frozen=True)
class Trained:
    """A network, its learning rate, and its loss on the sequences that choose the rate."""

    network: CharLM
    trial: RateTrial


def num_trainings() -> int:
    """Return how many networks are trained: one for each cell and learning rate."""
    return sum(map(len, RATES.values()))


def steps_for(minutes: float) -> int:
    """Return how many steps each training has if all of them take about this long on the machine of the guide."""
    return max(1, round(minutes * STEPS_PER_MINUTE / num_trainings()))


def remember(task: MemoryTask, *, num_steps: int, seed: int, report: Callable[[str, int, int], None]) -> MemoryFindings:
    """Train and test the three cells.

    Args:
        task: the task.
        num_steps: the number of steps of each training.
        seed: the random seed of weights and sequences; all trainings see the same sequences.
        report: called with what is trained, how many steps of all trainings are done, and their total.
    """
    total, done = num_steps * num_trainings(), 0
    cells: list[CellMemory] = []
    for cell, rates in RATES.items():
        trained: list[Trained] = []
        # With two threads, networks this small took five times the CPU time where cores are shared.
        with single_threaded():
            for rate in rates:
                tell = partial(_tell, report, f"{cell.upper()} at {rate:g}", done, total)
                trained.append(train_cell(cell, task, learning_rate=rate, num_steps=num_steps, seed=seed, report=tell))
                done += num_steps
            cells.append(_tested(cell, task, trained, seed))
    return MemoryFindings(
        task=task.name,
        question=task.question,
        chance=task.chance,
        guess=task.guess,
        num_steps=num_steps,
        batch_size=BATCH_SIZE,
        longest_trained=task.longest_trained,
        seed=seed,
        cells=tuple(cells),
    )


def _tell(report: Callable[[str, int, int], None], what: str, before: int, total: int, step: int) -> None:
    report(what, before + step, total)


def train_cell(
    cell: Cell,
    task: MemoryTask,
    *,
    learning_rate: float,
    num_steps: int,
    seed: int,
    report: Callable[[int], None] = lambda _: None,
) -> Trained:
    """Train a network on sequences of random lags, with Adam, clipping by the norm, and a rate that falls at the end.

    Args:
        cell: the cell; an LSTM's forget gate begins with a bias of 1 (Gers et al. 2000; Jozefowicz et al. 2015).
        task: the task.
        learning_rate: the highest rate.
        num_steps: the number of steps.
        seed: the random seed.
        report: called with the number of steps that are done.
    """
    model = ModelSettings(
        cell=cell, hidden_size=equal_size(cell, task.vocab_size), forget_bias=1.0 if cell == "lstm" else None
    )
    network = build_model(model, task.vocab_size, seed=seed)
    assert isinstance(network, CharLM)
    settings = OptimizerSettings(method="adam", learning_rate=learning_rate, clip_norm=CLIP_NORM)
    optimizer = build_optimizer(network.parameters(), settings)
    generator = np.random.default_rng([seed, TRAINING])
    for step in range(num_steps):
        logits, targets = _answers(network, task.make(generator, task.draw_lag(generator), BATCH_SIZE))
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(cross_entropy(logits, targets))
        clip_gradients(network.parameters(), settings)
        set_learning_rate(optimizer, learning_rate * _share_of_rate(step, num_steps))
        optimizer.step()
        if (step + 1) % REPORT_EVERY == 0:
            report(step + 1)
    return Trained(network, RateTrial(learning_rate, _choosing_loss(network, task, seed)))


def equal_size(cell: Cell, vocab_size: int) -> int:
    """Return the hidden size with which a cell has about as many parameters as the RNN.

    A layer of H units has G (V H + H H + 2 H) parameters, with G blocks of weights, and the output layer V H + V.
    """
    half = _slope(cell, vocab_size) / (2 * BLOCKS[cell])
    wanted = RNN_SIZE**2 + _slope("rnn", vocab_size) * RNN_SIZE
    return round(math.sqrt(half**2 + wanted / BLOCKS[cell]) - half)


def _slope(cell: Cell, vocab_size: int) -> int:
    """Return how many parameters each unit has besides those of W_hh."""
    return BLOCKS[cell] * (vocab_size + 2) + vocab_size


def _share_of_rate(step: int, num_steps: int) -> float:
    """Return what share of the rate a step has: it rises at first and falls to a tenth at the end."""
    fallen = max(0.0, (step / num_steps - DECAY_FROM) / (1 - DECAY_FROM))
    return min(1.0, (step + 1) / WARM_UP_STEPS) * (1 - (1 - LAST_SHARE) * fallen)


def _answers(network: CharLM, sequences: Sequences) -> tuple[Tensor, Tensor]:
    """Return the logits (N, V) wherever something is asked, and the right answers (N,), from the first step on."""
    inputs, targets = torch.from_numpy(sequences.inputs), torch.from_numpy(sequences.targets)
    hidden, _ = network.read(inputs, network.initial_state(inputs.shape[1]))  # (T, B, H)
    asked = targets != NOT_ASKED
    return network.decode(hidden[asked]), targets[asked]


def _choosing_loss(network: CharLM, task: MemoryTask, seed: int) -> float | None:
    """Return the mean loss in nats over the trained lags, on sequences that neither train nor test; None if it is none.

    Lags that are not trained would choose the rate that carries over best, by chance.
    """
    lags = [lag for lag in task.lags if lag <= task.longest_trained]
    losses = [
        float(cross_entropy(logits, targets)) for logits, targets in _answers_at(lags, network, task, CHOOSING, seed)
    ]
    loss = sum(losses) / len(losses)
    return loss if math.isfinite(loss) else None


def _tested(cell: Cell, task: MemoryTask, trained: list[Trained], seed: int) -> CellMemory:
    """Test the network whose rate was best."""
    best = min(trained, key=lambda each: math.inf if each.trial.loss is None else each.trial.loss)
    lags: list[LagAccuracy] = []
    for lag, (logits, targets) in zip(
        task.lags, _answers_at(task.lags, best.network, task, TESTING, seed), strict=True
    ):
        share = float((logits.argmax(-1) == targets).double().mean())
        lags.append(LagAccuracy(lag, share, share_interval(share, NUM_TESTED), NUM_TESTED))
    return CellMemory(
        cell=cell,
        hidden_size=best.network.model.hidden_size,
        num_parameters=num_parameters(best.network),
        learning_rate=best.trial.learning_rate,
        trials=tuple(each.trial for each in trained),
        lags=tuple(lags),
        reach=reach_of(lags),
    )


def _answers_at(
    lags: Sequence[int], network: CharLM, task: MemoryTask, stream: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, for each lag, the logits (N, V) and the right answers (N,) of the questions that the lag is about."""
    generator = np.random.default_rng([seed, stream])
    for lag in lags:
        sequences = task.make(generator, lag, NUM_TESTED if stream == TESTING else NUM_CHOOSING)
        with torch.no_grad():
            logits, targets = _answers(network, sequences)
        # The last questions are asked of every sequence at once, and are the last in the order of time.
        number = sequences.num_tested * sequences.inputs.shape[1]
        yield logits[-number:], targets[-number:]

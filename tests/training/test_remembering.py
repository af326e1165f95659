"""Training on memory tasks: a network wired by hand answers all, a trained one learns, and a guess has chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from charlm.insight.memory_tasks import BLANK, NOT_ASKED, NUM_COPIED, NUM_SYMBOLS, TASKS, MemoryTask, Sequences
from charlm.networks.building import build_model, num_parameters
from charlm.networks.language_model import CharLM
from charlm.settings.model import ModelSettings
from charlm.training import remembering
from charlm.training.remembering import RateTrial, Trained, equal_size, num_trainings, remember, train_cell

CELLS = ("rnn", "gru", "lstm")


def nothing(what: str, done: int, total: int) -> None:
    """Report nothing."""


def shares_of(network: CharLM, task: MemoryTask) -> list[float]:
    """Return the shares of right answers of a network, at each lag."""
    memory = remembering._tested("rnn", task, [Trained(network, RateTrial(1e-3, 0.0))], seed=0)
    return [each.accuracy for each in memory.lags]


def wired_copier() -> CharLM:
    """Return an RNN whose units are wired to hold three symbols and to write one after the other.

    It is a shift register: three times as many units as there are symbols, and each third copies the one before it. It
    answers what was read two steps ago, and cannot wait.
    """
    size = NUM_COPIED * NUM_SYMBOLS
    network = build_model(ModelSettings(cell="rnn", hidden_size=size, activation="relu"), NUM_SYMBOLS + 2, seed=0)
    assert isinstance(network, CharLM)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        weights = dict(network.named_parameters())
        weights["recurrent.weight_ih_l0"][:NUM_SYMBOLS, :NUM_SYMBOLS] = torch.eye(NUM_SYMBOLS)
        weights["recurrent.weight_hh_l0"][NUM_SYMBOLS:, :-NUM_SYMBOLS] = torch.eye(size - NUM_SYMBOLS)
        weights["decoder.weight"][:NUM_SYMBOLS, -NUM_SYMBOLS:] = torch.eye(NUM_SYMBOLS)
    return network


def make_echo(generator: np.random.Generator, lag: int, number: int) -> Sequences:
    """Make sequences whose answers are the symbols themselves, two steps later, at any lag."""
    made = TASKS["copy"].make(generator, lag, number)
    inputs = np.concatenate([made.inputs[:NUM_COPIED], np.full((2, number), BLANK)])
    targets = np.full_like(inputs, NOT_ASKED)
    targets[2:] = made.targets[-NUM_COPIED:]
    return Sequences(inputs, targets, NUM_COPIED)


def test_a_shift_register_that_is_wired_by_hand_answers_everything() -> None:
    echo = replace(TASKS["copy"], make=make_echo)
    assert shares_of(wired_copier(), echo) == [1.0] * len(echo.lags)
    # Where the symbols come later, it has forgotten them, and always answers the first kind.
    assert shares_of(wired_copier(), TASKS["copy"])[-1] == pytest.approx(1 / NUM_SYMBOLS, abs=0.05)


@pytest.mark.parametrize("name", TASKS)
def test_an_untrained_network_is_no_better_than_chance(name: str) -> None:
    task = replace(TASKS[name], lags=(32, 64))
    trained = train_cell("gru", task, learning_rate=1e-9, num_steps=1, seed=0)
    assert all(share < task.chance + 0.1 for share in shares_of(trained.network, task))
    assert trained.trial.loss == pytest.approx(np.log(task.vocab_size), abs=0.3)


@pytest.mark.parametrize(("cell", "rate"), [("rnn", 3e-3), ("gru", 1e-2), ("lstm", 1e-2)])
def test_each_cell_learns_the_shortest_lag_completely(cell, rate: float) -> None:
    task = replace(TASKS["brackets"], lags=(2,), longest_trained=2)
    assert shares_of(train_cell(cell, task, learning_rate=rate, num_steps=60, seed=0).network, task) == [1.0]


@pytest.mark.parametrize("name", TASKS)
def test_the_cells_have_about_equally_many_parameters(name: str) -> None:
    vocab_size = TASKS[name].vocab_size
    sizes = [
        num_parameters(
            build_model(ModelSettings(cell=cell, hidden_size=equal_size(cell, vocab_size)), vocab_size, seed=0)
        )
        for cell in CELLS
    ]
    assert equal_size("rnn", vocab_size) == remembering.RNN_SIZE
    assert max(sizes) / min(sizes) < 1.03


@pytest.mark.slow
def test_the_same_seed_gives_the_same_results_and_progress_reaches_the_total() -> None:
    task = replace(TASKS["brackets"], lags=(2, 4), longest_trained=4)
    told: list[tuple[str, int, int]] = []
    first = remember(task, num_steps=20, seed=0, report=lambda *report: told.append(report))
    assert first == remember(task, num_steps=20, seed=0, report=nothing)
    assert first != remember(task, num_steps=20, seed=1, report=nothing)
    assert [done for _, done, _ in told] == [20 * number for number in range(1, num_trainings() + 1)]
    assert told[-1][1:] == (180, 180)
    assert told[0][0] == "RNN at 0.0003"


def test_the_rate_with_the_lowest_loss_is_tested() -> None:
    found = remember(replace(TASKS["brackets"], lags=(2,), longest_trained=2), num_steps=10, seed=0, report=nothing)
    for cell in found.cells:
        assert [trial.learning_rate for trial in cell.trials] == list(remembering.RATES[cell.cell])
        best = min(cell.trials, key=lambda trial: trial.loss)
        assert cell.learning_rate == best.learning_rate
        assert cell.lags[0].interval[0] <= cell.lags[0].accuracy <= cell.lags[0].interval[1]


def test_a_network_that_diverged_has_no_loss_and_is_not_tested() -> None:
    task = replace(TASKS["brackets"], lags=(2,), longest_trained=2)
    good, bad = (train_cell("rnn", task, learning_rate=1e-3, num_steps=1, seed=0) for _ in range(2))
    with torch.no_grad():
        bad.network.decoder.bias.fill_(float("nan"))
    bad = Trained(bad.network, RateTrial(3e-3, remembering._choosing_loss(bad.network, task, 0)))
    assert bad.trial.loss is None
    assert remembering._tested("rnn", task, [bad, good], seed=0).learning_rate == good.trial.learning_rate


def test_it_computes_on_one_thread_and_leaves_the_others_as_they_were() -> None:
    before, used = torch.get_num_threads(), set[int]()
    torch.set_num_threads(2)
    try:
        task = replace(TASKS["brackets"], lags=(2,), longest_trained=2)
        remember(task, num_steps=20, seed=0, report=lambda *_: used.add(torch.get_num_threads()))
        assert (used, torch.get_num_threads()) == ({1}, 2)
    finally:
        torch.set_num_threads(before)

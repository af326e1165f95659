"""Memory tasks: every answer follows from what was read, at the lag that is said, and chance is what guessing gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.insight.memory_records import CellMemory, LagAccuracy, MemoryFindings, RateTrial, reach_of, share_interval
from charlm.insight.memory_tasks import GO, NOT_ASKED, NUM_COPIED, NUM_DIGITS, NUM_KINDS, SUM, TASKS, Ids

EACH_TASK = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
DRAWN_LAGS = st.sampled_from(range(1, 65))


def copied(read: list[int]) -> dict[int, int]:
    """Return the answers of a sequence for copying, by the place after which they are asked."""
    go = read.index(GO)
    return {go + number: read[number] for number in range(NUM_COPIED)}


def added(read: list[int]) -> dict[int, int]:
    """Return the sum of the marked digits, which is asked after the sign."""
    return {read.index(SUM): sum(each - NUM_DIGITS for each in read if NUM_DIGITS <= each < SUM)}


def closed(read: list[int]) -> dict[int, int]:
    """Return the bracket that closes the innermost open one, before each that closes one and at the end."""
    stack: list[int] = []
    answers: dict[int, int] = {}
    for place, each in enumerate(read):
        if each < NUM_KINDS:
            stack.append(each)
        else:
            answers[place - 1] = NUM_KINDS + stack.pop()
    (outermost,) = stack
    return answers | {len(read) - 1: NUM_KINDS + outermost}


SOLVERS = {"copy": copied, "adding": added, "brackets": closed}


def sequences_of(name: str, lag: int, number: int = 20, seed: int = 0) -> tuple[Ids, Ids, int]:
    """Return the inputs and targets of some sequences, and how many of their last steps are tested."""
    made = TASKS[name].make(np.random.default_rng(seed), lag, number)
    return made.inputs, made.targets, made.num_tested


@given(name=st.sampled_from(sorted(TASKS)), lag=DRAWN_LAGS, seed=st.integers(0, 9))
def test_every_answer_can_be_computed_from_what_was_read(name: str, lag: int, seed: int) -> None:
    inputs, targets, _ = sequences_of(name, lag + lag % 2 * (name == "brackets"), seed=seed)
    for read, asked in zip(inputs.T.tolist(), targets.T.tolist(), strict=True):
        answers = {place: answer for place, answer in enumerate(asked) if answer != NOT_ASKED}
        assert answers == SOLVERS[name](read)


@pytest.mark.parametrize("lag", [2, 4, 64])
def test_the_lag_is_the_number_of_characters_in_between(lag: int) -> None:
    inputs, targets, tested = sequences_of("copy", lag)
    go = inputs[:, 0].tolist().index(GO)
    assert (go - NUM_COPIED, tested) == (lag, NUM_COPIED)
    inputs, targets, tested = sequences_of("adding", lag)
    assert (inputs[0] >= NUM_DIGITS).all()
    assert (len(inputs) - 2, tested) == (lag, 1)
    inputs, targets, tested = sequences_of("brackets", lag)
    assert (targets[-1] == NUM_KINDS + inputs[0]).all()
    assert (len(inputs) - 1, tested) == (lag, 1)


@EACH_TASK
def test_a_seed_decides_the_sequences_and_their_lags(task) -> None:
    for seed in (0, 1):
        first, again = (task.make(np.random.default_rng(seed), 8, 9) for _ in range(2))
        np.testing.assert_array_equal(first.inputs, again.inputs)
        np.testing.assert_array_equal(first.targets, again.targets)
    other = task.make(np.random.default_rng(5), 8, 9)
    assert (other.inputs != first.inputs).any()


@EACH_TASK
def test_training_draws_each_doubling_of_the_lag_equally_often(task) -> None:
    generator = np.random.default_rng(0)
    lags = [task.draw_lag(generator) for _ in range(4000)]
    assert (min(lags), max(lags)) == (task.lags[0], task.longest_trained)
    doublings = np.log2(task.longest_trained / task.lags[0])
    short = sum(lag <= 8 for lag in lags) / len(lags)
    # Rounding moves the edge by less than one.
    assert np.log2(8 / task.lags[0]) / doublings - 0.05 < short < np.log2(9 / task.lags[0]) / doublings + 0.05
    if task.name == "brackets":
        assert all(lag % 2 == 0 for lag in lags)


@EACH_TASK
def test_the_best_guess_that_remembers_nothing_is_right_as_often_as_chance(task) -> None:
    made = task.make(np.random.default_rng(0), 8, 20_000)
    answers = made.targets[-made.num_tested :].ravel()
    counts = np.bincount(answers, minlength=task.vocab_size) / len(answers)
    assert counts.max() == pytest.approx(task.chance, abs=0.01)
    # All symbols and kinds are equally frequent, and so are the digits behind the sums.
    if task.name != "adding":
        assert counts[counts > 0] == pytest.approx(task.chance, abs=0.01)
    else:
        assert counts[:19] == pytest.approx([(10 - abs(total - 9)) / 100 for total in range(19)], abs=0.01)


def test_brackets_are_nested_up_to_four_deep_and_no_deeper() -> None:
    inputs, _, _ = sequences_of("brackets", 64, 200)
    depths = np.cumsum(np.where(inputs < NUM_KINDS, 1, -1), axis=0)
    assert (depths.min(), depths.max()) == (1, 4)


def lags_of(*shares: float) -> tuple[LagAccuracy, ...]:
    """Return results at the lags 1, 2, 4 and so on."""
    return tuple(LagAccuracy(2**place, share, (0.0, 1.0), 10) for place, share in enumerate(shares))


@pytest.mark.parametrize(
    ("shares", "reach"), [((1.0, 0.9, 0.89), 2), ((0.5, 1.0), None), ((1.0, 0.2, 1.0), 1), ((0.9, 0.9, 0.9), 4)]
)
def test_a_cell_reaches_the_last_lag_before_the_first_that_it_forgets(
    shares: tuple[float, ...], reach: int | None
) -> None:
    assert reach_of(lags_of(*shares)) == reach


@pytest.mark.parametrize(
    ("rnn", "gru", "says"),
    [
        ((1.0, 0.1), (1.0, 1.0), "RNN 1, GRU 2."),
        ((1.0, 1.0), (1.0, 1.0), "RNN 2, GRU 2. Here the RNN reaches as far as the cells with gates."),
        ((0.1, 0.1), (0.1, 0.1), "RNN none, GRU none. No cell has learned this task: train longer."),
    ],
)
def test_the_verdict_says_it_where_the_rnn_is_as_good(rnn, gru, says) -> None:
    cells = tuple(
        CellMemory(cell, 8, 99, 1e-3, (RateTrial(1e-3, 0.5),), lags_of(*shares), reach_of(lags_of(*shares)))
        for cell, shares in (("rnn", rnn), ("gru", gru))
    )
    assert MemoryFindings("copy", "", 0.125, "", 10, 64, 2, 0, cells).verdict.endswith(f"longest): {says}")


def test_the_interval_of_a_share_is_wilsons() -> None:
    # The example of Newcombe (1998), method 3: 81 of 263.
    assert share_interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    low, high = share_interval(0.0, 100)
    assert (low, 0 < high < 0.04) == (0.0, True)

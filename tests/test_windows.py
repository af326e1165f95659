"""The two sampling iterators against a list of every (input, target) pair they give."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.errors import TextError
from charlm.settings.schema import SamplingSettings
from charlm.text.windows import cut_windows, num_dropped, num_windows, window_starts

METHODS = ("consecutive", "random")
Method = Literal["consecutive", "random"]
SEEDS = (0, 1, 2**63 - 1)


@st.composite
def samplings(draw: st.DrawFn) -> tuple[int, SamplingSettings]:
    """Draw settings and a length of text that has at least one window."""
    batch_size, seq_len = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    num_chars = batch_size * seq_len + 1 + draw(st.integers(0, 150))
    method: Method = draw(st.sampled_from(METHODS))
    return num_chars, SamplingSettings(method=method, batch_size=batch_size, seq_len=seq_len)


def make(method: Method, batch_size: int = 3, seq_len: int = 5) -> SamplingSettings:
    """Return sampling settings."""
    return SamplingSettings(method=method, batch_size=batch_size, seq_len=seq_len)


@given(case=samplings(), seed=st.integers(0, 2**63 - 1), epoch=st.integers(0, 1000))
def test_each_pair_stands_side_by_side_in_the_corpus_and_none_comes_twice(
    case: tuple[int, SamplingSettings], seed: int, epoch: int
) -> None:
    num_chars, sampling = case
    starts = window_starts(num_chars, sampling, seed=seed, epoch=epoch)
    # Each character is its own position: a target that wraps round would not be its input plus one.
    windows = list(cut_windows(np.arange(num_chars, dtype=np.uint32), starts, sampling.seq_len))
    targets: list[int] = []
    for window in windows:
        assert window.inputs.shape == window.targets.shape == (sampling.seq_len, sampling.batch_size)
        assert np.array_equal(window.targets, window.inputs + 1)
        assert np.array_equal(window.inputs[1:], window.targets[:-1])
        targets += window.targets.ravel().tolist()
    assert len(windows) == num_windows(num_chars, sampling)
    assert len(set(targets)) == len(targets)
    assert set(targets) <= set(range(1, num_chars))
    assert num_dropped(num_chars, sampling) == num_chars - 1 - len(targets)


@given(case=samplings())
def test_as_many_windows_as_fit_and_equally_many_in_either_order(case: tuple[int, SamplingSettings]) -> None:
    num_chars, sampling = case
    fitting = (num_chars - 1) // (sampling.batch_size * sampling.seq_len)
    for method in METHODS:
        assert num_windows(num_chars, sampling.model_copy(update={"method": method})) == fitting


@given(case=samplings(), seed=st.sampled_from(SEEDS), epoch=st.integers(0, 5))
def test_an_epoch_is_the_same_whenever_it_is_asked_for(
    case: tuple[int, SamplingSettings], seed: int, epoch: int
) -> None:
    num_chars, sampling = case
    first = window_starts(num_chars, sampling, seed=seed, epoch=epoch)
    np.random.seed(seed % 1000)
    window_starts(num_chars, sampling, seed=seed + 1, epoch=epoch + 1)
    assert np.array_equal(window_starts(num_chars, sampling, seed=seed, epoch=epoch), first)


@pytest.mark.parametrize(("num_chars", "batch_size", "seq_len"), [(101, 1, 7), (101, 4, 7), (113, 4, 7), (64, 4, 5)])
def test_consecutive_streams_go_on_from_window_to_window(num_chars: int, batch_size: int, seq_len: int) -> None:
    sampling = make("consecutive", batch_size, seq_len)
    text = np.arange(num_chars, dtype=np.uint32)
    windows = list(cut_windows(text, window_starts(num_chars, sampling, seed=0, epoch=0), seq_len))
    streams = np.concatenate([window.inputs for window in windows])
    length = (num_chars - 1) // batch_size
    assert streams.shape == (len(windows) * seq_len, batch_size)
    for stream in range(batch_size):
        assert np.array_equal(streams[:, stream], text[stream * length :][: len(streams)])


@pytest.mark.parametrize("seed", SEEDS)
def test_consecutive_order_needs_no_chance(seed: int) -> None:
    sampling = make("consecutive")
    expected = window_starts(100, sampling, seed=0, epoch=0)
    assert np.array_equal(window_starts(100, sampling, seed=seed, epoch=7), expected)


@pytest.mark.parametrize("num_chars", [200, 211, 1000])
@pytest.mark.parametrize("seed", SEEDS)
def test_random_windows_do_not_overlap_and_lie_on_one_grid(num_chars: int, seed: int) -> None:
    sampling = make("random")
    for epoch in range(20):
        starts = window_starts(num_chars, sampling, seed=seed, epoch=epoch).ravel()
        assert len(set(starts % sampling.seq_len)) == 1
        assert np.diff(np.sort(starts)).min() >= sampling.seq_len


@pytest.mark.parametrize("seed", SEEDS)
def test_random_windows_are_shuffled_anew_in_each_epoch_and_for_each_seed(seed: int) -> None:
    sampling = make("random")
    orders = [window_starts(1000, sampling, seed=seed, epoch=epoch).ravel().tolist() for epoch in range(5)]
    orders += [window_starts(1000, sampling, seed=seed + 1, epoch=epoch).ravel().tolist() for epoch in range(5)]
    assert all(order != sorted(order) for order in orders)
    assert len({tuple(order) for order in orders}) == len(orders)


def test_each_seed_has_an_order_of_its_own() -> None:
    orders = {window_starts(1000, make("random"), seed=seed, epoch=0).tobytes() for seed in range(50)}
    assert len(orders) == 50


@pytest.mark.parametrize(
    ("num_chars", "offsets"), [(61, {0}), (62, {0, 1}), (65, {0, 1, 2, 3, 4}), (75, {0, 1, 2, 3, 4})]
)
def test_every_offset_that_leaves_all_windows_is_drawn_and_no_other(num_chars: int, offsets: set[int]) -> None:
    sampling = make("random")
    drawn = [window_starts(num_chars, sampling, seed=0, epoch=epoch) for epoch in range(300)]
    assert {int(starts.min()) % sampling.seq_len for starts in drawn} == offsets
    assert {starts.shape for starts in drawn} == {(4, 3)}


def test_random_windows_reach_every_pair_in_some_epoch() -> None:
    sampling = make("random", batch_size=4, seq_len=5)
    reached: set[int] = set()
    for epoch in range(200):
        starts = window_starts(94, sampling, seed=0, epoch=epoch)
        reached |= {start + step for start in starts.ravel().tolist() for step in range(5)}
    assert reached == set(range(93))


@pytest.mark.parametrize("method", METHODS)
def test_the_shortest_text_has_one_window_and_one_less_has_none(method: Method) -> None:
    sampling = make(method, batch_size=4, seq_len=8)
    assert num_windows(33, sampling) == 1
    assert num_dropped(33, sampling) == 0
    with pytest.raises(TextError) as caught:
        window_starts(32, sampling, seed=0, epoch=0)
    assert str(caught.value) == (
        "the training part has 32 characters, and one window of batch_size 4 x seq_len 8 needs 33: "
        "lower sampling.batch_size or sampling.seq_len"
    )
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("lookahead", [1, 4])
def test_the_characters_beyond_follow_the_targets(method: Method, lookahead: int) -> None:
    starts = window_starts(100 - lookahead, make(method), seed=0, epoch=0)
    windows = list(cut_windows(np.arange(100, dtype=np.uint32), starts, 5, lookahead))
    assert len(windows) == len(starts)
    for window in windows:
        assert window.inputs.shape == window.targets.shape
        assert np.array_equal(window.targets, window.inputs + 1)
        assert np.array_equal(window.beyond, window.targets[-1] + np.arange(1, lookahead + 1)[:, None])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_windows_keep_the_type_of_the_ids(dtype: type) -> None:
    ids = np.arange(100).astype(dtype)
    window = next(cut_windows(ids, window_starts(100, make("random"), seed=0, epoch=0), 5))
    assert window.inputs.dtype == window.targets.dtype == dtype

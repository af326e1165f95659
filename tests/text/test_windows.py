"""The two sampling iterators are compared with a list of every (input, target) pair."""

from __future__ import annotations

import tracemalloc
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.errors import TextError
from charlm.settings.corpus import SamplingSettings
from charlm.text.windows import Window, num_dropped, num_windows, read_windows

METHODS = ("consecutive", "random")
Method = Literal["consecutive", "random"]
SEEDS = (0, 1, 2**63 - 1)


@st.composite
def samplings(draw: st.DrawFn) -> tuple[int, SamplingSettings]:
    """Draw settings and the length of a text with at least one window."""
    batch_size, seq_len = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    num_chars = batch_size * seq_len + 1 + draw(st.integers(0, 150))
    method: Method = draw(st.sampled_from(METHODS))
    return num_chars, SamplingSettings(method=method, batch_size=batch_size, seq_len=seq_len)


def make(method: Method, batch_size: int = 3, seq_len: int = 5) -> SamplingSettings:
    """Return sampling settings."""
    return SamplingSettings(method=method, batch_size=batch_size, seq_len=seq_len)


def read(num_chars: int, sampling: SamplingSettings, **options: int) -> list[Window]:
    """Return the windows of a text in which each character is its position."""
    ids = np.arange(num_chars, dtype=np.uint32)
    return list(read_windows(ids, sampling, **({"seed": 0, "epoch": 0} | options)))


def starts_of(windows: list[Window]) -> npt.NDArray[np.int64]:
    """Return the positions where the streams of such windows start, (windows, B)."""
    return np.array([window.inputs[0] for window in windows], dtype=np.int64)


@given(case=samplings(), seed=st.integers(0, 2**63 - 1), epoch=st.integers(0, 1000))
def test_each_pair_is_adjacent_in_the_corpus_and_none_occurs_twice(
    case: tuple[int, SamplingSettings], seed: int, epoch: int
) -> None:
    num_chars, sampling = case
    # Each character is its position: a target that wraps round would not be its input plus one.
    windows = read(num_chars, sampling, seed=seed, epoch=epoch)
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
def test_both_methods_give_as_many_windows_as_fit(case: tuple[int, SamplingSettings]) -> None:
    num_chars, sampling = case
    fitting = (num_chars - 1) // (sampling.batch_size * sampling.seq_len)
    for method in METHODS:
        assert num_windows(num_chars, sampling.model_copy(update={"method": method})) == fitting


@given(case=samplings(), seed=st.sampled_from(SEEDS), epoch=st.integers(0, 5))
def test_an_epoch_is_the_same_on_every_call(case: tuple[int, SamplingSettings], seed: int, epoch: int) -> None:
    num_chars, sampling = case
    first = starts_of(read(num_chars, sampling, seed=seed, epoch=epoch))
    np.random.seed(seed % 1000)
    read(num_chars, sampling, seed=seed + 1, epoch=epoch + 1)
    assert np.array_equal(starts_of(read(num_chars, sampling, seed=seed, epoch=epoch)), first)


@pytest.mark.parametrize(("num_chars", "batch_size", "seq_len"), [(101, 1, 7), (101, 4, 7), (113, 4, 7), (64, 4, 5)])
def test_consecutive_streams_continue_from_window_to_window(num_chars: int, batch_size: int, seq_len: int) -> None:
    sampling = make("consecutive", batch_size, seq_len)
    text = np.arange(num_chars, dtype=np.uint32)
    windows = read(num_chars, sampling)
    streams = np.concatenate([window.inputs for window in windows])
    length = (num_chars - 1) // batch_size
    assert streams.shape == (len(windows) * seq_len, batch_size)
    for stream in range(batch_size):
        assert np.array_equal(streams[:, stream], text[stream * length :][: len(streams)])


@pytest.mark.parametrize("seed", SEEDS)
def test_consecutive_order_does_not_depend_on_the_seed(seed: int) -> None:
    sampling = make("consecutive")
    expected = starts_of(read(100, sampling))
    assert np.array_equal(starts_of(read(100, sampling, seed=seed, epoch=7)), expected)


@pytest.mark.parametrize("num_chars", [200, 211, 1000])
@pytest.mark.parametrize("seed", SEEDS)
def test_random_windows_do_not_overlap_and_share_one_grid(num_chars: int, seed: int) -> None:
    sampling = make("random")
    for epoch in range(20):
        starts = starts_of(read(num_chars, sampling, seed=seed, epoch=epoch)).ravel()
        assert len(set(starts % sampling.seq_len)) == 1
        assert np.diff(np.sort(starts)).min() >= sampling.seq_len


@pytest.mark.parametrize("seed", SEEDS)
def test_random_windows_are_shuffled_differently_in_each_epoch_and_for_each_seed(seed: int) -> None:
    sampling = make("random")
    epochs = [(chosen, epoch) for chosen in (seed, seed + 1) for epoch in range(5)]
    orders = [starts_of(read(1000, sampling, seed=chosen, epoch=epoch)).ravel().tolist() for chosen, epoch in epochs]
    assert all(order != sorted(order) for order in orders)
    assert len({tuple(order) for order in orders}) == len(orders)


def test_different_seeds_give_different_orders() -> None:
    orders = {starts_of(read(1000, make("random"), seed=seed)).tobytes() for seed in range(50)}
    assert len(orders) == 50


@pytest.mark.parametrize(
    ("num_chars", "offsets"), [(61, {0}), (62, {0, 1}), (65, {0, 1, 2, 3, 4}), (75, {0, 1, 2, 3, 4})]
)
def test_exactly_the_offsets_that_keep_all_windows_are_drawn(num_chars: int, offsets: set[int]) -> None:
    sampling = make("random")
    drawn = [starts_of(read(num_chars, sampling, epoch=epoch)) for epoch in range(300)]
    assert {int(starts.min()) % sampling.seq_len for starts in drawn} == offsets
    assert {starts.shape for starts in drawn} == {(4, 3)}


def test_random_windows_reach_every_pair_in_some_epoch() -> None:
    sampling = make("random", batch_size=4, seq_len=5)
    reached: set[int] = set()
    for epoch in range(200):
        starts = starts_of(read(94, sampling, epoch=epoch))
        reached |= {start + step for start in starts.ravel().tolist() for step in range(5)}
    assert reached == set(range(93))


@pytest.mark.parametrize("method", METHODS)
def test_the_shortest_text_has_one_window_and_one_less_has_none(method: Method) -> None:
    sampling = make(method, batch_size=4, seq_len=8)
    assert num_windows(33, sampling) == 1
    assert num_dropped(33, sampling) == 0
    with pytest.raises(TextError) as caught:
        read(32, sampling)
    assert str(caught.value) == (
        "the training split has 32 characters, and one window of batch_size 4 x seq_len 8 needs 33: "
        "--set sampling.batch_size=2 --set sampling.seq_len=3 fits"
    )
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("lookahead", [1, 4])
def test_the_characters_beyond_follow_the_targets(method: Method, lookahead: int) -> None:
    windows = read(100, make(method), lookahead=lookahead)
    assert len(windows) == num_windows(100, make(method), lookahead)
    for window in windows:
        assert window.inputs.shape == window.targets.shape
        assert np.array_equal(window.targets, window.inputs + 1)
        assert np.array_equal(window.beyond, window.targets[-1] + np.arange(1, lookahead + 1)[:, None])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_windows_keep_the_type_of_the_ids(dtype: type) -> None:
    ids = np.arange(100).astype(dtype)
    window = next(read_windows(ids, make("random"), seed=0, epoch=0))
    assert window.inputs.dtype == window.targets.dtype == dtype


@given(case=samplings(), seed=st.sampled_from(SEEDS), epoch=st.integers(0, 5), lookahead=st.integers(0, 3))
def test_an_epoch_read_from_the_middle_equals_the_rest_of_a_whole_one(
    case: tuple[int, SamplingSettings], seed: int, epoch: int, lookahead: int
) -> None:
    num_chars, sampling = case[0] + lookahead, case[1]
    whole = read(num_chars, sampling, seed=seed, epoch=epoch, lookahead=lookahead)
    for start in range(len(whole) + 2):
        rest = read(num_chars, sampling, seed=seed, epoch=epoch, lookahead=lookahead, start=start)
        assert len(rest) == len(whole[start:])
        for window, same in zip(rest, whole[start:], strict=True):
            assert np.array_equal(window.inputs, same.inputs)
            assert np.array_equal(window.targets, same.targets)
            assert np.array_equal(window.beyond, same.beyond)


@pytest.mark.parametrize(
    ("method", "num_chars", "batch_size", "seq_len", "options", "sha256_of_starts"),
    [
        ("consecutive", 100_000, 32, 64, {}, "754edc538ac9017f"),
        ("consecutive", 50_001, 7, 13, {"lookahead": 5, "seed": 2**63 - 1, "epoch": 1}, "4bf3312167a9a301"),
        ("random", 100_000, 32, 64, {}, "a7a2a7f292006426"),
        ("random", 100_000, 32, 64, {"seed": 1, "epoch": 3}, "a6aa403a34fc6928"),
        ("random", 50_001, 7, 13, {"lookahead": 5, "seed": 2**63 - 1, "epoch": 1}, "c3096a75a0f99425"),
        pytest.param(
            *("random", 1_000_000, 1, 3, {"lookahead": 2, "epoch": 9}, "294fd9501b127029"), marks=pytest.mark.slow
        ),
    ],
)
def test_the_order_is_the_one_behind_all_published_results(
    method: Method, num_chars: int, batch_size: int, seq_len: int, options: dict[str, int], sha256_of_starts: str
) -> None:
    starts = starts_of(read(num_chars, make(method, batch_size, seq_len), **options))
    assert sha256(starts.astype("<i8").tobytes()).hexdigest().startswith(sha256_of_starts)


@pytest.mark.parametrize(("method", "allowed"), [("consecutive", 100_000), ("random", 4 * 1_000_000 + 100_000)])
def test_an_epoch_of_64_million_characters_takes_at_most_four_bytes_per_window(
    method: Method, allowed: int, tmp_path: Path
) -> None:
    with (tmp_path / "zeros").open("wb") as file:
        file.truncate(64_000_001)
    ids = np.memmap(tmp_path / "zeros", dtype=np.uint8, mode="r")
    tracemalloc.start()
    window = next(read_windows(ids, make(method, 1, 64), seed=0, epoch=0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert window.inputs.shape == (64, 1)
    assert peak < allowed

"""The number of threads of a run: it is measured once if the settings leave it open, and has no other effect."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import charlm
from charlm.runs.checkpoints import load_checkpoint
from charlm.settings.schema import Settings
from charlm.training import threads
from charlm.training.threads import choose_threads, thread_counts

MakeSettings = Callable[..., Settings]
CPU = torch.device("cpu")
V = 19


pytestmark = pytest.mark.usefixtures("set_threads", "hurry")


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure only for a moment, because it does not matter here which number wins."""
    monkeypatch.setattr(threads, "SECONDS", 0.02)


@pytest.fixture
def open_settings(tiny_settings: MakeSettings) -> MakeSettings:
    """Return a function that makes tiny settings which leave the number of threads open."""
    return lambda *overrides: tiny_settings("train.threads=null", *overrides)


@pytest.mark.parametrize(
    ("cores", "expected"), [(1, [1]), (2, [2, 1]), (3, [3, 2, 1]), (4, [4, 2, 1]), (6, [6, 4, 2, 1]), (8, [8, 4, 2, 1])]
)
def test_all_cores_and_each_smaller_power_of_two_are_tried(
    cores: int, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert thread_counts() == expected
    # torch's own limit, which OMP_NUM_THREADS can set, is not exceeded.
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert thread_counts() == [1]


@pytest.mark.parametrize("direction", ["forward", "backward", "bidirectional", "leaky"])
def test_a_number_among_those_tried_is_chosen(direction: str, open_settings: MakeSettings) -> None:
    torch.set_num_threads(2)
    counts = thread_counts()
    settings = open_settings(f"model.direction={direction}", "model.dropout=0.1", "model.num_layers=2")
    assert choose_threads(settings, V, CPU) in counts


@pytest.mark.parametrize(("slowest", "expected"), [(1, 2), (2, 1), (None, 2)])
def test_the_fastest_is_taken_and_of_near_equals_all_cores(
    slowest: int | None, expected: int, open_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "thread_counts", lambda: [2, 1])

    def trial_steps(*_: object) -> Iterator[float]:
        while True:
            # One thread alone is 5% faster where none is slow: that is no reason to leave a core idle.
            yield {slowest: 2.0}.get(torch.get_num_threads(), 1.0 if torch.get_num_threads() == 2 else 0.95)

    monkeypatch.setattr(threads, "trial_steps", trial_steps)
    assert choose_threads(open_settings(), V, CPU) == expected


def test_an_explicit_number_is_left_alone_and_nothing_is_measured(
    tiny_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_fastest", lambda *_: pytest.fail("there is nothing to find out"))
    for number in (1, 2, 3):
        settings = tiny_settings(f"train.threads={number}")
        assert choose_threads(settings, V, CPU) == number


def test_on_a_gpu_nothing_is_measured(open_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_fastest", lambda *_: pytest.fail("a CPU's threads do not matter there"))
    torch.set_num_threads(2)
    assert choose_threads(open_settings(), V, torch.device("cuda")) == 2


@pytest.mark.parametrize("implementation", ["torch", pytest.param("native", marks=pytest.mark.kernels)])
def test_a_measured_run_has_the_bits_of_one_with_that_number_given(
    implementation: str, open_settings: MakeSettings, tiny_settings: MakeSettings, tmp_path: Path
) -> None:
    overrides = (
        f"model.implementation={implementation}",
        "model.num_layers=2",
        "model.dropout=0.5",
        "sample.every=3",
        "optimizer.learning_rate=0.02",
    )
    torch.set_num_threads(2)
    measured = charlm.train(open_settings(*overrides), name="measured", runs_dir=tmp_path)
    number = measured.settings().train.threads
    assert number in (1, 2)
    given = charlm.train(tiny_settings(*overrides, f"train.threads={number}"), name="given", runs_dir=tmp_path)
    assert given.settings() == measured.settings()
    assert given.environment()["threads"] == measured.environment()["threads"] == number
    assert given.samples() == measured.samples()
    one, other = load_checkpoint(measured, "last"), load_checkpoint(given, "last")
    for tensors, others in ((one.model, other.model), (one.training, other.training)):
        assert tensors.keys() == others.keys()
        assert all(np.array_equal(tensor, others[name]) for name, tensor in tensors.items())

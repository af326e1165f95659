"""On a processor where nobody has measured the kernels, `auto` takes the faster one of them and torch, and says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import charlm
from charlm.kernels.library import Kernels, load_kernels
from charlm.kernels.processor import INSTRUCTION_SETS, MEASURED
from charlm.runs.run import Run
from charlm.settings.schema import Settings
from charlm.training import choosing, contest, threads
from charlm.training.contest import choose_computation
from charlm.training.events import Start

MakeSettings = Callable[..., Settings]
CPU = torch.device("cpu")
V = 19

pytestmark = [pytest.mark.kernels, pytest.mark.usefixtures("set_threads")]


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> str:
    """Pretend that this processor has an instruction set that nobody has measured, and name it."""
    kernels = load_kernels()
    assert isinstance(kernels, Kernels)
    monkeypatch.setattr(contest, "load_kernels", lambda: replace(kernels, instruction_set="rv64gcv"))
    return "rv64gcv"


def fake_times(monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float]) -> list[str]:
    """Have trial steps take these seconds by implementation; return where those that are tried will be noted."""
    tried: list[str] = []

    def trial_steps(settings: Settings, _: int) -> Iterator[float]:
        tried.append(settings.model.implementation)
        while True:
            yield seconds[settings.model.implementation]

    for module in (contest, threads):
        monkeypatch.setattr(module, "trial_steps", trial_steps)
    return tried


@pytest.mark.parametrize(
    ("native", "torch_", "winner"), [(0.001, 0.002, "native"), (0.002, 0.001, "torch"), (0.001, 0.001, "native")]
)
def test_the_faster_one_trains_the_run_which_says_so_in_one_line(
    native: float,
    torch_: float,
    winner: str,
    unmeasured: str,
    tiny_settings: MakeSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = fake_times(monkeypatch, {"native": native, "torch": torch_})
    settings = tiny_settings("train.max_steps=2")
    start = next(event for event in charlm.train_reports(settings, name="run", runs_dir=tmp_path))
    assert isinstance(start, Start)
    assert tried == ["native", "torch"]
    assert start.facts.implementation == winner
    (sentence,) = [notice.sentence for notice in start.notices if unmeasured in notice.sentence]
    assert f"{1000 * native:g} ms with native and {1000 * torch_:g} ms with torch; this run uses {winner}" in sentence
    assert "\n" not in sentence
    assert Run(start.run).settings().model.implementation == winner


@pytest.mark.usefixtures("unmeasured")
def test_a_run_that_is_resumed_keeps_what_was_chosen(
    tiny_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_times(monkeypatch, {"native": 2.0, "torch": 1.0})
    charlm.train(tiny_settings("train.max_steps=2"), name="run", runs_dir=tmp_path)
    monkeypatch.setattr(contest, "trial_steps", lambda *_: pytest.fail("it has been decided"))
    longer = tiny_settings("train.max_steps=4")
    assert charlm.train(longer, name="run", runs_dir=tmp_path, resume=True).settings().model.implementation == "torch"


@pytest.mark.parametrize("written", ["native", "torch", "reference"])
def test_what_was_written_is_honoured_and_nothing_is_tried(
    written: str, unmeasured: str, tiny_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = fake_times(monkeypatch, {"native": 2.0, "torch": 1.0, "reference": 3.0})
    settings = tiny_settings(f"model.implementation={written}", "train.max_steps=2")
    start = next(event for event in charlm.train_reports(settings, name="run", runs_dir=tmp_path))
    assert isinstance(start, Start)
    assert (start.facts.implementation, tried) == (written, [])
    assert not any(unmeasured in notice.sentence for notice in start.notices)


@pytest.mark.parametrize("number", [None, 1])
def test_each_is_tried_with_the_threads_that_a_run_may_have(
    number: int | None, unmeasured: str, tiny_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contest, "thread_counts", lambda: [2, 1])

    def trial_steps(settings: Settings, _: int) -> Iterator[float]:
        while True:
            # One thread is enough for the kernels; torch is the fastest of all with two.
            times = {("native", 2): 3.0, ("native", 1): 2.0, ("torch", 2): 1.0, ("torch", 1): 4.0}
            yield times[settings.model.implementation, torch.get_num_threads()]

    monkeypatch.setattr(contest, "trial_steps", trial_steps)
    settings = tiny_settings(f"train.threads={'null' if number is None else number}")
    choice = choose_computation(settings, V, "native", CPU)
    assert (choice.implementation, choice.threads) == (("torch", 2) if number is None else ("native", 1))
    assert unmeasured in choice.notices[0].sentence


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_real_trial_steps_end_with_one_of_the_two(direction: str, tiny_settings: MakeSettings) -> None:
    settings = tiny_settings(f"model.direction={direction}", "model.num_layers=2", "model.dropout=0.1")
    choice = choose_computation(settings, V, "native", CPU)
    assert choice.implementation in contest.RIVALS
    assert f"this run uses {choice.implementation}" in choice.notices[0].sentence


@pytest.mark.usefixtures("unmeasured")
def test_without_a_rival_there_is_nothing_to_try(tiny_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = fake_times(monkeypatch, {"native": 2.0, "torch": 1.0})
    # torch.nn has no such cell, and no such products.
    for alone in (("model.cell=gru", "model.reset_after=false"), ("train.precision=bfloat16",)):
        assert choose_computation(tiny_settings(*alone), V, "native", CPU).implementation == "native"
    assert tried == []


def test_a_measured_processor_is_not_measured_again(
    tiny_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = fake_times(monkeypatch, {"native": 2.0, "torch": 1.0})
    kernels = load_kernels()
    assert isinstance(kernels, Kernels)
    for name in MEASURED:
        assert name in INSTRUCTION_SETS
        monkeypatch.setattr(contest, "load_kernels", lambda name=name: replace(kernels, instruction_set=name))
        choice = choose_computation(tiny_settings(), V, "native", CPU)
        assert (choice.implementation, choice.notices) == ("native", ())
    assert tried == []


@pytest.mark.usefixtures("unmeasured")
def test_a_recipe_reckons_with_the_speed_of_the_one_that_will_train(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_times(monkeypatch, {"native": 2.0, "torch": 1.0})
    timed: list[str] = []

    def seconds_of_a_step(settings: Settings, _: int) -> float:
        timed.append(settings.model.implementation)
        return 1.0

    monkeypatch.setattr(choosing, "seconds_of_a_step", seconds_of_a_step)
    choosing._reference_speed(charlm.load_settings("auto"))
    assert timed == ["torch"]

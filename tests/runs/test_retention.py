"""Checkpoints are saved at the right times, and the right ones are kept."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from charlm.errors import StorageError
from charlm.runs import writer
from charlm.runs.checkpoints import load_checkpoint, step_of
from charlm.runs.run import Run
from charlm.settings.schema import Settings
from charlm.settings.training import CheckpointSettings
from charlm.settings.values import Period
from charlm.training.events import End, Evaluation, Step, TrainingEvent, Unsaved
from charlm.training.launch import train_reports
from charlm.training.saving import RETRY_SECONDS

MakeSettings = Callable[..., Settings]
Fit = Callable[..., list[TrainingEvent]]
# Evaluations at 4, 8, 12 and 16; an epoch has 7 steps.
SMALL = ("sampling.seq_len=96", "train.max_steps=16", "train.eval_every=4")
# With frozen weights the first evaluation stays the best.
FROZEN = "optimizer.learning_rate=1e-30"


@pytest.fixture
def fit(tiny_settings: MakeSettings, tmp_path: Path) -> Fit:
    """Return a function that trains a run with a name."""

    def train(name: str, *overrides: str, **options: Any) -> list[TrainingEvent]:
        return list(train_reports(tiny_settings(*SMALL, *overrides), name=name, runs_dir=tmp_path, **options))

    return train


def steps_kept(path: Path) -> list[int]:
    """Return the steps of a run's checkpoints."""
    return [step_of(checkpoint) for checkpoint in Run(path).checkpoint_paths()]


@pytest.fixture
def saves(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which the step of each save is added."""
    steps: list[int] = []
    save = writer.RunWriter.save

    def noted(self: writer.RunWriter, checkpoint: Any, **options: Any) -> None:
        steps.append(checkpoint.step)
        save(self, checkpoint, **options)

    monkeypatch.setattr(writer.RunWriter, "save", noted)
    return steps


@pytest.mark.parametrize(
    ("overrides", "kept"),
    [
        ((), [12, 16]),
        ((FROZEN,), [4, 12, 16]),
        ((FROZEN, "checkpoint.keep_last=3"), [4, 8, 12, 16]),
        (("checkpoint.keep_last=100",), [0, 4, 8, 12, 16]),
        (("checkpoint.keep_every=8",), [8, 12, 16]),
        ((FROZEN, "checkpoint.keep_every=8"), [4, 8, 12, 16]),
        (("checkpoint.keep_every=5",), [12, 16]),
        (("train.eval_every=1", "checkpoint.keep_every={epochs: 1}"), [7, 14, 15, 16]),
        (("train.eval_every={epochs: 1}", "checkpoint.keep_every={epochs: 1}"), [7, 14, 16]),
        (("train.eval_every=3", "checkpoint.keep_every=6", "corpus.split=none"), [6, 12, 15, 16]),
    ],
)
def test_the_last_the_best_and_periodic_checkpoints_are_kept(
    fit: Fit, tmp_path: Path, overrides: Sequence[str], kept: list[int]
) -> None:
    reports = fit("run", *overrides)
    best = [report.step for report in reports if isinstance(report, Evaluation) and report.is_best]
    assert steps_kept(tmp_path / "run") == kept
    assert load_checkpoint(Run(tmp_path / "run"), "last").step == 16
    if best:
        assert load_checkpoint(Run(tmp_path / "run"), "best").step == best[-1]


def test_an_old_checkpoint_stays_until_two_newer_ones_are_saved(fit: Fit, tmp_path: Path) -> None:
    kept: list[list[int]] = []
    settings = ("train.eval_every=5", FROZEN)
    fit("run", *settings, should_stop=lambda: kept.append(steps_kept(tmp_path / "run")))
    distinct = [each for number, each in enumerate(kept[1:]) if each != kept[number]]
    assert distinct == [[0], [0, 5], [5, 10], [5, 10, 15], [5, 15, 16]]


def test_saves_by_the_clock_keep_the_newest_the_last_evaluation_and_the_best(
    fit: Fit, tmp_path: Path, saves: list[int]
) -> None:
    fit("run", "checkpoint.minutes=1e-9", "train.max_steps=15", "train.eval_every=6", FROZEN)
    assert saves == list(range(16))
    # 14 was saved by the clock and 15 at the end; a diverged run would return to 12, and 6 is the best.
    assert steps_kept(tmp_path / "run") == [6, 12, 14, 15]


def test_the_newest_scheduled_checkpoint_is_kept_for_a_rollback(tmp_path: Path) -> None:
    paths = [tmp_path / f"step-{step:08d}" for step in (0, 3, 6, 7, 8)]
    kept = CheckpointSettings(keep_last=2, keep_every=Period(steps=3))
    removed = writer.removable(paths, kept, keep_every=3, eval_every=6)
    assert [step_of(path) for path in removed] == [0]
    assert [step_of(path) for path in writer.removable(paths, kept, keep_every=None, eval_every=5)] == [3, 6]
    assert [step_of(path) for path in writer.removable(paths, kept, keep_every=None, eval_every=6)] == [0, 3]


# The clock.


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a monotonic clock that advances only when a test says so."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def contents(run: Run) -> list[bytes]:
    """Return the last checkpoint's weights and moments, and the samples."""
    last = run.checkpoint_paths()[-1]
    return [(last / "model.safetensors").read_bytes(), (last / "training.safetensors").read_bytes()]


def untimed(run: Run) -> list[dict[str, Any]]:
    """Return a run's metrics without its name and everything that depends on a clock."""
    clocked = ("run", "seconds", "chars_per_second", "epoch_seconds")
    return [{key: value for key, value in record.items() if key not in clocked} for record in run.metrics()]


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        # A step takes a minute; an evaluation saves too and restarts the clock.
        ("10", [0, 4, 8, 12, 16]),
        ("4", [0, 4, 8, 12, 16]),
        ("3", [0, 3, 4, 7, 8, 11, 12, 15, 16]),
        ("2", [0, 2, 4, 6, 8, 10, 12, 14, 16]),
        ("1", list(range(17))),
    ],
)
def test_a_run_is_saved_between_evaluations_after_the_set_minutes(
    fit: Fit,
    tiny_settings: MakeSettings,
    clock: list[float],
    saves: list[int],
    minutes: str,
    expected: list[int],
    tmp_path: Path,
) -> None:
    settings = tiny_settings(*SMALL, f"checkpoint.minutes={minutes}")
    for report in train_reports(settings, name="run", runs_dir=tmp_path):
        if isinstance(report, Step):
            clock[0] += 60
    assert saves == expected
    fit("plain")
    run, plain = Run(tmp_path / "run"), Run(tmp_path / "plain")
    assert contents(run) == contents(plain)
    assert untimed(run) == untimed(plain)
    assert run.samples() == plain.samples()


def test_saving_by_the_clock_restarts_in_a_resumed_run(
    tiny_settings: MakeSettings, clock: list[float], saves: list[int], tmp_path: Path
) -> None:
    settings = tiny_settings(*SMALL, "train.eval_every=100", "checkpoint.minutes=3")
    for last in (5, 16):
        reports = train_reports(settings, name="run", runs_dir=tmp_path, resume=True)
        for report in reports:
            if isinstance(report, Step):
                clock[0] += 60
                if report.step == last:
                    reports.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert saves == [0, 3, 6, 9, 12, 15]


# Failing saves.


def test_a_failed_save_is_reported_and_tried_again_after_half_a_minute(
    tiny_settings: MakeSettings, clock: list[float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tried: list[int] = []
    write = writer.write_checkpoint

    def failing(run: Run, checkpoint: Any) -> None:
        tried.append(checkpoint.step)
        if checkpoint.step in (4, 7):
            raise StorageError("cannot write: the disk is full")
        write(run, checkpoint)

    monkeypatch.setattr(writer, "write_checkpoint", failing)
    reports: list[TrainingEvent] = []
    settings = tiny_settings(*SMALL, "train.eval_every=4", "train.max_steps=14", "checkpoint.minutes=60")
    for report in train_reports(settings, name="run", runs_dir=tmp_path):
        reports.append(report)
        if isinstance(report, Step):
            clock[0] += RETRY_SECONDS / 3
    assert tried == [0, 4, 7, 8, 12, 14]
    unsaved = [report for report in reports if isinstance(report, Unsaved)]
    assert [(report.step, report.sentence) for report in unsaved] == [
        (4, "cannot write: the disk is full"),
        (7, "cannot write: the disk is full"),
    ]
    assert isinstance(reports[-1], End)
    assert [record["step"] for record in Run(tmp_path / "run").metrics()[:-1]] == [4, 8, 12, 14]


def test_after_a_successful_retry_saves_return_to_their_usual_times(
    tiny_settings: MakeSettings, clock: list[float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tried: list[int] = []
    write = writer.write_checkpoint

    def failing(run: Run, checkpoint: Any) -> None:
        tried.append(checkpoint.step)
        if checkpoint.step == 4:
            raise StorageError("cannot write: the disk is full")
        write(run, checkpoint)

    monkeypatch.setattr(writer, "write_checkpoint", failing)
    settings = tiny_settings(*SMALL, "train.eval_every=4", "train.max_steps=7", "checkpoint.minutes=60")
    for report in train_reports(settings, name="run", runs_dir=tmp_path):
        if isinstance(report, Step):
            clock[0] += RETRY_SECONDS
    assert tried == [0, 4, 5, 7]


@pytest.mark.parametrize("overrides", [(), ("train.max_steps=14",)])
def test_a_run_whose_last_save_fails_ends_with_an_error_and_can_be_resumed(
    fit: Fit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    """The save of the last evaluation is tried twice on the schedule, and once outside it."""
    write = os.write

    def full(descriptor: int, content: Any) -> int:
        has_begun = (tmp_path / "run").exists() and steps_kept(tmp_path / "run")[-1:] == [12]
        if has_begun:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, content)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(StorageError, match="no space left on device") as raised:
            fit("run", *overrides)
    assert raised.value.exit_code == 6
    assert steps_kept(tmp_path / "run")[-1] == 12
    fit("run", *overrides, resume=True)
    fit("plain", *overrides)
    run, plain = Run(tmp_path / "run"), Run(tmp_path / "plain")
    assert untimed(run) == untimed(plain)
    assert run.samples() == plain.samples()
    assert contents(run) == contents(plain)


def test_records_wait_for_a_checkpoint_that_could_not_be_saved(
    fit: Fit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A disk that is full for a while costs no line, wherever in a save that happens."""
    fit("plain", "sample.every=3")
    plain = Run(tmp_path / "plain")
    write = os.write
    for failing in range(1, 9):
        calls, name = count(1), f"run{failing}"

        def full_for_a_while(
            descriptor: int, content: Any, failing: int = failing, name: str = name, calls: Iterator[int] = calls
        ) -> int:
            has_begun = steps_kept(tmp_path / name)[-1:] == [4] if (tmp_path / name).exists() else False
            if has_begun and next(calls) == failing:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(descriptor, content)

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full_for_a_while)
            reports = fit(name, "sample.every=3")
        assert len([report for report in reports if isinstance(report, Unsaved)]) == 1, failing
        run = Run(tmp_path / name)
        assert untimed(run) == untimed(plain)
        assert run.samples() == plain.samples()
        assert contents(run) == contents(plain)

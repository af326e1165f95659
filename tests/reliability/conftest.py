"""Runs that are cut and resumed, and everything about a run that must stay the same however often that happens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from charlm.runs.checkpoints import step_of
from charlm.runs.run import Run
from charlm.settings.schema import Settings
from charlm.training.events import End, Start, Step, TrainingEvent
from charlm.training.launch import train_reports

# Seven short windows an epoch, evaluations and samples on periods of their own, and every checkpoint kept.
SEVEN_WINDOWS = ("corpus.max_chars=1100", "sampling.seq_len=32")
SMALL = (
    *SEVEN_WINDOWS,
    "train.max_steps=16",
    "train.eval_every=4",
    "sample.every=3",
    "checkpoint.keep_every=1",
)
# How much a test does: a little in the quick suite, more among the slow tests.
LITTLE_OR_MORE = ("little", pytest.param("more", marks=pytest.mark.slow))
CLOCKED = ("seconds", "chars_per_second", "epoch_seconds")


@dataclass(frozen=True)
class Cut:
    """The end of a process that trains a run.

    Args:
        step: the step after which it ends.
        is_abrupt: whether it ends as by a kill, with nothing saved; otherwise, by a request to stop.
    """

    step: int
    is_abrupt: bool


@dataclass(frozen=True)
class Trace:
    """Everything about a run that its cuts must not change.

    Args:
        checkpoints: by step, what each file holds, clocks left out.
        metrics: every line, clocks left out.
        samples: every line.
    """

    checkpoints: dict[int, dict[str, Any]]
    metrics: list[dict[str, Any]]
    samples: list[dict[str, Any]]

    def difference(self, whole: Trace) -> str | None:
        """Return how this run differs from the same run uncut, which may keep fewer checkpoints."""
        for name in ("metrics", "samples"):
            if getattr(self, name) != getattr(whole, name):
                return f"{name}: {getattr(self, name)} is not {getattr(whole, name)}"
        if missing := whole.checkpoints.keys() - self.checkpoints.keys():
            return f"no checkpoints of steps {sorted(missing)}"
        for step, files in whole.checkpoints.items():
            for name, content in files.items():
                if self.checkpoints[step][name] != content:
                    return f"{name} of step {step}: {self.checkpoints[step][name]} is not {content}"
        return None


def trace(run: Run) -> Trace:
    """Read a run."""
    checkpoints = {
        step_of(path): {
            "state": _without_clocks(json.loads((path / "state.json").read_text(encoding="utf-8"))),
            **{
                name: sha256((path / name).read_bytes()).hexdigest()
                for name in ("model.safetensors", "training.safetensors", "vocabulary.json")
            },
        }
        for path in run.checkpoint_paths()
    }
    lines = {
        name: [json.loads(line) for line in (run.path / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
        for name in ("metrics", "samples")
        if (run.path / f"{name}.jsonl").exists()
    }
    return Trace(checkpoints, _without_clocks(lines.get("metrics", [])), lines.get("samples", []))


def _without_clocks(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_clocks(part) for key, part in value.items() if key not in CLOCKED}
    return [_without_clocks(part) for part in value] if isinstance(value, list) else value


def session(
    folder: Path, settings: Settings | None, *, cut: Cut | None = None, overrides: Sequence[str] = ()
) -> list[TrainingEvent]:
    """Start or resume the run of a folder as one process would; return its reports."""
    seen: list[TrainingEvent] = []

    def should_stop() -> str | None:
        has_come = cut and not cut.is_abrupt and _last_step(seen) >= cut.step
        return "interrupt" if has_come else None

    reports = train_reports(
        settings, name="run", runs_dir=folder, resume=True, overrides=overrides, should_stop=should_stop
    )
    for report in reports:
        seen.append(report)
        if cut and cut.is_abrupt and isinstance(report, Step) and report.step >= cut.step:
            reports.close()  # pyright: ignore[reportAttributeAccessIssue]
    return seen


def _last_step(reports: Sequence[TrainingEvent]) -> int:
    """Return the progress of a process."""
    for report in reversed(reports):
        if isinstance(report, Step):
            return report.step
        if isinstance(report, Start):
            return report.resumed_at or 0
    return -1


class Laboratory:
    """Runs, whole and cut.

    Args:
        make: makes settings from overrides.
        folders: a new folder each.
    """

    def __init__(self, make: Callable[..., Settings], folders: Iterator[Path]) -> None:
        self.make, self._folders = make, folders
        self._wholes: dict[tuple[str, ...], Run] = {}

    def folder(self) -> Path:
        """Return a folder for one more run."""
        return next(self._folders)

    def whole(self, *overrides: str) -> Run:
        """Return the uncut run of some small settings; trained once, nobody may change it."""
        if overrides not in self._wholes:
            folder = self.folder()
            assert isinstance(session(folder, self.make(*SMALL, *overrides))[-1], End)
            self._wholes[overrides] = Run(folder / "run")
        return self._wholes[overrides]

    def cut(self, cuts: Sequence[Cut], *overrides: str) -> Run:
        """Train the same run in one more process than there are cuts; the last goes to its end."""
        folder, settings = self.folder(), self.make(*SMALL, *overrides)
        for cut in (*cuts, None):
            session(folder, settings, cut=cut)
            # The random generators of another process may be in any state.
            torch.manual_seed(cut.step if cut else 0)
        return Run(folder / "run")

    def difference(self, cuts: Sequence[Cut], *overrides: str) -> str | None:
        """Return how the run with these cuts differs from the uncut one."""
        return trace(self.cut(cuts, *overrides)).difference(trace(self.whole(*overrides)))

    seven_windows = SEVEN_WINDOWS
    session = staticmethod(session)
    trace = staticmethod(trace)
    without_clocks = staticmethod(_without_clocks)

    @staticmethod
    def cuts(random: Random, *steps: int) -> list[Cut]:
        """Return cuts at these steps, each of either kind."""
        return [Cut(step, random.random() < 0.5) for step in steps]


@dataclass(frozen=True)
class Effort:
    """How much work is done by a test that could run for hours.

    Args:
        is_little: whether it does as little as in the quick suite; otherwise, as much as in CI.
        is_long: whether it runs at full length instead, with --endurance.
    """

    is_little: bool
    is_long: bool

    def times(self, little: int, more: int, most: int) -> int:
        """Return how often to try, or the stride between the cases to take."""
        return little if self.is_little else most if self.is_long else more


@pytest.fixture(scope="session", params=LITTLE_OR_MORE)
def effort(request: pytest.FixtureRequest, endurance: Any) -> Effort:
    """Return how much to do; a test that uses this exists twice, once marked slow."""
    return Effort(request.param == "little", endurance.is_long)


@pytest.fixture(scope="session")
def laboratory(tiny_settings: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    """Return the trainer of whole and cut runs."""
    folders = (tmp_path_factory.mktemp("run") for _ in iter(int, 1))
    # Baselines depend on the text alone; one test of resuming needs them.
    return Laboratory(partial(tiny_settings, "eval.baselines=false"), folders)

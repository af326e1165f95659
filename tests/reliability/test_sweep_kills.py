"""A sweep killed at random moments, its workers or all of it: no trial lost, none doubled, the undisturbed table."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from random import Random
from statistics import fmean
from threading import Timer
from typing import Any

import pytest

import charlm
from charlm.runs.run import Run
from charlm.settings.loading import dump_settings
from charlm.sweeps import sweeping
from charlm.sweeps.events import SweepEnd, SweepEvent, TrialEnd, TrialStart, WorkerLost
from charlm.sweeps.ledger import LEDGER
from charlm.sweeps.output import BEST, RESULTS
from charlm.sweeps.workers import MAX_LOSSES, Workers
from charlm.training.verification import verify_run

# Every checkpoint is kept, to be compared; dropout draws numbers whose order a cut must not change.
TRIAL = (
    *("model.num_layers=2", "model.dropout=0.3", "train.max_steps=null", "train.epochs=1", "train.eval_every=8"),
    *("sample.every=20", "checkpoint.keep_every=1", "eval.baselines=false"),
)
GRID = """
base: base.yaml
name: swept
seeds: {seeds}
space:
  model.cell: [rnn, gru]
  model.hidden_size: [4, 8]
"""
RUNGS = GRID + "stop_early: {{method: halving, rungs: [8, 16, 32], keep: 0.5}}\n"
# About the time until a worker has torch in memory.
START_SECONDS = 2.5
MAX_TRIALS_APART = 12
IN_START = 0.2

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="this system does not tell of processes"
)


@pytest.fixture
def swept(
    tmp_path: Path, tiny_settings: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Path, Path]]:
    """Return what writes a sweep file, and runs the sweep undisturbed in a thread of this process: both paths."""

    def sweep(text: str, num_seeds: int) -> tuple[Path, Path]:
        (tmp_path / "base.yaml").write_text(dump_settings(tiny_settings(*TRIAL)), encoding="utf-8")
        path = tmp_path / "sweep.yaml"
        path.write_text(text.format(seeds=num_seeds), encoding="utf-8")
        with monkeypatch.context() as patch:
            patch.setattr(sweeping, "local_workers", lambda _: Workers(lambda: ThreadPoolExecutor(1), 1))
            results = charlm.sweep(path, runs_dir=tmp_path / "whole")
        assert not results.failed
        return path, tmp_path / "whole" / "swept"

    return sweep


def outcomes(folder: Path) -> list[dict[str, Any]]:
    """Return what a sweep has recorded, sorted; a trial that was run twice appears twice."""
    lines = (folder / LEDGER).read_text(encoding="utf-8").splitlines()
    return sorted(map(json.loads, lines), key=lambda each: (each["trial"], each["rung"] or 0))


def processes() -> list[int]:
    """Return the processes that this test has started, and those that they have."""
    mark = f"CHARLM_DATA_DIR={os.environ['CHARLM_DATA_DIR']}\0".encode()
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            is_ours = entry.name.isdecimal() and mark in (entry / "environ").read_bytes()
            if is_ours and b"resource_tracker" not in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return sorted(found)


def wait_for_their_end() -> None:
    """Wait until no process is left."""
    until = time.monotonic() + 30
    while left := processes():
        assert time.monotonic() < until, left
        time.sleep(0.01)


def owners(folder: Path) -> Iterator[int]:
    """Yield the processes that write a trial of a sweep, or died while they did."""
    for lease in folder.glob("*/.lease-*"):
        # Living ones have released it meanwhile, or have not yet signed.
        with suppress(OSError, ValueError):
            yield json.loads(lease.read_bytes())["pid"]


def check_that_nothing_was_lost_or_doubled(folder: Path, whole: Path, laboratory: Any) -> None:
    """Compare a sweep that has ended with the undisturbed one: its table, its records and each of its runs."""
    table, expected = (
        laboratory.without_clocks(json.loads((each / RESULTS).read_text(encoding="utf-8"))) for each in (folder, whole)
    )
    assert table["failed"] == []
    assert table == expected
    assert (folder / BEST).read_bytes() == (whole / BEST).read_bytes()
    assert laboratory.without_clocks(outcomes(folder)) == laboratory.without_clocks(outcomes(whole))
    names = {row["trial"] for row in table["trials"]}
    assert {path.name for path in folder.iterdir() if path.is_dir()} == names
    for name in names:
        run = Run(folder / name)
        assert laboratory.trace(run).difference(laboratory.trace(Run(whole / name))) is None, name
        # A sweep that is told to end saves, so that there may be more than the undisturbed one has.
        assert [each.damage for each in verify_run(run) if each.damage] == [], name


class Killer:
    """Kill a worker now and then while a sweep runs.

    The first kill falls while the workers start; each further one after some more trials have ended, somewhere in the
    time that one takes. While a worker starts again the others may end many trials: a trial that was in hand when too
    many died would fail, as it should, if it was the same worker each time.

    Args:
        folder: of the sweep.
        random: says when, and whom.
        max_apart: the most trials from one kill to the next.
        max_kills: after which there is peace.
    """

    def __init__(self, folder: Path, random: Random, *, max_apart: int, max_kills: int) -> None:
        self.folder, self.random, self.max_apart, self.max_kills = folder, random, max_apart, max_kills
        self.num_kills = self.num_in_trials = 0
        self._in_hand: set[str] = set()
        self._num_seen: Counter[str] = Counter()
        self._num_until_next: int | None = 0
        self._timer = Timer(0, self._kill)

    def see(self, report: SweepEvent) -> None:
        """Follow the sweep."""
        seconds = START_SECONDS
        if isinstance(report, TrialStart):
            self._in_hand.add(report.trial.name)
        elif isinstance(report, TrialEnd):
            self._in_hand.discard(report.trial.name)
            seconds = report.outcome.seconds
            if self._num_until_next:
                self._num_until_next -= 1
        is_due = self._num_until_next == 0 and self.num_kills < self.max_kills
        if is_due and all(self._num_seen[name] < MAX_LOSSES - 1 for name in self._in_hand):
            self._num_until_next = None
            self._timer = Timer(self.random.random() * seconds, self._kill)
            self._timer.start()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Kill nobody after the end."""
        try:
            yield
        finally:
            self._timer.cancel()
            if self._timer.ident is not None:
                self._timer.join()

    def _kill(self) -> None:
        if workers := processes():
            victim = self.random.choice(workers)
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                self._num_seen.update(tuple(self._in_hand))
                self.num_kills += 1
                self.num_in_trials += victim in owners(self.folder)
        self._num_until_next = self.random.randint(1, self.max_apart)


@pytest.mark.slow
def test_workers_killed_at_random_moments_lose_and_double_nothing(
    tmp_path: Path, swept: Callable[..., tuple[Path, Path]], laboratory: Any, endurance: Any
) -> None:
    random = Random(f"{endurance.seed} workers")
    path, whole = swept(GRID, endurance.times(3, 50))
    num_kills = num_in_trials = num_trials = num_lost = 0
    for number in count():
        folder = tmp_path / f"{number}" / "swept"
        killer = Killer(
            folder, random, max_apart=endurance.times(3, MAX_TRIALS_APART), max_kills=endurance.times(3, 1000)
        )
        last: Any = None
        with killer.at_work():
            for last in charlm.sweep_reports(path, runs_dir=folder.parent, jobs=2):
                killer.see(last)
                num_lost += last.num_tasks if isinstance(last, WorkerLost) else 0
        assert isinstance(last, SweepEnd)
        assert last.stopped_by is None
        assert processes() == []
        check_that_nothing_was_lost_or_doubled(folder, whole, laboratory)
        num_kills += killer.num_kills
        num_in_trials += killer.num_in_trials
        num_trials += len(last.results.trials)
        if num_in_trials >= endurance.times(1, 10):
            break
    # A worker without a task is not missed.
    assert num_in_trials <= num_lost <= num_kills
    endurance.tell(
        "sweep workers", f"{num_trials} trials, {num_kills} kills, {num_in_trials} of them in the middle of a trial"
    )


def wait_for_a_moment(process: Any, ledger: Path, random: Random, *, max_trials: int, trial_seconds: float) -> None:
    """Wait for a random moment of a sweep's process: while it starts, or in the middle of some trial."""
    if random.random() < IN_START:
        time.sleep(random.random() * 2 * START_SECONDS)
        return

    def num_ended() -> int:
        return ledger.read_bytes().count(b"\n") if ledger.exists() else 0

    num_wanted = num_ended() + random.randint(1, max_trials)
    while process.poll() is None and num_ended() < num_wanted:
        time.sleep(0.01)
    time.sleep(random.random() * trial_seconds)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "number", "short"),
    [(RUNGS, signal.SIGKILL, 1), (GRID, signal.SIGKILL, 0), (GRID, signal.SIGTERM, 0), (RUNGS, signal.SIGTERM, 0)],
    ids=["rungs killed", "grid killed", "grid terminated", "rungs terminated"],
)
def test_a_sweep_ended_at_random_moments_and_started_again_is_the_undisturbed_one(
    tmp_path: Path,
    swept: Callable[..., tuple[Path, Path]],
    charlm_process: Callable[..., Any],
    laboratory: Any,
    endurance: Any,
    request: pytest.FixtureRequest,
    text: str,
    number: signal.Signals,
    short: int,
) -> None:
    wanted = endurance.times(short, 10)
    if not wanted:
        pytest.skip("only at full length: --endurance")
    random = Random(f"{endurance.seed} sweeps")
    path, whole = swept(text, endurance.times(3, 25))
    trial_seconds = fmean(each["seconds"] for each in outcomes(whole))
    num_ends = num_cut = num_trials = num_starts = 0

    def is_wanted() -> bool:
        # Told to end, trials as short as these mostly end by themselves.
        return num_ends < wanted or (number == signal.SIGKILL and num_cut == 0)

    while is_wanted():
        folder = tmp_path / f"{num_starts}" / "swept"
        returncode: int | None = None
        while returncode != 0:
            num_starts += 1
            process = charlm_process("sweep", path, "--jobs=2", f"--runs-dir={folder.parent}", is_cold=True)
            if number == signal.SIGTERM:
                # Before its first line nobody listens: the interpreter ends, and nothing has begun.
                process.stderr.readline()
            if is_wanted():
                wait_for_a_moment(
                    process,
                    folder / LEDGER,
                    random,
                    max_trials=endurance.times(4, MAX_TRIALS_APART),
                    trial_seconds=trial_seconds,
                )
                process.send_signal(number)
            _, said = process.communicate(timeout=120)
            returncode = process.returncode
            if returncode == 0:
                break
            num_ends += 1
            if number == signal.SIGKILL:
                assert returncode == -signal.SIGKILL, said
                wait_for_their_end()
                num_cut += len(list(owners(folder)))
            else:
                assert returncode == 143
                assert b"run the same command again to resume" in said
                assert processes() == []
                assert not list(owners(folder))
                num_cut += sum(Run(each).summary() is None for each in folder.iterdir() if Run(each).exists)
        wait_for_their_end()
        check_that_nothing_was_lost_or_doubled(folder, whole, laboratory)
        num_trials += len(json.loads((folder / RESULTS).read_text(encoding="utf-8"))["trials"])
    endurance.tell(
        f"sweep, {request.node.callspec.id}",
        f"{num_trials} trials, {num_ends} ends by {number.name}, {num_cut} trials cut in the middle",
    )

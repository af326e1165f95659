"""Signals at random moments of real processes: a stopped run loses nothing, and ends as the uncut run once resumed."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from processes import Process, finish, run_command, start

from charlm.runs.run import Run

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 143, signal.SIGHUP: 129}
WORDS = {130: "interrupted", 143: "terminated", 129: "hung up"}
# An evaluation and a sample table each take about as long as the steps between them, the closing readings longer.
STEPS, EVAL_EVERY, SAMPLE_EVERY = 96, 16, 12
OPTIONS = (
    "--set=model.hidden_size=32",
    f"--set=train.max_steps={STEPS}",
    f"--set=train.eval_every={EVAL_EVERY}",
    "--set=eval.max_chars=4000",
    f"--set=sample.every={SAMPLE_EVERY}",
    "--set=sample.length=400",
    f"--set=checkpoint.keep_every={EVAL_EVERY}",
)
STOPPED = re.compile(r"charlm: stopped at step ([\d,]+) and saved in (\S+); resume with: (.+)\n")


def wait_for_handlers(process: Process) -> None:
    """Wait until a process listens to signals; what comes before that is the interpreter's."""
    last = signal.SIGHUP
    while process.poll() is None:
        found = re.search(r"^SigCgt:\s*([0-9a-f]+)$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
        if found and int(found[1], 16) >> (last - 1) & 1:
            return
        time.sleep(0.001)


def wait_until_it_is_made(process: Process, run: Run) -> None:
    """Wait until a run has its folder."""
    while not run.path.exists():
        assert process.poll() is None
        time.sleep(0.001)


@pytest.fixture(scope="module")
def corpus(corpus_text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a text whose splits take a while to read."""
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text(corpus_text * 50, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def whole(corpus: Path, tiny_options: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, float, float]:
    """Return the run that nobody cuts, how long its process takes to make it, and how long from then on."""
    folder = tmp_path_factory.mktemp("whole")
    run = Run(folder / "run")
    where = (f"--corpus={corpus}", "--run=run", f"--runs-dir={folder}", "--quiet")
    with start("train", *tiny_options, *OPTIONS, *where) as process:
        wait_for_handlers(process)
        began = time.monotonic()
        wait_until_it_is_made(process, run)
        made = time.monotonic()
        assert finish(process).exit_code == 0
    seconds = (run.summary() or {})["seconds"]
    return run, made - began, seconds


def phase(run: Run, stopped_at: int) -> str:
    """Return what a stopped run was doing, judging by what it has written."""
    evaluated = max((record["step"] for record in run.metrics()), default=0)
    sampled = max((record["step"] for record in run.samples()), default=0)
    if stopped_at == STEPS and evaluated == STEPS:
        return "closing"
    if stopped_at % EVAL_EVERY == 0 and stopped_at > evaluated:
        return "evaluation"
    if stopped_at % SAMPLE_EVERY == 0 and stopped_at > sampled:
        return "samples"
    return "training" if stopped_at else "creation"


@pytest.mark.slow
def test_a_signal_at_any_moment_loses_nothing(
    tmp_path: Path,
    charlm_process: Callable[..., Process],
    corpus: Path,
    tiny_options: list[str],
    whole: tuple[Run, float, float],
    laboratory: Any,
    endurance: Any,
) -> None:
    random = Random(endurance.seed)
    (run, to_start, to_train) = whole
    expected = laboratory.trace(run)
    delays: list[float] = []
    phases: dict[str, int] = {}
    times = endurance.times(4, 100)
    # On a busy machine a moment meant for the start may come late, and one meant for the run after its end.
    for number in count():
        if number >= times and "start-up" in phases and phases.keys() - {"start-up", "done"}:
            break
        folder = tmp_path / f"{number}"
        chosen = random.choice(list(CODES))
        where = (f"--corpus={corpus}", "--run=run", f"--runs-dir={folder}")
        process = charlm_process("train", *tiny_options, *OPTIONS, *where, "--quiet")
        run, share = Run(folder / "run"), (number % times + random.random()) / times
        # A quarter while it starts; then evenly from the making of its folder to its end.
        if share < 0.25:
            wait_for_handlers(process)
            time.sleep(4 * share * to_start)
        else:
            wait_until_it_is_made(process, run)
            time.sleep((share - 0.25) / 0.75 * to_train)
        sent = time.monotonic()
        process.send_signal(chosen)
        returncode, stdout, said = finish(process)
        delay = time.monotonic() - sent
        if returncode == 0:
            # It had already ended.
            name = "done"
            assert said == ""
        elif said == f"charlm: {WORDS[CODES[chosen]]}\n":
            name = "start-up"
            assert (returncode, stdout) == (CODES[chosen], "")
            assert not folder.exists()
        else:
            stopped = STOPPED.fullmatch(said)
            assert stopped, (returncode, said)
            assert (returncode, stdout, Path(stopped[2])) == (CODES[chosen], "", run.path)
            at = int(stopped[1].replace(",", ""))
            name = phase(run, at)
            assert run.summary() is None
            done = run_command(stopped[3], "--json", "--quiet")
            assert (done.exit_code, done.stderr) == (0, "")
            assert json.loads(done.stdout)["steps"] == STEPS
        if name not in ("start-up", "done"):
            delays.append(delay)
        if name != "start-up":
            difference = laboratory.trace(run).difference(expected)
            assert difference is None, (number, name, difference)
        phases[name] = phases.get(name, 0) + 1
    told = ", ".join(f"{times} {name}" for name, times in sorted(phases.items()))
    endurance.tell("signals", f"{number} of {number} lost nothing ({told}); longest until the end {max(delays):.2f} s")

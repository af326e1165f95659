"""Signals at random moments of real processes: a run ends with what it was, and goes on to what it would have been."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from charlm.runs.run import Run

Process = Callable[..., "subprocess.Popen[bytes]"]
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 143}
WORDS = {130: "interrupted", 143: "terminated"}
# An evaluation and a sample table each take about as long as the steps between them, the closing readings longer.
OPTIONS = (
    "--set=model.hidden_size=128",
    "--set=train.max_steps=240",
    "--set=train.eval_every=40",
    "--set=eval.max_chars=20000",
    "--set=sample.every=30",
    "--set=sample.length=2000",
    "--set=checkpoint.keep_every=40",
)
STOPPED = re.compile(r"charlm: stopped at step ([\d,]+) and saved in (\S+); go on with: (.+)\n")


def wait_for_handlers(process: subprocess.Popen[bytes]) -> None:
    """Wait until a process listens to signals; what comes before that is the interpreter's."""
    last = signal.SIGUSR1
    while process.poll() is None:
        found = re.search(r"^SigCgt:\s*([0-9a-f]+)$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
        if found and int(found[1], 16) >> (last - 1) & 1:
            return
        time.sleep(0.001)


def wait_until_it_is_made(process: subprocess.Popen[bytes], run: Run) -> None:
    """Wait until a run has its folder."""
    while not run.path.exists():
        assert process.poll() is None
        time.sleep(0.001)


@pytest.fixture(scope="module")
def corpus(corpus_text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a text whose parts take a while to read."""
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text(corpus_text * 400, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def whole(corpus: Path, tiny_options: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, float, float]:
    """Return the run that nobody cuts, how long its process takes to make it, and how long from then on."""
    folder = tmp_path_factory.mktemp("whole")
    began = time.monotonic()
    command = [sys.executable, "-P", "-m", "charlm", "train", *tiny_options, *OPTIONS, f"--corpus={corpus}"]
    run = Run(folder / "run")
    with subprocess.Popen(
        [*command, "--run=run", f"--runs-dir={folder}", "--quiet"], stdout=subprocess.DEVNULL
    ) as process:
        wait_until_it_is_made(process, run)
        made = time.monotonic()
        assert process.wait(timeout=60) == 0
    seconds = (run.summary() or {})["seconds"]
    return run, made - began, seconds


def phase(run: Run, stopped_at: int) -> str:
    """Tell from what a stopped run has written what it was doing."""
    evaluated = max((record["step"] for record in run.metrics()), default=0)
    sampled = max((record["step"] for record in run.samples()), default=0)
    if stopped_at == 240 and evaluated == 240:
        return "closing"
    if stopped_at % 40 == 0 and stopped_at > evaluated:
        return "evaluation"
    if stopped_at % 30 == 0 and stopped_at > sampled:
        return "samples"
    return "training" if stopped_at else "creation"


def test_a_signal_at_any_moment_loses_nothing(
    tmp_path: Path,
    charlm_process: Process,
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
    for number in range(times):
        folder = tmp_path / f"{number}"
        chosen = random.choice(list(CODES))
        where = (f"--corpus={corpus}", "--run=run", f"--runs-dir={folder}")
        process = charlm_process("train", *tiny_options, *OPTIONS, *where, "--quiet")
        run, share = Run(folder / "run"), (number + random.random()) / times
        # A quarter while it starts, imports included; then evenly from the making of its folder to its end.
        if share < 0.25:
            wait_for_handlers(process)
            time.sleep(4 * share * to_start)
        else:
            wait_until_it_is_made(process, run)
            time.sleep((share - 0.25) / 0.75 * to_train)
        sent = time.monotonic()
        process.send_signal(chosen)
        stdout, stderr = process.communicate(timeout=60)
        delay, said = time.monotonic() - sent, stderr.decode()
        if process.returncode == 0:
            # It was through before.
            name = "done"
            assert said == ""
        elif said == f"charlm: {WORDS[CODES[chosen]]}\n":
            name = "start-up"
            assert (process.returncode, stdout) == (CODES[chosen], b"")
            assert not folder.exists()
        else:
            stopped = STOPPED.fullmatch(said)
            assert stopped, (process.returncode, said)
            assert (process.returncode, stdout, Path(stopped[2])) == (CODES[chosen], b"", run.path)
            at = int(stopped[1].replace(",", ""))
            name = phase(run, at)
            assert run.summary() is None
            done = subprocess.run([*shlex.split(stopped[3]), "--json", "--quiet"], capture_output=True, check=False)
            assert (done.returncode, done.stderr) == (0, b"")
            assert json.loads(done.stdout)["steps"] == 240
        if name not in ("start-up", "done"):
            delays.append(delay)
        if name != "start-up":
            difference = laboratory.trace(run).difference(expected)
            assert difference is None, (number, name, difference)
        phases[name] = phases.get(name, 0) + 1
    assert phases.keys() >= {"start-up"}
    assert phases.keys() - {"start-up", "done"}
    told = ", ".join(f"{count} {name}" for name, count in sorted(phases.items()))
    endurance.tell("signals", f"{times} of {times} lost nothing ({told}); longest until the end {max(delays):.2f} s")

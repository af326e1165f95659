"""A run killed at random moments, many of them inside a save, loses nothing saved and ends as the uncut run."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from processes import finish, start_code

from charlm.runs.checkpoints import load_checkpoint
from charlm.runs.run import Run

# At least this share of the kills falls inside a save; while there are fewer, the next one is aimed at a save.
IN_SAVES = 0.3
MAX_KILLS_A_RUN = 12

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def settings_of(corpus_file: Path) -> list[str]:
    """Return the settings of all runs here."""
    return [
        f"corpus.path='{corpus_file}'",
        *("sampling.batch_size=4", "sampling.seq_len=96", "train.device=cpu", "train.threads=1"),
        *("model.hidden_size=8", "model.num_layers=2", "model.dropout=0.3"),
        *("train.max_steps=24", "train.eval_every=4", "sample.every=3", "sample.prefixes=['the ']", "sample.length=8"),
    ]


# This trains a run to its end, and prints when a save begins and when it is done.
TELLING = """
import json, os, sys, time
from pathlib import Path
from charlm.settings.loading import load_settings
from charlm.training.launch import train_reports
from charlm.runs.writer import RunWriter
folder, is_synced, *overrides = sys.argv[1:]
save = RunWriter.save
def tell(**news):
    os.write(1, (json.dumps(news) + "\\n").encode())
def telling_save(self, checkpoint, **options):
    tell(begun=checkpoint.step, time=time.monotonic())
    save(self, checkpoint, **options)
    tell(saved=checkpoint.step, time=time.monotonic())
RunWriter.save = telling_save
if is_synced == "False":
    os.fsync = lambda _: None
for _ in train_reports(load_settings(overrides=overrides), name="run", runs_dir=Path(folder), resume=True):
    pass
"""


@dataclass(frozen=True)
class Outcome:
    """The outcome of an attempt.

    Args:
        is_killed: whether it ended by the kill.
        is_in_save: whether it was within a save at that moment.
        saved: the steps whose saves had been done.
        seconds: that it took.
        save_seconds: those of its longest save.
    """

    is_killed: bool
    is_in_save: bool
    saved: list[int]
    seconds: float
    save_seconds: float


def attempt(
    folder: Path, overrides: list[str], *, is_synced: bool, delay: float | None = None, save: int | None = None
) -> Outcome:
    """Train the run of a folder in a process of its own, and kill that at its time.

    Args:
        folder: the run's folder.
        overrides: of its settings.
        is_synced: whether the disk is waited for.
        delay: seconds until the kill, from the start or from within a save; None for no kill.
        save: from within which save, counted from 1; None from the start.
    """
    began = time.monotonic()
    with start_code(TELLING, folder, str(is_synced), *overrides) as process:
        told = process.stdout
        assert told is not None
        kill_at = began + delay if delay is not None and save is None else None
        content = b""
        while True:
            left = None if kill_at is None else max(0.0, kill_at - time.monotonic())
            if not select.select([told], [], [], left)[0]:
                process.kill()
                kill_at = None
                continue
            block = os.read(told.fileno(), 1 << 16)
            if not block:
                break
            content += block
            if save is not None and delay is not None and content.count(b'"begun"') >= save:
                kill_at, save = time.monotonic() + delay, None
        ended = finish(process)
    assert ended.exit_code in (0, -signal.SIGKILL)
    news = [json.loads(line) for line in content.splitlines()]
    begun, saved = ([item for item in news if kind in item] for kind in ("begun", "saved"))
    return Outcome(
        is_killed=ended.exit_code != 0,
        is_in_save=len(begun) > len(saved),
        saved=[item["saved"] for item in saved],
        seconds=time.monotonic() - began,
        save_seconds=max((b["time"] - a["time"] for a, b in zip(begun, saved, strict=False)), default=0.0),
    )


def test_a_run_killed_again_and_again_is_the_uncut_run(
    laboratory: Any, effort: Any, endurance: Any, corpus_file: Path
) -> None:
    wanted = effort.times(10, 25, 200)
    random = Random(f"{endurance.seed} kills")
    kills = kills_in_saves = lost = 0
    wholes: dict[str, tuple[Path, Outcome]] = {}
    for number in count():
        cell, method = ("lstm", "gru", "rnn")[number % 3], ("consecutive", "random")[number % 2]
        overrides = [
            *settings_of(corpus_file),
            f"model.cell={cell}",
            f"sampling.method={method}",
        ]
        is_synced = number % 2 == 0
        if cell + method not in wholes:
            folder = laboratory.folder()
            outcome = attempt(folder, overrides, is_synced=is_synced)
            assert not outcome.is_killed
            wholes[cell + method] = folder, outcome
        whole, uncut = wholes[cell + method]
        folder, last_saved = laboratory.folder(), -1
        for kill in count(1):
            is_aimed = kills_in_saves <= IN_SAVES * kills
            outcome = attempt(
                folder,
                overrides,
                is_synced=is_synced,
                delay=None
                if kill > MAX_KILLS_A_RUN
                else random.uniform(0, uncut.save_seconds if is_aimed else uncut.seconds / 2),
                save=random.choice((1, 2, 3)) if is_aimed else None,
            )
            kills += outcome.is_killed
            kills_in_saves += outcome.is_killed and outcome.is_in_save
            last_saved = max([last_saved, *outcome.saved])
            # A warning about a damaged checkpoint would be an error here.
            found = load_checkpoint(Run(folder / "run"), "last").step if last_saved >= 0 else -1
            lost += found < last_saved
            if not outcome.is_killed:
                break
        difference = laboratory.trace(Run(folder / "run")).difference(laboratory.trace(Run(whole / "run")))
        assert difference is None, (number, difference)
        if kills >= wanted and kills_in_saves >= kills / 4:
            break
    endurance.tell(
        "kills", f"{kills}, {kills_in_saves} of them inside a save, {number + 1} runs, {lost} checkpoints lost"
    )
    assert lost == 0

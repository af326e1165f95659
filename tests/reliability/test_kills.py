"""A run killed at random moments, many of them inside a save, loses nothing saved and ends as the uncut run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from charlm.runs.checkpoints import load_checkpoint
from charlm.runs.run import Run

SERVER = Path(__file__).with_name("kill_server.py")
# Of all kills, so many fall inside a save; while there are fewer, the next is aimed at one.
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


@pytest.fixture(scope="module")
def attempt(corpus_file: Path) -> Iterator[Callable[..., dict[str, Any]]]:
    """Yield what has a warm process fork a child that trains a run, and kills it."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, str(SERVER), *settings_of(corpus_file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        # A fork copies one thread: of others, locks would stay behind.
        assert json.loads(server.stdout.readline()) == {"threads": 1}

        def order(**order: Any) -> dict[str, Any]:
            server.stdin.write((json.dumps(order) + "\n").encode())
            server.stdin.flush()
            outcome = json.loads(server.stdout.readline())
            assert outcome["error"] is None, outcome["error"]
            return outcome

        yield order
        server.stdin.close()


def test_a_run_killed_again_and_again_is_the_uncut_run(
    laboratory: Any, attempt: Callable[..., dict[str, Any]], endurance: Any, corpus_file: Path
) -> None:
    wanted = endurance.times(25, 200)
    random = Random(f"{endurance.seed} kills")
    kills = kills_in_saves = lost = 0
    wholes: dict[str, tuple[Path, dict[str, Any]]] = {}
    for number in count():
        cell, method = ("lstm", "gru", "rnn")[number % 3], ("consecutive", "random")[number % 2]
        overrides = [
            *settings_of(corpus_file),
            f"model.cell={cell}",
            f"sampling.method={method}",
        ]
        options = {"overrides": overrides, "is_synced": number % 2 == 0}
        if cell + method not in wholes:
            folder = laboratory.folder()
            outcome = attempt(folder=str(folder), delay=None, save=None, **options)
            assert not outcome["is_killed"]
            wholes[cell + method] = folder, outcome
        whole, uncut = wholes[cell + method]
        folder, last_saved = laboratory.folder(), -1
        for kill in count(1):
            is_aimed = kills_in_saves <= IN_SAVES * kills
            outcome = attempt(
                folder=str(folder),
                delay=None
                if kill > MAX_KILLS_A_RUN
                else random.uniform(0, uncut["save_seconds"] if is_aimed else uncut["seconds"] / 2),
                save=random.choice((1, 2, 3)) if is_aimed else None,
                **options,
            )
            kills += outcome["is_killed"]
            kills_in_saves += outcome["is_killed"] and outcome["is_in_save"]
            last_saved = max([last_saved, *outcome["saved"]])
            # A warning about a damaged checkpoint would be an error here.
            found = load_checkpoint(Run(folder / "run"), "last").step if last_saved >= 0 else -1
            lost += found < last_saved
            if not outcome["is_killed"]:
                break
        difference = laboratory.trace(Run(folder / "run")).difference(laboratory.trace(Run(whole / "run")))
        assert difference is None, (number, difference)
        if kills >= wanted and kills_in_saves >= kills / 4:
            break
    endurance.tell(
        "kills", f"{kills}, {kills_in_saves} of them inside a save, {number + 1} runs, {lost} checkpoints lost"
    )
    assert lost == 0

"""A process that has imported everything and forks a child for each attempt at a run, to kill it.

It reads an order a line, as JSON, and answers each with a line. It computes with one thread and has no other: a fork is
safe.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from charlm.library import load_settings, train_reports
from charlm.runs.writer import RunWriter


@dataclass(frozen=True)
class Order:
    """What to do with a run, and when to kill the process that does it.

    Args:
        folder: where the run lies.
        overrides: of its settings.
        delay: seconds until the kill, from the start or from within a save; None for no kill.
        save: from within which save, counted from 1; None from the start.
        is_synced: whether the disk is waited for.
    """

    folder: str
    overrides: list[str]
    delay: float | None
    save: int | None
    is_synced: bool


@dataclass(frozen=True)
class Outcome:
    """What became of an attempt.

    Args:
        is_killed: whether it ended by the kill.
        is_in_save: whether it was within a save at that moment.
        saved: the steps whose saves had been done.
        error: what the attempt said, where it failed.
        seconds: that it took.
        save_seconds: those of its longest save.
    """

    is_killed: bool
    is_in_save: bool
    saved: list[int]
    error: str | None
    seconds: float
    save_seconds: float


def train_telling(order: Order, told: int) -> None:
    """Train the run to its end, and tell through a pipe when a save begins and is done."""
    save = RunWriter.save

    def tell(**news: Any) -> None:
        os.write(told, (json.dumps(news) + "\n").encode())

    def telling_save(self: RunWriter, checkpoint: Any, **options: Any) -> None:
        tell(begun=checkpoint.step, time=time.monotonic())
        save(self, checkpoint, **options)
        tell(saved=checkpoint.step, time=time.monotonic())

    RunWriter.save = telling_save
    if not order.is_synced:
        os.fsync = lambda _: None
    try:
        for _ in train_reports(
            load_settings(overrides=order.overrides), name="run", runs_dir=Path(order.folder), resume=True
        ):
            pass
    except BaseException:
        tell(error=traceback.format_exc())


def attempt(order: Order) -> Outcome:
    """Fork, kill the child at its time, and say what became of it."""
    listening, told = os.pipe()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        train_telling(order, told)
        os._exit(0)
    os.close(told)
    kill_at = began + order.delay if order.delay is not None and order.save is None else None
    content, num_begun = b"", 0
    while True:
        left = None if kill_at is None else max(0.0, kill_at - time.monotonic())
        if not select.select([listening], [], [], left)[0]:
            os.kill(child, signal.SIGKILL)
            kill_at = None
            continue
        block = os.read(listening, 1 << 16)
        if not block:
            break
        content += block
        num_begun = content.count(b'"begun"')
        if order.save is not None and order.delay is not None and num_begun >= order.save and kill_at is None:
            kill_at = time.monotonic() + order.delay
            order = Order(order.folder, order.overrides, None, None, order.is_synced)
    os.close(listening)
    _, status = os.waitpid(child, 0)
    news = [json.loads(line) for line in content.splitlines()]
    begun, saved = ([item for item in news if kind in item] for kind in ("begun", "saved"))
    return Outcome(
        is_killed=os.WIFSIGNALED(status),
        is_in_save=len(begun) > len(saved),
        saved=[item["saved"] for item in saved],
        error=next((item["error"] for item in news if "error" in item), None),
        seconds=time.monotonic() - began,
        save_seconds=max((b["time"] - a["time"] for a, b in zip(begun, saved, strict=False)), default=0.0),
    )


def num_threads() -> int:
    """Return how many threads this process has."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.exists() else threading.active_count()


def warm_up(overrides: list[str]) -> None:
    """Train a run here, so that what is imported at first use is there for every child."""
    with TemporaryDirectory() as folder:
        for _ in train_reports(load_settings(overrides=overrides), runs_dir=Path(folder)):
            pass
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(5)


def main() -> None:
    """Serve until the orders end; the arguments are settings of a run to warm up with."""
    torch.set_num_threads(1)
    warm_up(sys.argv[1:])
    print(json.dumps({"threads": num_threads()}), flush=True)
    for line in sys.stdin:
        print(json.dumps(asdict(attempt(Order(**json.loads(line))))), flush=True)


if __name__ == "__main__":
    main()

"""Checking every checkpoint of a run: that it is intact, fits its configuration and can be resumed from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from charlm.errors import RunError
from charlm.runs.checkpoints import read_checkpoint, step_of
from charlm.runs.run import Run
from charlm.training.position import read_position


@dataclass(frozen=True)
class Verdict:
    """The result of checking one checkpoint.

    Args:
        path: its folder.
        step: its step, taken from its name.
        num_bytes: size of its files in bytes.
        val_nats_per_char: its validation loss, if it has one.
        damage: what is wrong with it; None if it is intact.
    """

    path: Path
    step: int
    num_bytes: int
    val_nats_per_char: float | None
    damage: str | None


def verify_run(run: Run) -> Iterator[Verdict]:
    """Yield a verdict on each checkpoint, oldest first; every byte is read and checked against the manifest."""
    for path in run.checkpoint_paths():
        val, damage = None, None
        try:
            checkpoint = read_checkpoint(path)
            val = read_position(checkpoint).val_nats_per_char
        except RunError as error:
            damage = str(error)
        num_bytes = sum(file.lstat().st_size for file in path.iterdir()) if path.is_dir() else 0
        yield Verdict(path, step_of(path), num_bytes, val, damage)

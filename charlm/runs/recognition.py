"""Which of the files in a folder charlm has written: nothing that has any other file in it is removed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from charlm.runs.checkpoints import FILES
from charlm.runs.durable import DRAFT_NAME, MANIFEST
from charlm.runs.ensembles import NGRAM_TEXT
from charlm.runs.ownership import LEASE_NAME, LOCK_NAME
from charlm.runs.run import (
    CHECKPOINT_NAME,
    CONFIG,
    ENSEMBLE,
    ENVIRONMENT,
    METRICS,
    RESUMES,
    SAMPLES,
    SWEEP_DEFINITION,
    Run,
)

RUN_FILES = (CONFIG, ENVIRONMENT, METRICS, SAMPLES, RESUMES, ENSEMBLE, NGRAM_TEXT)
SWEEP_FILES = (SWEEP_DEFINITION, "base.yaml", "trials.jsonl", "results.json", "table.csv", "best.yaml")
# What desktops and file systems leave in any folder without being asked.
UNASKED = re.compile(r"\.DS_Store|\._.+|Thumbs\.db|desktop\.ini|\.directory|\.nfs[0-9a-f]+")


def is_recognised(folder: Path) -> bool:
    """Say whether a folder with a config.yaml, a name that many programs use, really is a run."""
    return _is_file(folder / ENVIRONMENT) or any(
        _is_folder(path) and CHECKPOINT_NAME.fullmatch(path.name) for path in _entries(folder / "checkpoints")
    )


def foreign_in_run(folder: Path) -> Iterator[Path]:
    """Yield what charlm has not written in the folder of a run; a link counts, wherever it leads."""
    for path in _entries(folder):
        if path == Run(folder).checkpoints_folder and _is_folder(path):
            for checkpoint in _entries(path):
                yield from _foreign_in_checkpoint(checkpoint)
        elif not _is_ours(path, RUN_FILES):
            yield path


def foreign_in_sweep(folder: Path) -> Iterator[Path]:
    """Yield what charlm has not written in the folder of a sweep, and in those of its trials."""
    for path in _entries(folder):
        if _is_folder(path) and _is_file(path / CONFIG) and is_recognised(path):
            yield from foreign_in_run(path)
        elif not _is_ours(path, SWEEP_FILES):
            yield path


def foreign_in_checkpoint(folder: Path) -> list[Path]:
    """Return what charlm has not written in the folder of a checkpoint."""
    return list(_foreign_in_checkpoint(folder))


def _foreign_in_checkpoint(path: Path) -> Iterator[Path]:
    if _is_folder(path) and CHECKPOINT_NAME.fullmatch(path.name):
        yield from (each for each in _entries(path) if not _is_ours(each, (*FILES, MANIFEST)))
    elif not _is_ours(path, ()):
        yield path


def _is_ours(path: Path, names: Collection[str]) -> bool:
    """Say whether an entry of a folder is a file of these names, or one that belongs to no folder in particular."""
    if DRAFT_NAME.fullmatch(path.name):
        return _is_file(path) or _is_folder(path)
    is_known = path.name in (*names, LOCK_NAME) or LEASE_NAME.fullmatch(path.name) or UNASKED.fullmatch(path.name)
    return bool(is_known) and _is_file(path)


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if _is_folder(folder) else []


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()

"""A run on disk: where it lies, what stands in it, and how one is found."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from charlm.errors import RunError
from charlm.networks.leaky import WARNING
from charlm.runs.durable import ASIDE
from charlm.runs.ownership import owner_of
from charlm.runs.reading import open_regular, parse_json
from charlm.settings.layers import load_run_settings
from charlm.settings.schema import Settings

# One that is just being replaced is found beside its successor, or in its place.
CHECKPOINT_NAME = re.compile(rf"step-(\d{{8,}})({re.escape(ASIDE)})?", re.ASCII)
CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
METRICS = "metrics.jsonl"
SAMPLES = "samples.jsonl"
RESUMES = "resumes.jsonl"
MAX_ENVIRONMENT_BYTES = 1 << 20


@dataclass(frozen=True)
class Run:
    """A run folder."""

    path: Path

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def exists(self) -> bool:
        """Whether it is there, and whole: its configuration is written last."""
        return (self.path / CONFIG).is_file()

    @property
    def checkpoints_folder(self) -> Path:
        """Where the checkpoints lie."""
        return self.path / "checkpoints"

    def settings(self) -> Settings:
        """Read the resolved configuration."""
        return load_run_settings(self.path / CONFIG)

    def environment(self) -> dict[str, Any]:
        """Read what the run was made with and on.

        Raises:
            RunError: where it is missing or damaged.
        """
        path = self.path / ENVIRONMENT
        with open_regular(path) as file:
            facts = parse_json(file.read(MAX_ENVIRONMENT_BYTES), path)
        if not isinstance(facts, dict) or not {"corpus", "corpus_sha256", "num_parameters"} <= set(
            cast("dict[str, Any]", facts)
        ):
            raise RunError(f"{path} is not what a run was made with and on")
        return cast("dict[str, Any]", facts)

    def metrics(self) -> list[dict[str, Any]]:
        """Read the evaluations and, last, the closing summary; a torn last line is left out."""
        return [record for _, record in read_lines(self.path / METRICS)]

    def samples(self) -> list[dict[str, Any]]:
        """Read what the model wrote during training."""
        return [record for _, record in read_lines(self.path / SAMPLES)]

    def summary(self) -> dict[str, Any] | None:
        """Return the closing summary, or None for a run that goes on or was cut."""
        last = self.metrics()[-1:]
        return last[0] if last and last[0].get("kind") == "end" else None

    def overview(self) -> dict[str, Any]:
        """Return what a table of runs shows: state, corpus, model, size and best figures."""
        settings, facts = self.settings(), self.environment()
        evaluations = [record for record in self.metrics() if record.get("kind") == "evaluation"]
        measured = [record for record in evaluations if record["val_bpc"] is not None]
        nothing: dict[str, Any] = {}
        best = min(measured, key=lambda record: record["val_bpc"], default=nothing)
        end = self.summary() or {}
        model = settings.model
        return {
            "name": self.name,
            "state": "running" if owner_of(self.path) is not None else end.get("stopped_by") or "unfinished",
            "corpus": facts["corpus"] if isinstance(facts["corpus"], str) else ", ".join(facts["corpus"]),
            "model": f"{model.cell} {model.num_layers}x{model.hidden_size}"
            + ("" if model.direction == "forward" else f" {model.direction}"),
            "direction": model.direction,
            "num_parameters": facts["num_parameters"],
            "steps": evaluations[-1]["step"] if evaluations else 0,
            "train_perplexity": end.get("train_perplexity"),
            "best_val_bpc": best.get("val_bpc"),
            "best_val_backward_bpc": best.get("val_backward_bpc"),
            "best_val_cloze_bpc": best.get("val_cloze_bpc"),
            "val_bpc": end.get("val_bpc"),
            "test_bpc": end.get("test_bpc"),
            "chars_per_second": evaluations[-1]["chars_per_second"] if evaluations else None,
            "warning": WARNING if model.direction == "leaky" else None,
        }

    def last_written(self) -> int:
        """Return when its newest checkpoint was saved, or its configuration, in nanoseconds."""
        return (self.checkpoint_paths() or [self.path / CONFIG])[-1].stat().st_mtime_ns

    def checkpoint_paths(self) -> list[Path]:
        """Return the folders of all finished checkpoints, oldest first."""
        if not self.checkpoints_folder.is_dir():
            return []
        found = ((CHECKPOINT_NAME.fullmatch(path.name), path) for path in self.checkpoints_folder.iterdir())
        return [path for *_, path in sorted((int(name[1]), name[2] is None, path) for name, path in found if name)]


def runs_folder(given: Path | None = None) -> Path:
    """Return where runs lie: the one given, else CHARLM_RUNS_DIR, else ./runs."""
    return given or Path(os.environ.get("CHARLM_RUNS_DIR") or "runs")


def find_run(name: str | None, *, folder: Path) -> Run:
    """Return the run of a name or path, or without one the newest run that has a checkpoint.

    Raises:
        RunError: where there is none.
    """
    if name is None:
        runs = [run for run in list_runs(folder) if run.checkpoint_paths()]
        if not runs:
            raise RunError(f"there is no run with a checkpoint in {folder}: `charlm train` makes one")
        return max(runs, key=Run.last_written)
    for path in (folder / name, Path(name)):
        if (path / CONFIG).is_file():
            return Run(path)
    known = ", ".join(run.name for run in list_runs(folder)[-5:])
    raise RunError(f"there is no run {name} in {folder}" + (f"; the newest there: {known}" if known else ""))


def list_runs(folder: Path) -> list[Run]:
    """Return the runs of a folder, in the order of their configurations' age."""
    if not folder.is_dir():
        return []
    runs = [Run(path) for path in folder.iterdir() if (path / CONFIG).is_file()]
    return sorted(runs, key=lambda run: ((run.path / CONFIG).stat().st_mtime_ns, run.name))


def find_unfinished(folder: Path) -> Run:
    """Return the newest run that has not ended by itself.

    Raises:
        RunError: where there is none.
    """
    unfinished = [run for run in list_runs(folder) if run.summary() is None]
    if not unfinished:
        raise RunError(f"there is no unfinished run in {folder}: name one with --run, or start one without --resume")
    return max(unfinished, key=Run.last_written)


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each record of a file of JSON lines, with the bytes from the file's start to its end.

    A line torn by a crash ends it; whatever stands before it is whole.

    Raises:
        RunError: for what is no regular file.
    """
    if not path.exists():
        return
    with open_regular(path) as file:
        content = file.read()
    # Bytes: a text's splitlines() also cuts at U+2028 and its like, and a torn line may end within a character.
    end = 0
    for line in content.splitlines(keepends=True):
        end += len(line)
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(record, dict) or not line.endswith(b"\n"):
            return
        yield end, cast("dict[str, Any]", record)

"""A run on disk: where it lies, what stands in it, and how one is found."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from charlm.errors import RunError, printable
from charlm.networks.leaky import WARNING
from charlm.runs.durable import ASIDE
from charlm.runs.ownership import owner_of
from charlm.runs.records import read_lines
from charlm.runs.untrusted import as_object, open_regular, parse_json
from charlm.settings.loading import load_run_settings
from charlm.settings.schema import Settings

# One that is just being replaced is found beside its successor, or in its place.
CHECKPOINT_NAME = re.compile(rf"step-(\d{{8,}})({re.escape(ASIDE)})?", re.ASCII)
CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
METRICS = "metrics.jsonl"
SAMPLES = "samples.jsonl"
RESUMES = "resumes.jsonl"
MAX_ENVIRONMENT_BYTES = 1 << 20
MAX_PARAMETERS = 10**18
MAX_SHOWN = 1_000


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
        if not _are_facts(as_object(facts)):
            raise RunError(f"{path} is not what a run was made with and on")
        return as_object(facts)

    def metrics(self) -> list[dict[str, Any]]:
        """Read the evaluations and, last, the closing summary; a torn last line is left out."""
        return [record for _, record in read_lines(self.path / METRICS)]

    def samples(self) -> list[dict[str, Any]]:
        """Read what the model wrote during training."""
        return [record for _, record in read_lines(self.path / SAMPLES)]

    def summary(self) -> dict[str, Any] | None:
        """Return the closing summary, or None for a run that goes on or was cut."""
        return _ending(self.metrics())

    def overview(self) -> dict[str, Any]:
        """Return what a table of runs shows: state, corpus, model, size and best figures."""
        settings, facts = self.settings(), self.environment()
        records = self.metrics()
        evaluations = [record for record in records if record.get("kind") == "evaluation"]
        measured = [record for record in evaluations if record.get("val_bpc") is not None]
        nothing: dict[str, Any] = {}
        best = min(measured, key=lambda record: record["val_bpc"], default=nothing)
        end = _ending(records) or {}
        model = settings.model
        return {
            "name": self.name,
            "state": "running" if owner_of(self.path) is not None else end.get("stopped_by") or "unfinished",
            "corpus": printable(", ".join(_corpus_names(facts)), MAX_SHOWN),
            "model": f"{model.cell} {model.num_layers}x{model.hidden_size}"
            + ("" if model.direction == "forward" else f" {model.direction}"),
            "direction": model.direction,
            "num_parameters": facts["num_parameters"],
            "steps": evaluations[-1].get("step", 0) if evaluations else 0,
            "train_perplexity": end.get("train_perplexity"),
            "best_val_bpc": best.get("val_bpc"),
            "best_val_backward_bpc": best.get("val_backward_bpc"),
            "best_val_cloze_bpc": best.get("val_cloze_bpc"),
            "val_bpc": end.get("val_bpc"),
            "test_bpc": end.get("test_bpc"),
            "chars_per_second": evaluations[-1].get("chars_per_second") if evaluations else None,
            "warning": WARNING if model.direction == "leaky" else None,
        }

    def last_written(self) -> int:
        """Return when its newest checkpoint was saved, or its configuration, in nanoseconds."""
        return (self.checkpoint_paths() or [self.path / CONFIG])[-1].stat().st_mtime_ns

    def checkpoint_paths(self) -> list[Path]:
        """Return the folders of all finished checkpoints, oldest first.

        Raises:
            RunError: where they lie in another folder, which may have another owner.
        """
        if self.checkpoints_folder.is_symlink():
            raise RunError(f"{self.checkpoints_folder} is a link, and a run's checkpoints lie in its own folder")
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
        runs = [run for run in list_runs(folder) if _has_checkpoint(run)]
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
    unfinished = [run for run in list_runs(folder) if _is_unfinished(run)]
    if not unfinished:
        raise RunError(f"there is no unfinished run in {folder}: name one with --run, or start one without --resume")
    return max(unfinished, key=Run.last_written)


def _ending(records: list[dict[str, Any]]) -> dict[str, Any] | None:
    return records[-1] if records and records[-1].get("kind") == "end" else None


def _has_checkpoint(run: Run) -> bool:
    with suppress(RunError):
        return bool(run.checkpoint_paths())
    return False


def _is_unfinished(run: Run) -> bool:
    """Say whether a run has not ended; one that cannot be read hides no other."""
    with suppress(RunError):
        run.checkpoint_paths()
        return run.summary() is None
    return False


def _are_facts(facts: dict[str, Any]) -> bool:
    names, count = _corpus_names(facts), facts.get("num_parameters")
    are_texts = bool(names) and all(isinstance(text, str) for text in (*names, facts.get("corpus_sha256")))
    return are_texts and type(count) is int and 0 <= count < MAX_PARAMETERS


def _corpus_names(facts: dict[str, Any]) -> list[Any]:
    corpus = facts.get("corpus")
    return cast("list[Any]", corpus) if isinstance(corpus, list) else [corpus]

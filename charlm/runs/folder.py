"""A run on disk: where it lies, what stands in it, and how one is found."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from charlm.errors import ConfigError, RunError
from charlm.networks.leaky import WARNING
from charlm.runs.durable import append_line, storage_error, to_json, write_file
from charlm.settings.layers import dump_settings, load_run_settings
from charlm.settings.schema import Settings

CHECKPOINT_NAME = re.compile(r"step-(\d{8,})")
RUN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Run:
    """A run folder."""

    path: Path

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def checkpoints_folder(self) -> Path:
        """Where the checkpoints lie."""
        return self.path / "checkpoints"

    def settings(self) -> Settings:
        """Read the resolved configuration."""
        return load_run_settings(self.path / "config.yaml")

    def environment(self) -> dict[str, Any]:
        """Read what the run was made with and on.

        Raises:
            RunError: where it is missing or damaged.
        """
        try:
            return json.loads((self.path / "environment.json").read_bytes())
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path / 'environment.json'} cannot be read: {error}") from error

    def metrics(self) -> list[dict[str, Any]]:
        """Read the evaluations and, last, the closing summary; a torn last line is left out."""
        return list(_read_lines(self.path / "metrics.jsonl"))

    def samples(self) -> list[dict[str, Any]]:
        """Read what the model wrote during training."""
        return list(_read_lines(self.path / "samples.jsonl"))

    def summary(self) -> dict[str, Any] | None:
        """Return the closing summary, or None for a run that has not ended by itself."""
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
            "state": end.get("stopped_by") or ("running or cut" if self.checkpoint_paths() else "no checkpoint"),
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

    def record_metrics(self, record: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        append_line(self.path / "metrics.jsonl", record)

    def record_samples(self, record: Mapping[str, Any]) -> None:
        """Append one line to samples.jsonl."""
        append_line(self.path / "samples.jsonl", record)

    def checkpoint_paths(self) -> list[Path]:
        """Return the folders of all finished checkpoints, oldest first."""
        if not self.checkpoints_folder.is_dir():
            return []
        found = ((CHECKPOINT_NAME.fullmatch(path.name), path) for path in self.checkpoints_folder.iterdir())
        return [path for _, path in sorted((int(name[1]), path) for name, path in found if name)]


def runs_folder(given: Path | None = None) -> Path:
    """Return where runs lie: the one given, else CHARLM_RUNS_DIR, else ./runs."""
    return given or Path(os.environ.get("CHARLM_RUNS_DIR") or "runs")


def check_run_name(name: str, folder: Path) -> None:
    """Refuse a name that a new run in this folder cannot have.

    Raises:
        ConfigError: for a name that is a path or exists.
    """
    if not RUN_NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot name a run: letters, digits, '.', '_' and '-' only (--runs-dir says where it lies)"
        )
    if (folder / name).exists():
        raise ConfigError(f"the run {folder / name} exists already and is never overwritten: choose another name")


def create_run(settings: Settings, environment: Mapping[str, Any], *, folder: Path, name: str | None = None) -> Run:
    """Create a run folder with its configuration and environment.

    Raises:
        ConfigError: for a bad or existing name.
        StorageError: where it cannot be written.
    """
    name = _free_name(folder, settings) if name is None else name
    check_run_name(name, folder)
    run = Run(folder / name)
    try:
        run.checkpoints_folder.mkdir(parents=True)
    except FileExistsError as error:
        raise ConfigError(f"the run {run.path} exists already and is never overwritten") from error
    except OSError as error:
        raise storage_error(run.path, error) from error
    try:
        write_file(run.path / "environment.json", to_json(environment))
        # The configuration comes last: a folder that has one is a whole run.
        write_file(run.path / "config.yaml", dump_settings(settings).encode("utf-8"))
    except BaseException:
        shutil.rmtree(run.path, ignore_errors=True)
        raise
    return run


def find_run(name: str | None, *, folder: Path) -> Run:
    """Return the run of a name or path, or without one the newest run that has a checkpoint.

    Raises:
        RunError: where there is none.
    """
    if name is None:
        runs = [run for run in list_runs(folder) if run.checkpoint_paths()]
        if not runs:
            raise RunError(f"there is no run with a checkpoint in {folder}: `charlm train` makes one")
        return max(runs, key=lambda run: run.checkpoint_paths()[-1].stat().st_mtime_ns)
    for path in (folder / name, Path(name)):
        if (path / "config.yaml").is_file():
            return Run(path)
    known = ", ".join(run.name for run in list_runs(folder)[-5:])
    raise RunError(f"there is no run {name} in {folder}" + (f"; the newest there: {known}" if known else ""))


def list_runs(folder: Path) -> list[Run]:
    """Return the runs of a folder, in the order of their configurations' age."""
    if not folder.is_dir():
        return []
    runs = [Run(path) for path in folder.iterdir() if (path / "config.yaml").is_file()]
    return sorted(runs, key=lambda run: ((run.path / "config.yaml").stat().st_mtime_ns, run.name))


def _free_name(folder: Path, settings: Settings) -> str:
    model = settings.model
    stem = f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{model.cell}-{model.hidden_size}"
    candidates = (stem if number == 1 else f"{stem}-{number}" for number in range(1, 1000))
    return next(name for name in candidates if not (folder / name).exists())


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    # Bytes: a text's splitlines() also cuts at U+2028 and its like, and a torn line may end within a character.
    for line in path.read_bytes().splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            # A line torn by a crash; whatever stands before it is whole.
            return

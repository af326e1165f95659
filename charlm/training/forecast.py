"""What a run will be and take, before anything is written."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from charlm.networks.shapes import num_numbers, parameter_shapes
from charlm.runs.run import runs_folder
from charlm.settings.loading import dotted_values
from charlm.settings.schema import Settings
from charlm.text.notices import Notice
from charlm.training.deciding import decide
from charlm.training.events import Plan
from charlm.training.footprint import FLOAT_BYTES, training_size
from charlm.training.speed import measure_pace
from charlm.training.timetable import plan_of

# The best checkpoint and the last scheduled one are kept besides the newest.
KEPT_BESIDES = 2


@dataclass(frozen=True)
class Forecast:
    """What a run will be and take.

    Args:
        settings: its settings, with nothing left open.
        corpus_chars: number of characters of its text.
        num_symbols: number of symbols of its vocabulary.
        num_parameters: number of parameters of its network.
        plan: steps, time and speed; None if only minutes end it.
        memory_bytes: the least memory that training needs.
        checkpoint_bytes: the size of a checkpoint.
        run_bytes: the most that its folder takes at once; without the checkpoints that keep_every keeps.
        free_bytes: the space that is free where its folder would be.
        notices: what a person should know about the text.
    """

    settings: Settings
    corpus_chars: int
    num_symbols: int
    num_parameters: int
    plan: Plan | None
    memory_bytes: int
    checkpoint_bytes: int
    run_bytes: int
    free_bytes: int
    notices: tuple[Notice, ...] = ()

    def as_record(self) -> dict[str, JsonValue]:
        """Return it as plain values, the settings by dotted key."""
        plan = self.plan
        return {
            "settings": dotted_values(self.settings),
            "corpus_chars": self.corpus_chars,
            "num_symbols": self.num_symbols,
            "num_parameters": self.num_parameters,
            "steps": plan and plan.steps,
            "epochs": plan and plan.epochs,
            "minutes": plan.minutes if plan else self.settings.train.minutes,
            "chars_per_second": plan and plan.chars_per_second,
            "memory_bytes": self.memory_bytes,
            "checkpoint_bytes": self.checkpoint_bytes,
            "run_bytes": self.run_bytes,
            "free_bytes": self.free_bytes,
            "notices": [notice.sentence for notice in self.notices],
        }


def forecast(asked: Settings, *, runs_dir: str | Path | None = None) -> Forecast:
    """Return what a run will be and take; a second of trial steps measures the speed, and no run is written.

    Args:
        asked: settings, from `load_settings`.
        runs_dir: the folder of runs; None takes CHARLM_RUNS_DIR or ./runs.
    Raises:
        CharlmError: if such a run cannot be trained.
    """
    decided = decide(asked, runs_dir=runs_folder(runs_dir))
    resolved, num_symbols = decided.resolved, len(decided.corpus.vocabulary)
    settings = resolved.settings
    pace = decided.timetable.pace or measure_pace(settings, num_symbols, decided.split)
    size = training_size(settings, num_symbols)
    # A checkpoint holds everything that is kept for each parameter except its gradient.
    num_parameters = num_numbers(parameter_shapes(settings.model, num_symbols).values())
    checkpoint_bytes = FLOAT_BYTES * (size.parameters - num_parameters)
    return Forecast(
        settings=settings,
        corpus_chars=len(decided.corpus.ids),
        num_symbols=num_symbols,
        num_parameters=num_parameters,
        plan=plan_of(settings, resolved.steps_per_epoch, pace),
        memory_bytes=size.num_bytes,
        checkpoint_bytes=checkpoint_bytes,
        run_bytes=checkpoint_bytes * (settings.checkpoint.keep_last + KEPT_BESIDES),
        free_bytes=_free_bytes(runs_folder(runs_dir)),
        notices=decided.notices,
    )


def _free_bytes(folder: Path) -> int:
    """Return the free space in a folder, which need not exist yet."""
    existing = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())
    return shutil.disk_usage(existing).free

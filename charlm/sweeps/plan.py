"""A sweep that has been checked: what it varies, its base settings, its metric, and the settings of each trial."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from charlm.settings.layers import SettingsLayer, keyed_layer, merge
from charlm.settings.loading import check_layer, dotted_values
from charlm.settings.schema import Settings
from charlm.sweeps.settings import Goal, Method
from charlm.sweeps.space import Point, Space

# These say where a trial runs, not what it is, so that a sweep that is started again elsewhere finds its trials.
WHERE = ("train.threads", "train.device", "model.implementation")
# The settings that rungs replace.
BUDGET = ("epochs", "max_steps", "minutes", "fit_minutes")
# Settings that older versions did not have; their defaults are what older versions did.
LATER = (
    *("train.recipe", "train.fit_minutes", "train.refits", "start.run", "start.new_characters"),
    *("corpus.items", "corpus.separator", "train.precision"),
)
MAX_LABEL = 80
HASH_DIGITS = 8


@dataclass(frozen=True)
class Plan:
    """A sweep that has been checked.

    Args:
        source: the name of the file in messages.
        name: the name of the sweep's folder.
        method: how points are chosen.
        seeds: random seeds; each point is trained with each of them.
        space: what varies.
        metric: the metric of the closing record by which trials are compared.
        direction: whether lower or higher is better.
        num_trials: how many points a search draws; None for a grid, or if only minutes end the sweep.
        minutes: the time after which the sweep ends, to be resumed later; None for no limit.
        rungs: steps at which trials are compared, the last of which is their whole budget; empty if all trials run to
            their end.
        keep: the share of a rung's points that is promoted.
        base: the settings that all trials share.
        folder: the folder that relative paths in the space start from.
    """

    source: str
    name: str
    method: Method
    seeds: tuple[int, ...]
    space: Space
    metric: str
    direction: Goal
    num_trials: int | None
    minutes: float | None
    rungs: tuple[int, ...]
    keep: float
    base: SettingsLayer
    folder: Path

    @property
    def sign(self) -> float:
        """The factor for the metric that makes less better."""
        return 1.0 if self.direction == "minimize" else -1.0

    @property
    def stages(self) -> tuple[int | None, ...]:
        """How far trials are trained in each stage; None means the whole budget of their settings."""
        return self.rungs or (None,)

    def points(self) -> Iterator[Point]:
        """Yield the points of a grid or random search, the same every time; the points of tpe depend on results."""
        return self.space.points(self.seeds[0], method=self.method, limit=self.num_trials)


@dataclass(frozen=True)
class Trial:
    """One point of the space with one random seed: an ordinary run.

    Args:
        name: the name of its run, made of what varies and a hash of its settings.
        number: the number of its point, from 0.
        point: the values of its point.
        varied: its settings that vary, by dotted key.
        seed: its train.seed.
        settings: its resolved settings, with the budget of the whole trial.
    """

    name: str
    number: int
    point: Point
    varied: Mapping[str, JsonValue]
    seed: int
    settings: Settings


def make_trials(plan: Plan, number: int, point: Point) -> list[Trial]:
    """Return the trials of a point, one for each random seed.

    Args:
        plan: the sweep.
        number: the point's number.
        point: the point's values.
        Raises:
            ConfigError: if its settings are impossible, with the places of its values.
    """
    trials: list[Trial] = []
    varied = tuple(setting for setting in point if setting.key in plan.space.varying)
    for seed in plan.seeds:
        settings = resolve(plan, point, seed)
        name = trial_name(varied, seed if len(plan.seeds) > 1 else None, settings)
        trials.append(Trial(name, number, point, {each.key: each.value for each in varied}, seed, settings))
    return trials


def by_point(trials: Iterable[Trial]) -> dict[int, list[Trial]]:
    """Return the trials of each point, by the point's number."""
    points: dict[int, list[Trial]] = {}
    for trial in trials:
        points.setdefault(trial.number, []).append(trial)
    return points


def resolve(plan: Plan, point: Point, seed: int) -> Settings:
    """Return the settings of a point with a random seed.

    Raises:
        ConfigError: if they are impossible.
    """
    values = [
        keyed_layer(setting.key.split("."), setting.value, str(setting.place), base=plan.folder) for setting in point
    ]
    settings = check_layer(merge([plan.base, *values, keyed_layer(("train", "seed"), seed, plan.source)]))
    schedule = settings.optimizer.schedule
    if plan.rungs and schedule.method == "cosine" and schedule.total_steps is None:
        # Otherwise the run would take the first rung for its end.
        return settings.replaced({"optimizer.schedule.total_steps": plan.rungs[-1]})
    return settings


def run_settings(trial: Trial, rung: int | None, *, threads: int) -> Settings:
    """Return the settings with which a trial's run is started on this machine.

    Args:
        rung: its budget; None keeps its own.
        threads: number of CPU threads, used if its settings leave that open.
    """
    train = trial.settings.train
    max_steps = train.max_steps if rung is None else rung
    return trial.settings.replaced({"train.max_steps": max_steps, "train.threads": train.threads or threads})


def trial_name(point: Point, seed: int | None, settings: Settings) -> str:
    """Return the name of a trial's run: its values, its seed if there are several, and a hash of its settings."""
    words = [_word(setting.value) for setting in point] + ([] if seed is None else [f"seed{seed}"])
    label = "-".join(word for word in words if word)[:MAX_LABEL].strip("-.")
    told = {key: value for key, value in _as_older_sweeps_told(settings).items() if key not in WHERE}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode("utf-8")).hexdigest()[:HASH_DIGITS]
    return f"{label}-{digest}" if label else digest


def _as_older_sweeps_told(settings: Settings) -> dict[str, JsonValue]:
    """Return the settings by key; a setting whose default has changed has its old default if it was not given.

    A trial's name is made from them, and the trials of a sweep that an older version started must be found again.
    """
    values, corpus = dotted_values(settings), settings.corpus
    if "newline" not in corpus.clean.model_fields_set:
        values["corpus.clean.newline"] = "keep"
    if "between_files" not in corpus.model_fields_set or corpus.between_files == "nothing":
        del values["corpus.between_files"]
    if "glob" not in corpus.model_fields_set or corpus.glob is None:
        del values["corpus.glob"]
    defaults = dotted_values(Settings())
    return {key: value for key, value in values.items() if key not in LATER or value != defaults[key]}


def _word(value: JsonValue) -> str:
    # Without this, the + in a large number's exponent would become the - of a small number's.
    text = value if isinstance(value, str) else json.dumps(value).replace("e+", "e")
    return re.sub(r"[^A-Za-z0-9._]+", "-", text, flags=re.ASCII).strip("-._")

"""A sweep that has been checked: what it varies, over which settings, by which figure; the settings of each trial."""

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

# Where a trial runs and not what it is: a sweep started again elsewhere finds its trials.
WHERE = ("train.threads", "train.device", "model.implementation")
# In whose place rungs stand.
BUDGET = ("epochs", "max_steps", "minutes")
MAX_LABEL = 80
HASH_DIGITS = 8


@dataclass(frozen=True)
class Plan:
    """A sweep, checked.

    Args:
        source: the file's name in messages.
        name: of the sweep's folder.
        method: how points are chosen.
        seeds: each point is trained from all of them.
        space: what varies.
        metric: of the closing record, by which trials are compared.
        direction: what is better.
        num_trials: how many points a search draws; None for a grid, and where minutes alone end it.
        minutes: after which it ends, to be started again; None for no limit.
        rungs: steps at which trials are compared, the last their whole budget; none where all run to their end.
        keep: the share of a rung's points that goes on.
        base: the settings that all trials share.
        folder: where relative paths in the space start.
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
        """What the metric is multiplied with so that less is better."""
        return 1.0 if self.direction == "minimize" else -1.0

    @property
    def stages(self) -> tuple[int | None, ...]:
        """How far trials are taken, one after the other; None is the whole budget of their settings."""
        return self.rungs or (None,)

    def points(self) -> Iterator[Point]:
        """Yield the points of a grid or random search, the same every time; those of tpe depend on figures."""
        return self.space.points(self.seeds[0], method=self.method, limit=self.num_trials)


@dataclass(frozen=True)
class Trial:
    """One point of the space with one seed: an ordinary run.

    Args:
        name: of its run: what it varies, and a hash of its settings.
        number: of its point, from 0.
        point: its values.
        varied: those of its settings that vary, by their dotted keys.
        seed: its train.seed.
        settings: resolved, its budget that of the whole trial.
    """

    name: str
    number: int
    point: Point
    varied: Mapping[str, JsonValue]
    seed: int
    settings: Settings


def make_trials(plan: Plan, number: int, point: Point) -> list[Trial]:
    """Return the trials of a point, one for each seed.

    Args:
        plan: the sweep.
        number: of the point.
        point: its values.
    Raises:
        ConfigError: where its settings are impossible, with the places of its values.
    """
    trials: list[Trial] = []
    varied = tuple(setting for setting in point if setting.key in plan.space.varying)
    for seed in plan.seeds:
        settings = resolve(plan, point, seed)
        name = trial_name(varied, seed if len(plan.seeds) > 1 else None, settings)
        trials.append(Trial(name, number, point, {each.key: each.value for each in varied}, seed, settings))
    return trials


def by_point(trials: Iterable[Trial]) -> dict[int, list[Trial]]:
    """Return the trials of each point, by its number."""
    points: dict[int, list[Trial]] = {}
    for trial in trials:
        points.setdefault(trial.number, []).append(trial)
    return points


def resolve(plan: Plan, point: Point, seed: int) -> Settings:
    """Return the settings of a point and a seed.

    Raises:
        ConfigError: where they are impossible.
    """
    values = [
        keyed_layer(setting.key.split("."), setting.value, str(setting.place), base=plan.folder) for setting in point
    ]
    settings = check_layer(merge([plan.base, *values, keyed_layer(("train", "seed"), seed, plan.source)]))
    schedule = settings.optimizer.schedule
    if plan.rungs and schedule.method == "cosine" and schedule.total_steps is None:
        # Else the run would take the first rung for its end.
        return settings.replaced({"optimizer.schedule.total_steps": plan.rungs[-1]})
    return settings


def run_settings(trial: Trial, rung: int | None, *, threads: int) -> Settings:
    """Return the settings that a trial's run has here.

    Args:
        rung: its budget; None leaves its own.
        threads: CPU threads, where its settings leave that open.
    """
    train = trial.settings.train
    max_steps = train.max_steps if rung is None else rung
    return trial.settings.replaced({"train.max_steps": max_steps, "train.threads": train.threads or threads})


def trial_name(point: Point, seed: int | None, settings: Settings) -> str:
    """Return the name of a trial's run: its values, its seed if there are several, a hash of its settings."""
    words = [_word(setting.value) for setting in point] + ([] if seed is None else [f"seed{seed}"])
    label = "-".join(word for word in words if word)[:MAX_LABEL].strip("-.")
    told = {key: value for key, value in _as_older_sweeps_told(settings).items() if key not in WHERE}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode("utf-8")).hexdigest()[:HASH_DIGITS]
    return f"{label}-{digest}" if label else digest


def _as_older_sweeps_told(settings: Settings) -> dict[str, JsonValue]:
    """Return the settings by their keys; where nobody typed them, those with a new default have their old one.

    A trial's name is made of them, and the trials of a sweep begun before must be found again.
    """
    values, corpus = dotted_values(settings), settings.corpus
    if "newline" not in corpus.clean.model_fields_set:
        values["corpus.clean.newline"] = "keep"
    if "between_files" not in corpus.model_fields_set or corpus.between_files == "nothing":
        del values["corpus.between_files"]
    return values


def _word(value: JsonValue) -> str:
    # A large number's + would become a small one's -.
    text = value if isinstance(value, str) else json.dumps(value).replace("e+", "e")
    return re.sub(r"[^A-Za-z0-9._]+", "-", text, flags=re.ASCII).strip("-._")

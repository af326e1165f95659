"""From a sweep file to a plan: every problem at once, with file, line and the nearest known name, before any trial."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from charlm.errors import ConfigError, printable
from charlm.settings.diagnosis import MAX_PROBLEMS, explain
from charlm.settings.layers import (
    QUICKSTART,
    Layer,
    check_layer,
    file_layer,
    merge,
    override_layer,
    read_content,
    shipped_layer,
    shipped_names,
)
from charlm.settings.loading import Document, KeyPath, Place, parse_yaml
from charlm.settings.schema import Settings
from charlm.settings.shipped import shipped_folder
from charlm.sweeps.plan import Plan, make_trials, trial_name
from charlm.sweeps.schema import METRICS, SweepSettings
from charlm.sweeps.search import MISSING, has_optuna
from charlm.sweeps.space import MAX_POINTS, Point, Range, Space, read_space

# What an n-gram makes of a text does not depend on a trial: a base that wants it measured in each says so.
SWEEP_DEFAULTS = Layer({"eval": {"baselines": False}}, {})
Problems = list[tuple[Place, str]]


def read_plan(file: str | Path, *, overrides: Sequence[str] = ()) -> Plan:
    """Read a sweep file, or a shipped one by its name, and check all of it.

    Args:
        file: YAML; relative paths in it start from it.
        overrides: texts `section.key=value`, laid over the base.
    Raises:
        ConfigError: every problem at once, each with its place and the nearest known name.
    """
    document, folder = _document(file)
    source = document.places[()].source if () in document.places else str(file)
    values: Any = document.value or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{document.places[()]}: a sweep is a mapping of keys such as space:")
    try:
        settings = SweepSettings.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, document.places, SweepSettings))) from error
    space, problems = read_space(settings.space, document.places)
    places = {key: document.places.get((key,), Place(source)) for key in SweepSettings.model_fields}
    problems += _method_problems(settings, space, document.places, places)
    problems += _metric_problems(
        settings.objective.metric, document.places.get(("objective", "metric")) or places["objective"]
    )
    layers = [override_layer(text) for text in overrides]
    problems += _rung_problems(settings, space, layers, document.places)
    problems += _override_problems(layers, space, places["space"])
    _refuse(problems)
    early = settings.stop_early
    budget = [] if early is None else [Layer({"train": {"epochs": None, "max_steps": early.rungs[-1]}}, {})]
    base = merge([SWEEP_DEFAULTS, _base_layer(settings.base, folder, places["base"]), *layers, *budget])
    first_seed = check_layer(base).train.seed
    metric = settings.objective.metric
    plan = Plan(
        source=source,
        name=settings.name if settings.name is not None else Path(file).stem,
        method=settings.method,
        seeds=tuple(range(first_seed, first_seed + settings.seeds)),
        space=space,
        metric=metric,
        direction=settings.objective.direction or METRICS[metric],
        num_trials=settings.budget.num_trials,
        minutes=settings.budget.minutes,
        rungs=early.rungs if early else (),
        keep=early.keep if early else 1.0,
        base=base,
        folder=folder,
    )
    check_plan(plan, metric_place=document.places.get(("objective", "metric")) or places["objective"])
    return plan


def plan_seeds(settings: Settings, num_seeds: int, *, name: str | None = None) -> Plan:
    """Return the sweep over seeds alone: the same settings from several.

    Args:
        settings: of each run, but for its seed.
        num_seeds: how many, from the settings' own up.
        name: of the sweep's folder; None makes one of the settings, the same each time.
    """
    first = settings.train.seed
    return Plan(
        source="--seeds",
        name=name or f"seeds-{trial_name((), None, settings)}",
        method="grid",
        seeds=tuple(range(first, first + num_seeds)),
        space=Space(()),
        metric="val_bpc" if settings.corpus.split != "none" else "train_bpc",
        direction="minimize",
        num_trials=None,
        minutes=None,
        rungs=(),
        keep=1.0,
        base=Layer(settings.model_dump(mode="json"), {}),
        folder=Path(),
    )


def check_plan(plan: Plan, *, metric_place: Place) -> None:
    """Make sure that every trial can be: each point of a grid or draw, and the ends of every range.

    Raises:
        ConfigError: with each problem once.
    """
    problems: dict[str, None] = {}
    for number, point in enumerate(_checked_points(plan)):
        try:
            settings = make_trials(plan, number, point)[0].settings
        except ConfigError as error:
            problems |= dict.fromkeys(str(error).split("\n"))
        else:
            problems |= {f"{reason} ({metric_place})": None for reason in _unmeasured(plan.metric, settings)}
        if len(problems) > MAX_PROBLEMS:
            break
    if problems:
        raise ConfigError("\n".join([*problems][:MAX_PROBLEMS]))


def shipped_sweeps() -> list[str]:
    """Return the names of the sweeps that come with the package."""
    folder = shipped_folder("configs") / "sweeps"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def _checked_points(plan: Plan) -> Iterator[Point]:
    yield from plan.space.corners()
    if plan.method != "tpe":
        yield from islice(plan.points(), MAX_POINTS)


def _document(file: str | Path) -> tuple[Document, Path]:
    path, name = Path(file), printable(str(file), 1_000)
    if str(file) in shipped_sweeps() and not path.exists():
        text = (shipped_folder("configs") / "sweeps" / f"{file}.yaml").read_text(encoding="utf-8")
        return parse_yaml(text, f"configs/sweeps/{file}.yaml"), Path()
    try:
        return parse_yaml(read_content(path, name).decode("utf-8-sig"), name), path.parent
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: not UTF-8 text (byte {error.start})") from error
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ConfigError(
            f"cannot read the sweep {name}: {reason.lower()}; shipped ones by name: {', '.join(shipped_sweeps())}"
        ) from error


def _base_layer(base: str | None, folder: Path, place: Place) -> Layer:
    if base is None:
        return shipped_layer(QUICKSTART)
    try:
        if base in shipped_names() and not (folder / base).exists():
            return shipped_layer(base)
        return file_layer(folder / base)
    except ConfigError as error:
        raise ConfigError(f"{error} (base, {place})") from error


def _method_problems(
    settings: SweepSettings, space: Space, at: dict[KeyPath, Place], places: dict[str, Place]
) -> Iterator[tuple[Place, str]]:
    method, budget = settings.method, settings.budget
    if method == "grid":
        for dimension in space.dimensions:
            if isinstance(dimension, Range):
                yield (
                    dimension.place,
                    f"space.{dimension.name}: a grid takes lists only; method random draws from ranges",
                )
        if space.grid_size > MAX_POINTS:
            yield places["space"], f"the grid has {space.grid_size:,} points, and a sweep has at most {MAX_POINTS:,}"
        if budget.num_trials is not None:
            yield (
                at[("budget", "num_trials")],
                "budget.num_trials belongs to random and tpe, and a grid has as many as it has",
            )
        return
    if not space.dimensions and not settings.space:
        yield places["space"], f"space is empty: method {method} has nothing to draw"
    if method == "tpe" and not has_optuna():
        yield places["method"], f"method tpe {MISSING}"
    if budget.num_trials is None and budget.minutes is None:
        yield places["budget"], f"method {method} needs budget.num_trials or budget.minutes"


def _rung_problems(
    settings: SweepSettings, space: Space, layers: Iterable[Layer], at: dict[KeyPath, Place]
) -> Iterator[tuple[Place, str]]:
    early = settings.stop_early
    if early is None:
        return
    place = at.get(("stop_early", "rungs"), at[("stop_early",)])
    if len(early.rungs) < 2 or any(later <= rung for rung, later in pairwise(early.rungs)):
        yield place, f"stop_early.rungs must be two or more rising numbers of steps, got {list(early.rungs)}"
    if settings.method != "grid" and settings.budget.num_trials is None:
        yield place, "stop_early needs budget.num_trials: a rung is decided when all its trials have reached it"
    for key in ("train.max_steps", "train.epochs"):
        if key in space.keys:
            yield at[("space", key)], f"{key} cannot vary: stop_early.rungs are the budget"
        for layer in layers:
            if tuple(key.split(".")) in layer.places:
                yield place, f"stop_early.rungs are the budget, and {layer.places[()]} would set {key}"


def _metric_problems(metric: str, place: Place) -> Iterator[tuple[Place, str]]:
    if metric in METRICS:
        return
    if metric.startswith("test_"):
        yield place, f"objective.metric {printable(metric)}: test figures are told of each trial and choose none"
        return
    near = difflib.get_close_matches(metric[:100], METRICS, n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(METRICS)}"
    yield place, f"unknown metric {printable(metric)}{hint}"


def _unmeasured(metric: str, settings: Settings) -> Iterator[str]:
    """Yield why a trial would not have the metric."""
    if metric.startswith("val_") and settings.corpus.split == "none":
        yield f"objective.metric {metric} needs a validation part, and corpus.split is none"
    if metric in ("val_backward_bpc", "val_cloze_bpc") and settings.model.direction != "bidirectional":
        yield f"objective.metric {metric} is of bidirectional models, and model.direction is {settings.model.direction}"


def _override_problems(layers: Iterable[Layer], space: Space, place: Place) -> Iterator[tuple[Place, str]]:
    for layer in layers:
        for key in space.keys:
            path = tuple(key.split("."))
            if path in layer.places or any(path[:depth] in _leaves(layer) for depth in range(1, len(path))):
                yield place, f"{key} varies here, and {layer.places[()]} would set it"


def _leaves(layer: Layer) -> set[tuple[Any, ...]]:
    parents = {path[:depth] for path in layer.places for depth in range(len(path))}
    return cast("set[tuple[Any, ...]]", layer.places.keys() - parents)


def _refuse(problems: Problems) -> None:
    if problems:
        ordered = sorted(problems, key=lambda problem: problem[0].line)
        raise ConfigError("\n".join(f"{reason} ({place})" for place, reason in ordered[:MAX_PROBLEMS]))

"""Find impossible requests in a sweep file: each problem with its place, before any trial starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, pairwise

from charlm.errors import ConfigError, printable
from charlm.settings.diagnosis import MAX_PROBLEMS
from charlm.settings.layers import SettingsLayer, sets
from charlm.settings.nearest import did_you_mean, nearest_name
from charlm.settings.schema import Settings
from charlm.settings.strict_yaml import KeyPath, Place
from charlm.sweeps.dimensions import Problem, is_count
from charlm.sweeps.plan import BUDGET, Plan, resolve
from charlm.sweeps.search import MISSING, has_optuna
from charlm.sweeps.settings import METRICS, SweepSettings
from charlm.sweeps.space import MAX_POINTS, Point, Range, Space
from charlm.text.known import corpus_names, standard_split


def file_problems(
    settings: SweepSettings, space: Space, layers: Sequence[SettingsLayer], at: Mapping[KeyPath, Place], source: Place
) -> Iterator[Problem]:
    """Yield the sections of a file that contradict each other.

    Args:
        settings: the file's settings.
        space: the file's space.
        layers: the options that override its base.
        at: the place of each of its keys.
        source: the place to name for keys that it leaves out.
    """
    yield from _method_problems(settings, space, at, source)
    yield from _metric_problems(settings.objective.metric, metric_place(at, source))
    yield from _rung_problems(settings, space, layers, at)
    yield from _override_problems(layers, space, at.get(("space",), source))


def metric_place(at: Mapping[KeyPath, Place], source: Place) -> Place:
    """Return the place of the metric or, if it is left out, of what would contain it."""
    return at.get(("objective", "metric")) or at.get(("objective",), source)


def check_plan(plan: Plan, *, place: Place) -> None:
    """Check that every trial is possible: each point of a grid or random search, or every value and end of a range.

    Args:
        place: the place of the metric.
        Raises:
            ConfigError: with each problem once.
    """
    # A problem with one value of a range affects most values drawn from it, so it is reported only once.
    for points in (plan.space.corners(), islice(_combinations(plan), MAX_POINTS)):
        problems: dict[str, None] = {}
        for point in points:
            problems |= dict.fromkeys(_point_problems(plan, point, place))
            if len(problems) > MAX_PROBLEMS:
                break
        if problems:
            more = ["and more problems"] if len(problems) > MAX_PROBLEMS else []
            raise ConfigError("\n".join([*[*problems][:MAX_PROBLEMS], *more]))


def told(problems: Iterable[Problem]) -> list[str]:
    """Return a sentence for each problem, in the order of their lines; if there are very many, only the first ones."""
    ordered = sorted(problems, key=lambda problem: problem[0].line)
    lines = [f"{reason} ({place})" for place, reason in ordered[:MAX_PROBLEMS]]
    more = len(ordered) - len(lines)
    return [*lines, f"and {more:,} more problems"] if more else lines


def has_validation(settings: Settings) -> bool:
    """Return whether a run's corpus has a validation split."""
    split = settings.corpus.split
    if split == "standard":
        split = standard_split(settings.corpus.name or "") or "default"
    return split != "none" if isinstance(split, str) else split[1] > 0


def _combinations(plan: Plan) -> Iterator[Point]:
    """Yield the points of a grid or random search; for a search that depends on results, its possible combinations."""
    return plan.space.combinations() if plan.method == "tpe" else plan.points()


def _point_problems(plan: Plan, point: Point, place_of_metric: Place) -> Iterator[str]:
    try:
        # The last seed is the largest, so it stands for all of them.
        settings = resolve(plan, point, plan.seeds[-1])
    except ConfigError as error:
        yield from str(error).split("\n")
    else:
        yield from (f"{reason} ({place_of_metric})" for reason in _unmeasured(plan.metric, settings))
        name = settings.corpus.name
        if name is not None and name not in corpus_names():
            place = next((each.place for each in point if each.key == "corpus.name"), Place(plan.source))
            yield f"there is no corpus called {printable(name)}{_hint(name, corpus_names())} ({place})"


def _method_problems(
    settings: SweepSettings, space: Space, at: Mapping[KeyPath, Place], source: Place
) -> Iterator[Problem]:
    method, budget = settings.method, settings.budget
    if method == "grid":
        for dimension in space.dimensions:
            if isinstance(dimension, Range):
                yield (
                    dimension.place,
                    f"space.{dimension.name}: a grid accepts only lists; method random draws from ranges",
                )
        if not settings.space and settings.seeds == 1:
            yield at.get(("space",), source), "nothing varies: give space, or seeds above 1"
        if space.grid_size > MAX_POINTS:
            yield (
                at.get(("space",), source),
                f"the grid has {space.grid_size:,} points, and a sweep can have at most {MAX_POINTS:,}",
            )
        if budget.num_trials is not None:
            yield (
                at[("budget", "num_trials")],
                "budget.num_trials is for methods random and tpe; a grid always runs all its points",
            )
        return
    for dimension in space.dimensions:
        if isinstance(dimension, Range) and dimension.scale != "int" and is_count(dimension.name):
            ends = f"{{int: [{dimension.low:.0f}, {dimension.high:.0f}]}}"
            yield dimension.place, f"{dimension.name} must be a whole number: write {ends}, or a list"
    if not settings.space:
        yield at.get(("space",), source), f"space is empty: method {method} needs something to draw from"
    if method == "tpe" and not has_optuna():
        yield at.get(("method",), source), f"method tpe {MISSING}"
    if budget.num_trials is None and budget.minutes is None:
        yield at.get(("budget",), source), f"method {method} needs budget.num_trials or budget.minutes"


def _rung_problems(
    settings: SweepSettings, space: Space, layers: Iterable[SettingsLayer], at: Mapping[KeyPath, Place]
) -> Iterator[Problem]:
    early = settings.stop_early
    if early is None:
        return
    place = at.get(("stop_early", "rungs"), at[("stop_early",)])
    if len(early.rungs) < 2 or any(later <= rung for rung, later in pairwise(early.rungs)):
        yield place, f"stop_early.rungs must be two or more rising numbers of steps, got {list(early.rungs)}"
    if settings.method != "grid" and settings.budget.num_trials is None:
        yield place, "stop_early needs budget.num_trials: a rung is decided when all its trials have reached it"
    for key in (f"train.{name}" for name in BUDGET):
        for dimension in space.dimensions:
            if key in dimension.keys:
                yield at[("space", dimension.name)], f"{key} cannot vary: stop_early.rungs set the budget"
        for layer in layers:
            if sets(layer, key):
                yield place, f"stop_early.rungs set the budget, and {layer.places[()]} would set {key}"


def _metric_problems(metric: str, place: Place) -> Iterator[Problem]:
    if metric in METRICS:
        return
    if metric.startswith("test_"):
        yield place, f"objective.metric {printable(metric)}: test results are reported but never used for selection"
        return
    yield place, f"unknown metric {printable(metric)}{_hint(metric, METRICS)}"


def _hint(word: str, known: Iterable[str]) -> str:
    return did_you_mean(nearest_name(word, known := list(known))) or f"; there are {', '.join(known)}"


def _unmeasured(metric: str, settings: Settings) -> Iterator[str]:
    """Yield the reasons why a trial would not have the metric."""
    if metric.startswith("val_") and not has_validation(settings):
        shown = settings.corpus.split if isinstance(settings.corpus.split, str) else list(settings.corpus.split)
        yield f"objective.metric {metric} needs a validation split, and corpus.split {shown} has none: use train_bpc"
    if metric in ("val_backward_bpc", "val_cloze_bpc") and settings.model.direction != "bidirectional":
        yield f"objective.metric {metric} needs a bidirectional model, not model.direction {settings.model.direction}"


def _override_problems(layers: Iterable[SettingsLayer], space: Space, place: Place) -> Iterator[Problem]:
    for layer in layers:
        for key in space.keys:
            if sets(layer, key):
                yield place, f"{key} varies here, and {layer.places[()]} would set it"

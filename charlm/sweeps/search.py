"""Use Optuna for the next point of a TPE search and for the importance of settings, both from our own records.

A study is built for each question and then discarded, so that the ledger is the only record.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import chain
from types import ModuleType
from typing import Any, cast

from pydantic import JsonValue

from charlm.errors import ConfigError
from charlm.runs.json_records import Json
from charlm.sweeps.space import Dimension, Options, Point, Setting, Space, is_number, values_text

MIN_POINTS = 4
MISSING = "needs Optuna, which is not installed: pip install 'charlm[sweeps]'; grid and random need nothing"


def has_optuna() -> bool:
    """Return whether Optuna is installed."""
    return find_spec("optuna") is not None


def suggest(space: Space, known: Sequence[tuple[Point, float | None, bool]], *, seed: int) -> Point | None:
    """Return the next point by the tree-structured Parzen estimator (Bergstra et al. 2011), or None if none is new.

    The result depends only on the arguments: the sampler is seeded by the seed and the number of known points.

    Args:
        space: the space to search.
        known: each point so far, its value (less is better), and whether it has ended. A point that ended without a
            value has failed.
        seed: random seed of the search.
        Raises:
            ConfigError: if Optuna is missing.
    """
    with _quiet_optuna("method tpe") as optuna:
        digest = hashlib.sha256(f"{seed}/{len(known)}".encode()).digest()
        sampler = optuna.samplers.TPESampler(seed=int.from_bytes(digest[:4]), constant_liar=True)
        study = optuna.create_study(sampler=sampler, direction="minimize")
        distributions = _distributions(optuna, space)
        points = _parameters(space, [point for point, *_ in known])
        for parameters, (_, value, has_ended) in zip(points, known, strict=True):
            # A failed point counts as the worst. A running point keeps the search away from its neighbourhood.
            state = "COMPLETE" if value is not None else "PRUNED" if has_ended else "RUNNING"
            study.add_trial(
                optuna.trial.create_trial(
                    params=parameters,
                    distributions=distributions,
                    value=value,
                    state=optuna.trial.TrialState[state],
                )
            )
        point = _point(space, study.ask(distributions).params)
    seen = {values_text(each) for each, *_ in known}
    # A repeated point would add no information, so a random new point is used instead.
    return next((each for each in chain([point], space.draws(seed)) if values_text(each) not in seen), None)


def importance(space: Space, values: Sequence[tuple[Point, float]]) -> dict[str, float] | None:
    """Return each dimension's share in what makes points good, by PED-ANOVA (Watanabe et al. 2023), largest first.

    Args:
        space: the space that was searched.
        values: each point with its value; less is better.
        Returns:
        None without Optuna, or if too little is known.
    """
    varying = Space(tuple(each for each in space.dimensions if space.varying & set(each.keys)))
    if not has_optuna() or len(varying.dimensions) < 2 or len({value for _, value in values}) < MIN_POINTS:
        return None
    with _quiet_optuna("the importance of settings") as optuna:
        study = optuna.create_study(direction="minimize")
        distributions = _distributions(optuna, varying)
        points = _parameters(varying, [point for point, _ in values])
        for parameters, (_, value) in zip(points, values, strict=True):
            study.add_trial(optuna.trial.create_trial(params=parameters, distributions=distributions, value=value))
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        shares = cast("dict[str, float]", optuna.importance.get_param_importances(study, evaluator=evaluator))
    return {name: round(share, 4) for name, share in shares.items()}


def belongs(space: Space, values: Mapping[str, JsonValue]) -> Point | None:
    """Return the point of a space that has these values, or None if the space has changed since."""
    parts: list[Setting] = []
    for dimension in space.dimensions:
        if isinstance(dimension, Options):
            number = _numbers(dimension).get(_text(dimension, values))
            found = None if number is None else dimension.options[number]
        else:
            value = values.get(dimension.name)
            found = dimension.point(value) if is_number(value) and dimension.low <= value <= dimension.high else None
        if found is None:
            return None
        parts += found
    return tuple(parts) if {each.key for each in parts} == set(values) else None


def _numbers(options: Options) -> dict[str, int]:
    """Return the number of each entry of a list by its identifying text; an entry may contain all of another."""
    return {values_text(each): number for number, each in enumerate(options.options)}


def _text(options: Options, values: Mapping[str, JsonValue]) -> str:
    """Return the text that identifies a list's entry, made from a point's values."""
    return json.dumps({key: values[key] for key in options.keys if key in values}, sort_keys=True)


def _distributions(optuna: ModuleType, space: Space) -> dict[str, Any]:
    return {each.name: _distribution(optuna.distributions, each) for each in space.dimensions}


def _distribution(kinds: Any, dimension: Dimension) -> Any:
    if isinstance(dimension, Options):
        return kinds.CategoricalDistribution(tuple(range(len(dimension.options))))
    if dimension.scale == "int":
        return kinds.IntDistribution(int(dimension.low), int(dimension.high))
    return kinds.FloatDistribution(dimension.low, dimension.high, log=dimension.scale == "log")


def _parameters(space: Space, points: Sequence[Point]) -> list[Json]:
    """Return points as Optuna's parameters; for a list, the parameter is the number of the entry."""
    numbers = {each.name: _numbers(each) for each in space.dimensions if isinstance(each, Options)}
    asked = [{setting.key: setting.value for setting in point} for point in points]
    return [
        {
            each.name: numbers[each.name][_text(each, values)] if isinstance(each, Options) else values[each.name]
            for each in space.dimensions
        }
        for values in asked
    ]


def _point(space: Space, parameters: Mapping[str, float]) -> Point:
    parts: list[Setting] = []
    for each in space.dimensions:
        value = parameters[each.name]
        if isinstance(each, Options):
            parts.extend(each.options[int(value)])
        else:
            parts.extend(each.point(int(value) if each.scale == "int" else each.rounded(value)))
    return tuple(parts)


@contextmanager
def _quiet_optuna(what: str) -> Generator[Any]:
    """Import Optuna, and silence its log and its warnings about experimental features."""
    if not has_optuna():
        raise ConfigError(f"{what} {MISSING}")
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield optuna
    finally:
        optuna.logging.set_verbosity(before)

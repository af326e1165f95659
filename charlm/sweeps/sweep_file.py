"""Turn a sweep file into a plan; report all problems at once, with file, line and nearest known name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from charlm.errors import ConfigError, printable
from charlm.runs.json_records import as_object
from charlm.settings.diagnosis import explain
from charlm.settings.layers import (
    QUICKSTART,
    SettingsLayer,
    file_layer,
    merge,
    override_layer,
    read_document,
    shipped_layer,
    shipped_names,
)
from charlm.settings.loading import check_layer
from charlm.settings.schema import Settings
from charlm.settings.shipped import shipped_folder
from charlm.settings.strict_yaml import Document, Place, parse_yaml
from charlm.settings.values import RUN_NAME, RUN_NAME_RULE
from charlm.sweeps.checks import check_plan, file_problems, has_validation, metric_place, told
from charlm.sweeps.dimensions import read_space
from charlm.sweeps.plan import BUDGET, Plan, trial_name
from charlm.sweeps.settings import METRICS, StopEarly, SweepSettings
from charlm.sweeps.space import Space

# The baselines on a text do not depend on the trial, so they are measured only if the base asks for them.
SWEEP_DEFAULTS = SettingsLayer({"eval": {"baselines": False}}, {})


def read_plan(file: str | Path, *, overrides: Sequence[str] = ()) -> Plan:
    """Read a sweep file, or a bundled one by its name, and check all of it.

    Args:
        file: a YAML file; relative paths in it start from its folder.
        overrides: texts `section.key=value` that override the base.
    Raises:
        ConfigError: every problem at once, each with its place and the nearest known name.
    """
    document, folder = _document(file)
    source = document.places[()].source if () in document.places else str(file)
    settings = _settings(document)
    name = settings.name or Path(file).stem
    space, problems = read_space(settings.space, document.places)
    at, here = document.places, Place(source)
    if not RUN_NAME.fullmatch(name):
        cannot = f"{printable(name)} cannot name the sweep's folder"
        problems.append((at.get(("name",), here), f"{cannot}: set name, {RUN_NAME_RULE}"))
    layers = [override_layer(text) for text in overrides]
    problems += file_problems(settings, space, layers, at, here)
    early = settings.stop_early
    try:
        base = merge(
            [SWEEP_DEFAULTS, _base_layer(settings.base, folder, at.get(("base",), here)), *layers, *_budget(early)]
        )
        first_seed = check_layer(base).train.seed
    except ConfigError as error:
        raise ConfigError("\n".join([*told(problems), str(error)])) from error
    if problems:
        raise ConfigError("\n".join(told(problems)))
    plan = Plan(
        source=source,
        name=name,
        method=settings.method,
        seeds=tuple(range(first_seed, first_seed + settings.seeds)),
        space=space,
        metric=settings.objective.metric,
        direction=settings.objective.direction or METRICS[settings.objective.metric],
        num_trials=settings.budget.num_trials,
        minutes=settings.budget.minutes,
        rungs=early.rungs if early else (),
        keep=early.keep if early else 1.0,
        base=base,
        folder=folder,
    )
    check_plan(plan, place=metric_place(at, here))
    return plan


def plan_seeds(settings: Settings, num_seeds: int, *, name: str | None = None) -> Plan:
    """Return a sweep over random seeds alone: the same settings with several seeds.

    Args:
        settings: the settings of each run, except for its seed.
        num_seeds: number of seeds, counted up from the settings' own.
        name: the name of the sweep's folder; None makes one from the settings, the same each time.
    """
    first = settings.train.seed
    return Plan(
        source="--seeds",
        name=name or f"seeds-{trial_name((), None, settings)}",
        method="grid",
        seeds=tuple(range(first, first + num_seeds)),
        space=Space(()),
        metric="val_bpc" if has_validation(settings) else "train_bpc",
        direction="minimize",
        num_trials=None,
        minutes=None,
        rungs=(),
        keep=1.0,
        # Values that nobody gave must stay unset, because the trials' names depend on that.
        base=SettingsLayer(settings.model_dump(mode="json", exclude_unset=True), {}),
        folder=Path(),
    )


def shipped_sweeps() -> list[str]:
    """Return the names of the bundled sweeps."""
    folder = shipped_folder("configs") / "sweeps"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def _settings(document: Document) -> SweepSettings:
    values = {} if document.value is None else document.value
    if not isinstance(values, dict):
        raise ConfigError(f"{document.places[()]}: a sweep is a mapping of keys such as space:")
    try:
        return SweepSettings.model_validate(values)
    except ValidationError as error:
        problems = read_space(as_object(values.get("space")), document.places)[1]
        lines = [*explain(error, document.places, SweepSettings), *told(problems)]
        raise ConfigError("\n".join(lines)) from error


def _budget(early: StopEarly | None) -> list[SettingsLayer]:
    """Return what replaces the base's budget, because a trial that ended by the clock might not reach a rung."""
    if early is None:
        return []
    return [SettingsLayer({"train": {**dict.fromkeys(BUDGET), "max_steps": early.rungs[-1]}}, {})]


def _document(file: str | Path) -> tuple[Document, Path]:
    path = Path(file)
    if str(file) in shipped_sweeps() and not path.exists():
        text = (shipped_folder("configs") / "sweeps" / f"{file}.yaml").read_text(encoding="utf-8")
        return parse_yaml(text, f"configs/sweeps/{file}.yaml"), Path()
    return read_document(file, "sweep", shipped=shipped_sweeps()), path.parent


def _base_layer(base: str | None, folder: Path, place: Place) -> SettingsLayer:
    if base is None:
        return shipped_layer(QUICKSTART)
    try:
        if base in shipped_names() and not (folder / base).exists():
            return shipped_layer(base)
        return file_layer(folder / base)
    except ConfigError as error:
        raise ConfigError(f"{error} (base, {place})") from error

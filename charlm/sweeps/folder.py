"""A sweep's folder: its owner, what is swept, and the trials' runs in it."""

from __future__ import annotations

from pathlib import Path

from charlm.errors import ConfigError
from charlm.runs.durable import DRAFT_NAME, replace_file, storage_error, sweep_drafts
from charlm.runs.json_records import Json
from charlm.runs.ownership import LEASE_NAME, LOCK_NAME, Ownership, take_ownership
from charlm.runs.run import Run
from charlm.settings.loading import check_layer
from charlm.settings.strict_yaml import dump_yaml
from charlm.sweeps.plan import Plan
from charlm.sweeps.space import Options

DEFINITION = "sweep.yaml"


def own_folder(folder: Path, plan: Plan) -> Ownership:
    """Make or take over the sweep's folder and write down what is swept.

    Raises:
        ConfigError: where there is something else.
        RunInUseError: where another process runs the sweep.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = [entry.name for entry in folder.iterdir()]
    except OSError as error:
        raise storage_error(folder, error) from error
    if Run(folder).exists:
        raise ConfigError(f"{folder} is a run and not a sweep: give the sweep another name")
    is_begun = all(name == LOCK_NAME or LEASE_NAME.fullmatch(name) or DRAFT_NAME.fullmatch(name) for name in names)
    if DEFINITION not in names and not is_begun:
        raise ConfigError(f"{folder} exists already and holds something else: give the sweep another name")
    ownership = take_ownership(folder)
    try:
        sweep_drafts(folder)
        replace_file(folder / DEFINITION, dump_yaml(_definition(plan)).encode("utf-8"))
    except BaseException:
        ownership.release()
        raise
    return ownership


def _definition(plan: Plan) -> Json:
    """Return what is swept as plain values, the base resolved."""
    space: Json = {}
    for each in plan.space.dimensions:
        if isinstance(each, Options):
            is_bundle = "." not in each.name
            values: list[Json] = [{setting.key: setting.value for setting in option} for option in each.options]
            space[each.name] = [value if is_bundle else value[each.name] for value in values]
        else:
            space[each.name] = {each.scale: [each.low, each.high]}
    return {
        "name": plan.name,
        "method": plan.method,
        "seeds": list(plan.seeds),
        "space": space,
        "objective": {"metric": plan.metric, "direction": plan.direction},
        "stop_early": {"rungs": list(plan.rungs), "keep": plan.keep} if plan.rungs else None,
        "budget": {"num_trials": plan.num_trials, "minutes": plan.minutes},
        "base": check_layer(plan.base).model_dump(mode="json"),
    }

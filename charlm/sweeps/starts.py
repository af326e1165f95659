"""Trials that start from a run: it is found next to the sweep, and checked before anything starts."""

from __future__ import annotations

from pathlib import Path

from charlm.runs.parents import full_path, open_parent
from charlm.settings.schema import Settings
from charlm.sweeps.plan import Plan, resolve
from charlm.training.parent import inherit_settings


def check_starts(plan: Plan, runs_dir: Path) -> None:
    """Check that the runs that trials start from exist, and that no value contradicts its run's network.

    Args:
        plan: a sweep that has not begun; later, its trials do not need those runs any more.
        runs_dir: the folder that contains the sweep's folder.
    Raises:
        RunError: for a run that is missing, damaged or leaky.
        ConfigError: for settings that differ from those of the run.
    """
    for point in plan.space.corners():
        settings = resolve(plan, point, plan.seeds[0])
        if settings.start.run is not None:
            inherit_settings(settings, open_parent(settings.start.run, folder=runs_dir))


def with_full_start(settings: Settings, runs_dir: Path) -> Settings:
    """Return settings in which the run to start from has an absolute path, as workers look for runs elsewhere."""
    if settings.start.run is None:
        return settings
    return settings.replaced({"start.run": full_path(settings.start.run, folder=runs_dir)})

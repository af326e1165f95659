"""What an automatic recipe and fitted minutes come to, decided once for all trials of a sweep and kept with it.

If each trial measured the speed of the machine, equal trials would take different numbers of steps, and a sweep that is
started again would not find its own. Only where trials differ in their speed, each has its own number of steps, which
its run keeps; the other choices stay common.
"""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from pathlib import Path

from charlm.runs.durable import replace_file
from charlm.settings.layers import SettingsLayer
from charlm.settings.loading import check_layer, dotted_values, dump_settings, load_run_settings
from charlm.settings.schema import Settings
from charlm.sweeps.plan import WHERE, Plan
from charlm.sweeps.space import Space
from charlm.training.deciding import decide, is_fitted, is_open
from charlm.training.parent import keep_start

DECIDED = "base.yaml"
# The settings, or whole sections, on which the speed of training depends. Dropout hardly changes it.
PACING = (
    *("corpus", "vocabulary", "sampling", "optimizer.accumulation"),
    *(f"model.{name}" for name in ("cell", "num_layers", "hidden_size", "embedding_size", "direction", "layer_norm")),
)


def with_decided_base(plan: Plan, folder: Path, *, threads: int) -> Plan:
    """Return a sweep whose base leaves nothing to a recipe or to the clock: as decided before, or else now.

    Args:
        plan: the sweep.
        folder: its folder, which this process owns.
        threads: number of threads of each trial.
    Raises:
        CharlmError: if the text cannot be used, or the decisions cannot be written.
    """
    asked = check_layer(plan.base)
    if not is_open(asked):
        return plan
    path = folder / DECIDED
    decided = load_run_settings(path) if path.exists() else None
    if decided is None or not _follows(decided, asked):
        threaded = asked.replaced({"train.threads": asked.train.threads or threads})
        resolved = decide(threaded, runs_dir=folder.parent).resolved
        # Where trials run, and with how many threads, is open as before.
        as_asked = {key: attrgetter(key)(asked) for key in (*WHERE, "train.fit_minutes")}
        decided = resolved.settings.replaced(as_asked)
        replace_file(path, dump_settings(decided).encode("utf-8"))
    if is_fitted(asked) and differs_in_speed(plan.space):
        # Only the recipe's choices are shared: a larger network takes fewer steps in the same minutes.
        base = decided.replaced(dict.fromkeys(("train.max_steps", "optimizer.schedule.total_steps")))
    else:
        # The end of the trials no longer depends on the clock.
        base = decided.replaced({"train.fit_minutes": None})
    return replace(plan, base=SettingsLayer(base.model_dump(mode="json"), {}))


def differs_in_speed(space: Space) -> bool:
    """Say whether trials differ in what decides their speed, so that each is fitted to the minutes by itself."""
    return any(f"{key}.".startswith(f"{pacing}.") for key in space.varying for pacing in PACING)


def _follows(decided: Settings, asked: Settings) -> bool:
    """Say whether decisions are those for what is asked now: each written setting has kept its value."""
    then, now = dotted_values(decided), dotted_values(keep_start(asked, decided), only_written=True)
    return all(then.get(key) == value for key, value in now.items() if value is not None and key not in WHERE)

"""The results of a sweep: a row for each trial, their means over seeds, and the best configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from charlm.evaluation.spread import Spread, spread
from charlm.runs.choice import MIN_CHOICE_CHARS, is_enough
from charlm.runs.json_records import Json, to_json
from charlm.runs.run import Run
from charlm.sweeps.halving import entrants, value_at
from charlm.sweeps.ledger import Ledger
from charlm.sweeps.plan import Plan, Trial, by_point
from charlm.sweeps.search import importance
from charlm.sweeps.tasks import Outcome, RunFigures, number_of

# The results in the table, each a mean over seeds with its standard deviation.
FRONTS = ("chars_per_second", "num_parameters")
MEANS = ("val_bpc", "test_bpc", "chars_per_second")


@dataclass(frozen=True)
class TrialRow:
    """One trial.

    Args:
        trial: the run's name.
        number: the number of its point.
        settings: its settings that vary.
        seed: its train.seed.
        state: finished; stopped at a rung; waiting at a rung for other trials; failed; cut; or new if it has not begun.
        reason: why it failed.
        exit_code: the exit code that `charlm train` would have had.
        figures: the results in its closing record.
    """

    trial: str
    number: int
    settings: Mapping[str, JsonValue]
    seed: int
    state: str
    reason: str | None
    exit_code: int
    figures: RunFigures


@dataclass(frozen=True)
class Configuration:
    """One point of the space, summarised over its random seeds.

    Args:
        number: the point's number.
        settings: the settings that vary.
        state: finished if all its trials are; otherwise stopped at a rung, failed, or open.
        num_steps: number of steps that its trials had been trained for when they were measured.
        num_finished: how many of its trials ended successfully, at a rung or at the end.
        num_trials: how many trials it has.
        num_parameters: number of the model's parameters.
        figures: the results in the table, each over the successful trials.
    """

    number: int
    settings: Mapping[str, JsonValue]
    state: str
    num_steps: int | None
    num_finished: int
    num_trials: int
    num_parameters: int | None
    figures: Mapping[str, Spread]


@dataclass(frozen=True)
class Results:
    """The results of a sweep.

    Args:
        name: the sweep's name.
        metric: the metric by which configurations are compared.
        direction: whether lower or higher is better.
        configurations: the configurations, best first; incomplete ones come last.
        trials: the trials, in the order of their points.
        importance: each dimension's share in what makes points good; None without Optuna or if too little is known.
        fronts: numbers of the configurations that no other beats both in bits per character and in characters per
            second, or in parameters.
        warnings: sentences about the limits of the results.
    """

    name: str
    metric: str
    direction: str
    configurations: tuple[Configuration, ...]
    trials: tuple[TrialRow, ...]
    importance: Mapping[str, float] | None
    fronts: Mapping[str, Sequence[int]]
    warnings: tuple[str, ...]

    @property
    def best(self) -> Configuration | None:
        """The configuration with the best mean, among those whose trials have all ended successfully."""
        first = next(iter(self.configurations), None)
        return first if first and first.state == "finished" and self.metric in first.figures else None

    @property
    def failed(self) -> tuple[TrialRow, ...]:
        """The trials that failed."""
        return tuple(row for row in self.trials if row.state == "failed")

    @property
    def best_trials(self) -> tuple[str, ...]:
        """The names of the trials of the best configuration."""
        return tuple(row.trial for row in self.trials if self.best and row.number == self.best.number)

    def as_record(self) -> Json:
        """Return the results as a JSON object."""
        return to_json(
            {
                "kind": "sweep",
                "name": self.name,
                "objective": {"metric": self.metric, "direction": self.direction},
                "best": self.best and {**to_json(self.best), "trials": self.best_trials},
                "configurations": self.configurations,
                "trials": self.trials,
                "failed": [
                    {"trial": row.trial, "reason": row.reason, "exit_code": row.exit_code} for row in self.failed
                ],
                "importance": self.importance,
                "pareto": self.fronts,
                "warnings": self.warnings,
            }
        )


def summarise(plan: Plan, trials: Iterable[Trial], ledger: Ledger, *, are_all: bool = True) -> Results:
    """Return the results of a sweep's trials so far.

    Args:
        plan: the sweep.
        trials: the trials of all its points so far.
        ledger: the outcomes of the trials.
        are_all: whether there will be no further points.
    """
    trials = list(trials)
    rows = trial_rows(plan, trials, ledger, are_all=are_all)
    by_number: dict[int, list[TrialRow]] = {}
    for row in rows:
        by_number.setdefault(row.number, []).append(row)
    configurations = [_configuration(each, plan.metric) for each in by_number.values()]

    def order(each: Configuration) -> tuple[int, int, float, int]:
        value = each.figures.get(plan.metric)
        rank = ("finished", "stopped").index(each.state) if each.state in ("finished", "stopped") else 2
        if value is None or rank == 2:
            return 2, 0, 0.0, each.number
        # Results after different numbers of steps cannot be compared.
        return rank, -(each.num_steps or 0) if rank else 0, plan.sign * value.mean, each.number

    configurations.sort(key=order)
    return Results(
        name=plan.name,
        metric=plan.metric,
        direction=plan.direction,
        configurations=tuple(configurations),
        trials=rows,
        importance=_importance(plan, trials, ledger),
        fronts={figure: _front(configurations, figure) for figure in FRONTS},
        warnings=tuple(_warnings(rows)),
    )


def trial_rows(plan: Plan, trials: Iterable[Trial], ledger: Ledger, *, are_all: bool = True) -> tuple[TrialRow, ...]:
    """Return a row for each trial; see `summarise`."""
    trials = list(trials)
    entered = entrants(plan, trials, ledger, are_all=are_all)
    return tuple(_row(trial, plan, entered, ledger) for trial in trials)


def pareto_front(points: Iterable[tuple[int, float, float]]) -> list[int]:
    """Return the names of the points on the Pareto front, in increasing order of their first value.

    Args:
        points: for each point, a name and two values; lower is better for both.
    """
    front: list[int] = []
    lowest: float | None = None
    for name, _, second in sorted(points, key=lambda point: (point[1], point[2], point[0])):
        if lowest is None or second < lowest:
            front.append(name)
            lowest = second
    return front


def varied_keys(configurations: Sequence[Configuration]) -> list[str]:
    """Return the settings that vary, in the order of the file."""
    ordered = sorted(configurations, key=lambda each: each.number)
    return list(dict.fromkeys(key for each in ordered for key in each.settings))


def figure_names(results: Results) -> list[str]:
    """Return the names of the table's results, with the objective first."""
    return list(dict.fromkeys((results.metric, *MEANS)))


def _importance(plan: Plan, trials: Sequence[Trial], ledger: Ledger) -> dict[str, float] | None:
    """Return the importance of each dimension, by the results of the first rung, which all points reach."""
    points = by_point(trials).values()
    found = [(each[0].point, value_at(plan, each, ledger, plan.stages[0])) for each in points]
    return importance(plan.space, [(point, value) for point, value in found if value is not None])


def _front(configurations: Iterable[Configuration], figure: str) -> list[int]:
    """Return the Pareto front of bits per character against another result, for the finished configurations."""
    points: list[tuple[int, float, float]] = []
    for each in configurations:
        bpc, speed = each.figures.get("val_bpc"), each.figures.get("chars_per_second")
        cost = each.num_parameters if figure == "num_parameters" else speed and -speed.mean
        if each.state == "finished" and bpc is not None and cost is not None:
            points.append((each.number, bpc.mean, cost))
    return pareto_front(points)


def _row(trial: Trial, plan: Plan, entered: Sequence[frozenset[int]], ledger: Ledger) -> TrialRow:
    stage = max(number for number, points in enumerate(entered) if trial.number in points)
    known = [ledger.get(trial.name, rung) for rung in plan.stages[: stage + 1]]
    outcome = next((each for each in reversed(known) if each is not None), None)
    state = _state(known[-1], ledger.folder / trial.name)
    if state == "finished" and stage + 1 < len(plan.stages):
        state = "stopped" if stage + 1 < len(entered) else "waiting"
    reason, exit_code = (outcome.reason, outcome.exit_code) if outcome else (None, 0)
    figures: RunFigures = outcome.figures if outcome else {}
    return TrialRow(trial.name, trial.number, trial.varied, trial.seed, state, reason, exit_code, figures)


def _state(outcome: Outcome | None, run: Path) -> str:
    if outcome is None:
        return "cut" if Run(run).exists else "new"
    return "finished" if outcome.status == "reached" else "failed"


def _configuration(rows: Sequence[TrialRow], metric: str) -> Configuration:
    finished = [row for row in rows if row.state in ("finished", "stopped", "waiting")]
    states = {row.state for row in rows}
    state = states.pop() if len(states) == 1 else "failed" if "failed" in states else "open"
    state = state if state in ("finished", "stopped", "failed") else "open"
    spreads = {
        figure: spread(value for row in finished if (value := number_of(row.figures, figure)) is not None)
        for figure in dict.fromkeys((metric, *MEANS))
    }
    first, figures = rows[0], finished[0].figures if finished else rows[0].figures
    return Configuration(
        number=first.number,
        settings=first.settings,
        state=state,
        num_steps=_count_of(figures, "steps"),
        num_finished=len(finished),
        num_trials=len(rows),
        num_parameters=_count_of(figures, "num_parameters"),
        figures={figure: value for figure, value in spreads.items() if value is not None},
    )


def _count_of(figures: RunFigures, name: str) -> int | None:
    number = number_of(figures, name)
    return None if number is None else int(number)


def _warnings(rows: Sequence[TrialRow]) -> Iterable[str]:
    """Yield warnings about single runs, about a short validation split, and about texts that differ."""
    yield from dict.fromkeys(f"{row.trial}: {row.figures['warning']}" for row in rows if row.figures.get("warning"))
    lengths = {int(number) for row in rows if (number := number_of(row.figures, "val_chars")) is not None}
    if lengths and not is_enough(min(lengths)):
        yield (
            f"the validation split has {min(lengths):,} predicted characters, and a choice needs {MIN_CHOICE_CHARS}: "
            "which trial is best is a matter of chance"
        )
    texts = {row.figures.get("val_sha256") for row in rows if row.state == "finished"}
    if len(texts) > 1:
        yield f"the trials were measured on {len(texts)} different validation texts: their results cannot be compared"

"""What a sweep found: a row for each trial, their means over seeds, the best configuration; as files too."""

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

# Figures of the table, each a mean over seeds with its deviation.
FRONTS = ("chars_per_second", "num_parameters")
MEANS = ("val_bpc", "test_bpc", "chars_per_second")


@dataclass(frozen=True)
class TrialRow:
    """One trial.

    Args:
        trial: the run's name.
        number: of its point.
        settings: those that vary.
        seed: its train.seed.
        state: finished; stopped at a rung; waiting at one for the others; failed; cut; or new where it has not begun.
        reason: why it failed.
        exit_code: what `charlm train` would have ended with.
        figures: of its closing record.
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
    """One point of the space over its seeds.

    Args:
        number: of the point.
        settings: those that vary.
        state: finished where all its trials are; else stopped at a rung, failed, or open.
        num_steps: that its trials were trained for when they were measured.
        num_finished: how many of its seeds' trials have ended well, at a rung or at the end.
        num_trials: how many there are.
        num_parameters: of the model.
        figures: of the table, each over those trials.
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
    """What a sweep found.

    Args:
        name: of the sweep.
        metric: by which configurations are compared.
        direction: what is better.
        configurations: the best first; those that are not complete last.
        trials: in the order of their points.
        importance: of each dimension, its share in what makes points good; None without Optuna or where too little is
            known.
        fronts: the numbers of the configurations that no other beats in both bits per character and characters per
            second, or parameters.
        warnings: what the figures must not be taken for.
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
        """The configuration with the best mean of those whose trials have all ended well."""
        first = next(iter(self.configurations), None)
        return first if first and first.state == "finished" and self.metric in first.figures else None

    @property
    def failed(self) -> tuple[TrialRow, ...]:
        """The trials that failed."""
        return tuple(row for row in self.trials if row.state == "failed")

    @property
    def best_trials(self) -> tuple[str, ...]:
        """The names of the best configuration's trials."""
        return tuple(row.trial for row in self.trials if self.best and row.number == self.best.number)

    def as_record(self) -> Json:
        """Return a JSON object."""
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
    """Return what is known of a sweep's trials so far.

    Args:
        plan: the sweep.
        trials: of all its points so far.
        ledger: what has become of them.
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
        # Figures after different numbers of steps do not compare.
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
    """Return the names of the points on the front, from the lowest first figure on.

    Args:
        points: of each a name and two figures, of both of which less is better.
    """
    front: list[int] = []
    lowest: float | None = None
    for name, _, second in sorted(points, key=lambda point: (point[1], point[2], point[0])):
        if lowest is None or second < lowest:
            front.append(name)
            lowest = second
    return front


def varied_keys(configurations: Sequence[Configuration]) -> list[str]:
    """Return the settings that vary, in the order in which the points have them: the file's."""
    ordered = sorted(configurations, key=lambda each: each.number)
    return list(dict.fromkeys(key for each in ordered for key in each.settings))


def figure_names(results: Results) -> list[str]:
    """Return the figures of the table, the objective first."""
    return list(dict.fromkeys((results.metric, *MEANS)))


def _importance(plan: Plan, trials: Sequence[Trial], ledger: Ledger) -> dict[str, float] | None:
    """Return the importance of each dimension by the figures of the first rung, which all points have in common."""
    points = by_point(trials).values()
    found = [(each[0].point, value_at(plan, each, ledger, plan.stages[0])) for each in points]
    return importance(plan.space, [(point, value) for point, value in found if value is not None])


def _front(configurations: Iterable[Configuration], figure: str) -> list[int]:
    """Return the front of bits per character against a figure, the finished configurations with the best bpc first."""
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
    """Yield what stands beside the figures of single runs, and that they do not compare where their texts differ."""
    yield from dict.fromkeys(f"{row.trial}: {row.figures['warning']}" for row in rows if row.figures.get("warning"))
    lengths = {int(number) for row in rows if (number := number_of(row.figures, "val_chars")) is not None}
    if lengths and not is_enough(min(lengths)):
        yield (
            f"validation is {min(lengths):,} predicted characters and a choice takes {MIN_CHOICE_CHARS}: which trial "
            "is best is chance"
        )
    texts = {row.figures.get("val_sha256") for row in rows if row.state == "finished"}
    if len(texts) > 1:
        yield f"the trials were measured on {len(texts)} different validation texts: their figures do not compare"

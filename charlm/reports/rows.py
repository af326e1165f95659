"""Group runs of the same settings into rows: their seeds, and the mean and standard deviation of their results."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from pydantic import JsonValue

from charlm.errors import printable
from charlm.evaluation.spread import Spread, spread
from charlm.reports.run_results import CLOZE, FIGURES, RunResult, State
from charlm.runs.json_records import Json, to_json

MAX_VALUE = 60
SEPARATORS = "-_. "
SEED = rf"(?:[{SEPARATORS}]+(?:seed|s))?[{SEPARATORS}]*{{seed}}$"
WORD = re.compile(rf"[{SEPARATORS}]?[^{SEPARATORS}]+|[{SEPARATORS}]")


@dataclass(frozen=True)
class Row:
    """Runs that differ only by their seed.

    Args:
        name: what their names have in common; for a single run, its name.
        results: one result for each seed, in the order of the seeds; only these count.
        repeats: names of runs that repeat the seed of one of them.
        settings: the settings that differ between rows, by dotted key.
    """

    name: str
    results: tuple[RunResult, ...]
    repeats: tuple[str, ...]
    settings: Mapping[str, JsonValue]

    @property
    def state(self) -> State:
        """The state of the runs; all of them have finished, unless there is only one."""
        return self.results[0].state

    @property
    def seeds(self) -> tuple[int, ...]:
        """The random seeds, in order."""
        return tuple(result.seed for result in self.results)

    @property
    def machines(self) -> tuple[str, ...]:
        """The kinds of machines that the runs were created on, each once."""
        return tuple(dict.fromkeys(result.machine for result in self.results))

    def nats(self, figure: str) -> Spread | None:
        """Return a result of FIGURES in nats per character; None if no run has it."""
        return spread(result.figures[figure].nats_per_char for result in self.results if figure in result.figures)

    def bits(self, figure: str) -> Spread | None:
        """Return a result of FIGURES in bits per character; None if no run has it."""
        return spread(result.figures[figure].bits_per_char for result in self.results if figure in result.figures)

    def perplexity(self, figure: str) -> Spread | None:
        """Return a result of FIGURES as a perplexity; None if no run has it, if it is infinite, or for the cloze."""
        found = [result.figures[figure].perplexity for result in self.results if figure in result.figures]
        return None if figure in CLOZE or not all(map(math.isfinite, found)) else spread(found)

    def chars_per_second(self) -> Spread | None:
        """Return the training speed; None if nothing has been evaluated."""
        return spread(each.chars_per_second for each in self.results if each.chars_per_second is not None)

    def minutes(self) -> Spread | None:
        """Return the minutes that a run took; None if nothing has been evaluated."""
        return spread(each.minutes for each in self.results if each.minutes is not None)

    def as_record(self) -> Json:
        """Return a JSON object, in which a spread is an object of mean, deviation and num_runs."""
        first = self.results[0]
        record: dict[str, object] = {
            "name": self.name,
            "runs": [result.name for result in self.results],
            "repeats": self.repeats,
            "seeds": self.seeds,
            "state": self.state,
            "steps": spread(result.steps for result in self.results),
            "settings": self.settings,
        }
        for figure in FIGURES:
            record[f"{figure}_nats_per_char"], record[f"{figure}_bpc"] = self.nats(figure), self.bits(figure)
            if figure not in CLOZE:
                record[f"{figure}_perplexity"] = self.perplexity(figure)
            record[f"{figure}_chars"] = first.figures[figure].num_chars if figure in first.figures else None
        record |= {
            "corpus_sha256": first.corpus_sha256,
            "val_sha256": first.val_sha256,
            "test_sha256": first.test_sha256,
            "train_sha256": first.train_sha256,
            "num_parameters": first.num_parameters,
            "chars_per_second": self.chars_per_second(),
            "minutes": self.minutes(),
            "machines": self.machines,
        }
        return to_json(record)


def group(results: Iterable[RunResult], keys: Sequence[str], *, by_machine: bool) -> list[Row]:
    """Group runs into rows, in the order of their first runs.

    Args:
        results: the results of the runs.
        keys: the settings that distinguish rows, without the seed; the texts of the runs distinguish rows too.
        by_machine: whether the kind of machine also distinguishes rows.
    """
    groups: dict[str, list[RunResult]] = {}
    for number, result in enumerate(results):
        texts = (result.corpus_sha256, result.val_sha256, result.test_sha256)
        # The best result so far of an unfinished run is not comparable with the results of finished runs.
        alone = None if result.is_finished else number
        kind = [*(result.settings.get(key) for key in keys), *texts, by_machine and result.machine, alone]
        groups.setdefault(json.dumps(kind), []).append(result)
    rows = [_row(runs, keys) for runs in groups.values()]
    names = [row.name for row in rows]
    return [replace(row, name=_joined(row)) if not row.name or names.count(row.name) > 1 else row for row in rows]


def value_text(value: JsonValue, limit: int = MAX_VALUE) -> str:
    """Return a setting as a person would write it in a configuration; the middle of a long one is left out."""
    if isinstance(value, dict):
        return f"{value['epochs']} epochs"
    if isinstance(value, list):
        return ", ".join(value_text(each, limit) for each in value)
    return printable(value if isinstance(value, str) else json.dumps(value), limit)


def _row(runs: Sequence[RunResult], keys: Sequence[str]) -> Row:
    """Return a row in which each seed counts once, by its first run."""
    by_seed: dict[int, RunResult] = {}
    for result in runs:
        by_seed.setdefault(result.seed, result)
    counted = tuple(by_seed[seed] for seed in sorted(by_seed))
    repeats = tuple(result.name for result in runs if result is not by_seed[result.seed])
    return Row(_stem(counted), counted, repeats, {key: counted[0].settings.get(key) for key in keys})


def _stem(results: Sequence[RunResult]) -> str:
    """Return what the names of runs have in common, such as `songs` for songs-0 and songs-1; it may be empty."""
    if len(results) == 1:
        return results[0].name
    without_seeds = {re.sub(SEED.format(seed=result.seed), "", result.name) for result in results}
    if len(without_seeds) == 1:
        return without_seeds.pop()
    words = zip(*(WORD.findall(result.name) for result in results), strict=False)
    return "".join(same[0] for same in takewhile(lambda each: len(set(each)) == 1, words)).rstrip(SEPARATORS)


def _joined(row: Row) -> str:
    return ", ".join(result.name for result in row.results)

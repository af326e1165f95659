"""Compare runs: the settings that differ, and the results of each group of seeds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from charlm.errors import CharlmError, ConfigError, RunError
from charlm.reports.caveats import row_caveats, text_caveats
from charlm.reports.rows import Row, group
from charlm.reports.run_results import RunResult, names_of, read_result
from charlm.runs.json_records import Json
from charlm.runs.run import Run, find_run, runs_folder

SEED = "train.seed"
CORPUS = ("corpus.name", "corpus.path", "corpus.glob")
# Settings that change no result or only say where to run: they count as a difference only if there is no other.
ASIDE = (*CORPUS, "train.device", "train.threads", "model.implementation", "checkpoint", "sample", "eval.baselines")


@dataclass(frozen=True)
class Comparison:
    """Several runs, compared.

    Args:
        settings: the dotted keys that differ between rows, in the order of the configuration.
        rows: groups of runs that differ only by their seed, in the order in which the first run of each was given.
        warnings: sentences about what cannot be compared or is not counted.
        left_out: a sentence about each damaged run, which is in no row.
    """

    settings: tuple[str, ...]
    rows: tuple[Row, ...]
    warnings: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def as_record(self) -> Json:
        """Return a JSON object with `rows` and `warnings`."""
        return {"rows": [row.as_record() for row in self.rows], "warnings": [*self.left_out, *self.warnings]}


def compare(*runs: str | Path | Run, runs_dir: str | Path | None = None) -> Comparison:
    """Compare runs: the settings that differ, and the results of each group of seeds.

    Runs that differ only by train.seed form one row. Runs with the same seed repeat one measurement, so only the first
    of them counts. A run that has not finished has its own row.

    Settings that change no result (device, threads, implementation, checkpoints, samples, baselines) do not count as a
    difference unless the runs are otherwise identical, including their seeds. Nor does the location of a corpus if its
    text is the same.

    Args:
        runs: runs, or their names or paths; a run that is named twice counts once.
        runs_dir: the folder that contains the runs; None means CHARLM_RUNS_DIR or ./runs.
        Raises:
            ConfigError: if no run is named.
            RunError: if a run is missing, or if all runs are damaged; one damaged run among others is left out.

    Example:
        >>> row, *others = charlm.compare("my-run", "both-ways").rows
        >>> row.name, row.settings["model.direction"], row.bits("test").mean < 5
        ('my-run', 'forward', True)
    """
    if not runs:
        raise ConfigError("name the runs to compare")
    folder = runs_folder(runs_dir)
    found = [run if isinstance(run, Run) else find_run(str(run), folder=folder) for run in runs]
    by_place: dict[Path, Run] = {}
    for run in found:
        by_place.setdefault(run.path.resolve(), run)
    results: list[RunResult] = []
    left_out: list[str] = []
    for run, name in zip(by_place.values(), names_of(list(by_place.values())), strict=True):
        try:
            results.append(read_result(run, name=name))
        except CharlmError as error:
            left_out.append(f"the run {name} is left out: {'; '.join(str(error).splitlines())}")
    if not results:
        raise RunError("\n".join(left_out))
    return compare_results(results, left_out=left_out)


def compare_results(results: Sequence[RunResult], *, left_out: Sequence[str] = ()) -> Comparison:
    """Compare the results of runs.

    Args:
        results: the results, each of a different run.
        left_out: a sentence about each run that could not be read.
    """
    keys = _differing(results)
    telling = tuple(key for key in keys if not _is_aside(key))
    corpora, seeds = ({each.corpus_sha256 for each in results}, {each.seed for each in results})
    # Runs that differ in nothing else are compared by where they ran.
    for_place = not telling and len(corpora) == len(seeds) == 1
    if len(corpora) > 1:
        telling = tuple(key for key in keys if not _is_aside(key) or key in CORPUS)
    settings = keys if for_place else telling
    rows = group(results, settings, by_machine=for_place)
    counted = [result for row in rows for result in row.results]
    return Comparison(settings, tuple(rows), (*text_caveats(counted), *row_caveats(rows)), tuple(left_out))


def short_names(comparison: Comparison) -> dict[str, str]:
    """Return short names for the settings that differ: the last word of the key, if no other key ends in that word."""
    words = Counter(key.rpartition(".")[2] for key in comparison.rows[0].results[0].settings)
    last = {key: key.rpartition(".")[2] for key in comparison.settings}
    return {key: word if words[word] == 1 and key not in CORPUS else key for key, word in last.items()}


def _differing(results: Sequence[RunResult]) -> tuple[str, ...]:
    keys = dict.fromkeys(key for result in results for key in result.settings)
    return tuple(key for key in keys if key != SEED and _num_different(_values(results, key)) > 1)


def _values(results: Sequence[RunResult], key: str) -> list[JsonValue]:
    """Return what the runs have for a setting; ensembles have nothing for what their members may differ in."""
    return [each.settings.get(key) for each in results if key in each.settings or not each.is_ensemble]


def _is_aside(key: str) -> bool:
    return any(f"{key}.".startswith(f"{aside}.") for aside in ASIDE)


def _num_different(values: Iterable[JsonValue]) -> int:
    return len({json.dumps(value) for value in values})

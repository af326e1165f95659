"""Write a sweep's results to its folder: results as JSON, the table as CSV, and the best configuration."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from charlm.runs.csv_cells import csv_cell
from charlm.runs.durable import replace_file, storage_error
from charlm.runs.json_records import json_file
from charlm.settings.loading import dump_settings
from charlm.sweeps.plan import Trial
from charlm.sweeps.results import Configuration, Results, figure_names, varied_keys

BEST, TABLE, RESULTS = "best.yaml", "table.csv", "results.json"


def write_results(results: Results, trials: Mapping[str, Trial], folder: Path) -> None:
    """Write results.json and table.csv, and best.yaml if there is a best configuration.

    Raises:
        StorageError: if a file cannot be written, or an old one cannot be removed.
    """
    replace_file(folder / RESULTS, json_file(results.as_record()))
    replace_file(folder / TABLE, table_csv(results).encode("utf-8"))
    if results.best is None:
        # A best.yaml left by an earlier version of the sweep would be mistaken for this one's.
        _remove(folder / BEST)
    else:
        first = trials[results.best_trials[0]]
        head = (
            f"# The best configuration of the sweep {results.name}: "
            f"{results.metric} {mean_text(results.best, results)}.\n"
            f"# The settings of the trial {first.name}; train from them: charlm train --config {BEST}\n"
        )
        replace_file(folder / BEST, (head + dump_settings(first.settings)).encode("utf-8"))


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(path, error, "remove") from error


def mean_text(configuration: Configuration, results: Results) -> str:
    """Return a configuration's mean of the metric, with its standard deviation if there are several seeds."""
    value = configuration.figures[results.metric]
    if value.deviation is None:
        return f"{value.mean:.4f}"
    return f"{value.mean:.4f} +- {value.deviation:.4f} over {value.num_runs} seeds"


def table_csv(results: Results) -> str:
    """Return the table as CSV, with a row for each configuration, best first."""
    keys = varied_keys(results.configurations)
    figures = figure_names(results)
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    columns = [f"{figure}{part}" for figure in figures for part in ("", "_deviation")]
    writer.writerow(
        [*map(csv_cell, keys), "state", "num_steps", "num_finished", "num_trials", "num_parameters", *columns]
    )
    for each in results.configurations:
        spreads = [each.figures.get(figure) for figure in figures]
        pairs = [part for value in spreads for part in ((value.mean, value.deviation) if value else (None, None))]
        counts = (each.state, each.num_steps, each.num_finished, each.num_trials, each.num_parameters)
        writer.writerow([*(_cell(each.settings, key) for key in keys), *counts, *pairs])
    return output.getvalue()


def _cell(settings: Mapping[str, JsonValue], key: str) -> JsonValue:
    """Return a setting's value as JSON, or a text unchanged; it is empty if the configuration leaves it to the base."""
    value = settings.get(key, "")
    return csv_cell(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))

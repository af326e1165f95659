"""Print compared runs: a table on a terminal, tab-separated fields in a pipe, CSV, or a Markdown table."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from pydantic import JsonValue

from charlm.console.columns import NOTHING, column_table, fitting, spread_text
from charlm.console.terminal import console_for, is_live
from charlm.evaluation.spread import Spread
from charlm.reports.comparison import CORPUS, Comparison, short_names
from charlm.reports.rows import Row, value_text
from charlm.reports.run_results import BEST_VAL, CLOZE, TEST, TEST_CLOZE, TRAIN, VAL, VAL_CLOZE
from charlm.runs.csv_cells import csv_cell
from charlm.runs.json_records import Json, as_object

MIN_RANGE = 3
# Longer than the text of any setting.
MAX_CELL = 1 << 20
NAMES = ("run", "seeds", "state", "machine")
FIGURES: dict[str, Callable[[Row], str]] = {
    "best val bpc": lambda row: spread_text(row.bits(BEST_VAL), ".3f"),
    "final val bpc": lambda row: spread_text(row.bits(VAL), ".3f"),
    "final val ppl": lambda row: spread_text(row.perplexity(VAL), ".2f"),
    "test bpc": lambda row: spread_text(row.bits(TEST), ".3f"),
    "test ppl": lambda row: spread_text(row.perplexity(TEST), ".2f"),
    "val cloze": lambda row: spread_text(row.bits(VAL_CLOZE), ".3f"),
    "test cloze": lambda row: spread_text(row.bits(TEST_CLOZE), ".3f"),
    "train nats": lambda row: spread_text(row.nats(TRAIN), ".4f"),
    "train bpc": lambda row: spread_text(row.bits(TRAIN), ".3f"),
    "train ppl": lambda row: spread_text(row.perplexity(TRAIN), ".2f"),
}
CLOZE_TITLES = ("val cloze", "test cloze")
COSTS: dict[str, Callable[[Row], str]] = {
    "chars/s": lambda row: _rate_text(row.chars_per_second()),
    "parameters": lambda row: f"{row.results[0].num_parameters:,}",
    "minutes": lambda row: _minutes_text(row.minutes()),
    "machine": lambda row: "; ".join(row.machines),
}
# The order in which columns are kept on a narrow terminal: these first, then settings, then the others. Training
# results come first only where there is no validation split, and otherwise last.
NEEDED = ("run", "state", "final val bpc", "best val bpc")
TRAINING = ("train ppl", "train bpc", "train nats")
RESULTS = ("test bpc", "minutes")
OTHERS = ("seeds", *CLOZE_TITLES, "final val ppl", "test ppl")
LAST = ("parameters", "chars/s", "machine")


def show_comparison(comparison: Comparison) -> None:
    """Print the rows; a terminal shows the columns that fit, and below them warnings about what is not comparable."""
    if not is_live(sys.stdout):
        columns = _columns(comparison)
        for cells in (tuple(columns), *zip(*columns.values(), strict=True)):
            print("\t".join(cells))
        return
    console = console_for(sys.stdout)
    columns = {
        title: cells
        for title, cells in _shortened(_columns(comparison), comparison).items()
        if title != "state" or set(cells) != {"finished"}
        if set(cells) != {NOTHING}
    }
    order = _by_need(comparison, columns)
    kept = fitting(columns, order, console.width)
    left_out = [title for title in columns if title not in kept]
    if left_out:
        kept = {title: kept[title] for title in order if title in kept}
    console.print(column_table(kept, texts=NAMES))
    if left_out:
        console.print(f"no room for these columns: {', '.join(left_out)}; --csv prints all")
    for warning in comparison.warnings:
        console.print(f"warning: {warning}")


def print_csv(comparison: Comparison) -> None:
    """Print a header and one line of unrounded values for each row."""
    records = [dict(_flattened(row.as_record())) for row in comparison.rows]
    writer = csv.DictWriter(sys.stdout, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: csv_cell(value) for name, value in record.items()} for record in records)


def print_markdown(comparison: Comparison) -> None:
    """Print a Markdown table, and below it warnings about what is not comparable."""
    has_spreads = any(len(row.results) > 1 for row in comparison.rows)
    of = "validation" if any({VAL, BEST_VAL} & row.results[0].figures.keys() for row in comparison.rows) else "training"
    nats = f"{of} nats" + (" (mean ± standard deviation)" if has_spreads else "")
    header = ("configuration", "seeds", nats, "bits per character", "perplexity", "parameters", "minutes", "machine")
    lines = [header, tuple("---" for _ in header), *(_markdown_cells(row, of) for row in comparison.rows)]
    for cells in lines:
        print("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    for warning in comparison.warnings:
        print(f"\nWarning: {warning}.")


def _markdown_cells(row: Row, of: str) -> tuple[str, ...]:
    """Return the final results of a finished run, else its best so far, or training results where it has no others."""
    figure, mark = (VAL, "") if row.state == "finished" else (BEST_VAL, " (best so far)")
    if figure not in row.results[0].figures and TRAIN in row.results[0].figures:
        figure, mark = TRAIN, "" if of == "training" else " (training)"
    nats, bits = spread_text(row.nats(figure), ".4f"), spread_text(row.bits(figure), ".3f")
    return (
        f"`{row.name.replace('`', chr(39))}`" + ("" if row.state == "finished" else f" ({row.state})"),
        _seeds_text(row.seeds),
        nats + (mark if nats != NOTHING else ""),
        bits,
        spread_text(row.perplexity(figure), ".2f"),
        f"{row.results[0].num_parameters:,}",
        _minutes_text(row.minutes()),
        "; ".join(row.machines),
    )


def _columns(comparison: Comparison) -> dict[str, list[str]]:
    """Return the cells of each column by its title; cloze columns appear only where a model has such results."""
    rows = comparison.rows
    columns = {"run": [row.name for row in rows]}
    columns |= {key: [value_text(row.settings[key]) for row in rows] for key in comparison.settings}
    columns |= {"seeds": [_seeds_text(row.seeds) for row in rows], "state": [_state_text(row) for row in rows]}
    columns |= {title: [text(row) for row in rows] for title, text in (FIGURES | COSTS).items()}
    has_cloze = any(figure in result.figures for row in rows for result in row.results for figure in CLOZE)
    return {title: cells for title, cells in columns.items() if has_cloze or title not in CLOZE_TITLES}


def _by_need(comparison: Comparison, titles: Iterable[str]) -> list[str]:
    """Return titles, most needed first: results and their cost, then settings, then the rest."""
    is_trained_only = any(not {VAL, BEST_VAL} & row.results[0].figures.keys() for row in comparison.rows)
    results = (*NEEDED, *(TRAINING if is_trained_only else ()), *RESULTS)
    others = (*OTHERS, *TRAINING, *LAST)
    settings = [title for title in titles if title not in (*results, *others, *CORPUS)]
    return list(dict.fromkeys((*results, *settings, *others, *CORPUS)))


def _shortened(columns: Mapping[str, list[str]], comparison: Comparison) -> dict[str, list[str]]:
    """Return the columns, with short names for settings where no other column has the same name."""
    short = short_names(comparison)
    return {
        short[title] if title in short and short[title] not in columns else title: cells
        for title, cells in columns.items()
    }


def _seeds_text(seeds: Sequence[int]) -> str:
    """Return seeds in ascending order; three or more consecutive ones are written as a range."""
    first, last = seeds[0], seeds[-1]
    if len(seeds) >= MIN_RANGE and last - first == len(seeds) - 1:
        return f"{first} to {last}"
    return ", ".join(map(str, seeds))


def _state_text(row: Row) -> str:
    return row.state if row.state == "finished" else f"{row.state}, step {row.results[0].steps:,}"


def _rate_text(values: Spread | None) -> str:
    return NOTHING if values is None else f"{values.mean:,.0f}"


def _minutes_text(values: Spread | None) -> str:
    if values is None:
        return NOTHING
    return f"{values.mean:,.1f}" if values.mean >= 1 else f"{values.mean:.2g}"


def _flattened(record: Json) -> Iterator[tuple[str, JsonValue]]:
    """Yield the fields of a CSV row: a spread takes two, settings use dotted keys, and lists are joined."""
    figures = [key for key in record if key.endswith(("_nats_per_char", "_bpc", "_perplexity"))]
    spreads = (*figures, "steps", "chars_per_second", "minutes")
    for key, value in record.items():
        if key in spreads:
            yield key, as_object(value).get("mean")
            yield f"{key}_deviation", as_object(value).get("deviation")
        elif key == "settings":
            yield from ((name, _setting_cell(setting)) for name, setting in as_object(value).items())
        else:
            yield key, "; ".join(map(str, value)) if isinstance(value, list) else value


def _setting_cell(value: JsonValue) -> JsonValue:
    """Return a setting as a CSV cell: numbers unchanged, texts in full."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else value_text(value, MAX_CELL)

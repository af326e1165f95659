"""The limits of a comparison of runs: a sentence for each, with the names of the runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from charlm.errors import printable
from charlm.reports.rows import Row
from charlm.reports.run_results import BEST_VAL, TEST, TRAIN, VAL, RunResult
from charlm.runs.choice import MIN_CHOICE_CHARS, is_enough

SHOWN_HASH = 8


def text_caveats(results: Sequence[RunResult]) -> Iterator[str]:
    """Yield a sentence if results in one column are for different texts or for different lengths of one text."""
    for part, figures in (("validation", (BEST_VAL, VAL)), ("test", (TEST,)), ("training", (TRAIN,))):
        texts: dict[str | None, dict[str, None]] = {}
        for result in results:
            for measured in (result.figures[figure] for figure in figures if figure in result.figures):
                texts.setdefault(measured.sha256, {})[result.name] = None
        if len(texts) > 1:
            of = "; ".join(f"{', '.join(names)} on {_text(sha256)}" for sha256, names in texts.items())
            yield f"the {part} results are for different texts and cannot be compared: {of}"
        elif len(texts.get(None, ())) > 1:
            yield f"no record shows whether the {part} results are for the same text: {', '.join(texts[None])}"
    yield from _length_caveats(results)
    yield from _unlike_lengths(results)
    yield from _chance(results)


def row_caveats(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a sentence about each limit of a row's results, and about runs that are not counted."""
    for row in rows:
        names = ", ".join(result.name for result in row.results)
        if row.state != "finished":
            yield f"{names} has not finished ({row.state}, step {row.results[0].steps:,}): {_so_far(row.results[0])}"
        if row.repeats:
            verb, are = ("repeats", "is") if len(row.repeats) == 1 else ("repeat", "are")
            yield (
                f"{', '.join(row.repeats)} {verb} the settings and a seed of {names} and {are} not counted: "
                "a repeat is not an independent measurement"
            )
        if len(row.machines) > 1:
            yield (
                f"{names} ran on different machines ({'; '.join(row.machines)}): the means of their speed and minutes "
                "mix values that cannot be compared"
            )
        if row.results[0].warning:
            yield f"{names}: {row.results[0].warning}"


def _length_caveats(results: Sequence[RunResult]) -> Iterator[str]:
    """Yield a sentence for each text of which some runs' evaluations have read more than other runs' have."""
    lengths: dict[str | None, dict[int | None, list[str]]] = {}
    for result in results:
        if best := result.figures.get(BEST_VAL):
            lengths.setdefault(best.sha256, {}).setdefault(best.num_chars, []).append(result.name)
    for of_text in lengths.values():
        if len(of_text) > 1:
            of = "; ".join(f"{', '.join(names)} on {_count(number)}" for number, names in of_text.items())
            yield f"the best validation results cover more of the text in some runs than in others: {of}"


def _unlike_lengths(results: Sequence[RunResult]) -> Iterator[str]:
    """Yield a sentence if the best and the final results of the same runs cover different lengths of the text."""
    lengths: dict[tuple[int | None, int | None], list[str]] = {}
    for result in results:
        if (best := result.figures.get(BEST_VAL)) and (final := result.figures.get(VAL)):
            lengths.setdefault((best.num_chars, final.num_chars), []).append(result.name)
    for (best, final), names in lengths.items():
        if best is not None and final is not None and best != final:
            yield (
                f"the best validation result of {', '.join(names)} covers the first {_count(best)} and the final one "
                f"all {final:,}: they cannot be compared with each other"
            )


def _chance(results: Sequence[RunResult]) -> Iterator[str]:
    """Yield a sentence for each split that is too short for its results to be compared."""
    for part, figures in (("validation", (BEST_VAL, VAL)), ("test", (TEST,))):
        lengths: dict[int, dict[str, None]] = {}
        for result in results:
            for measured in (result.figures[figure] for figure in figures if figure in result.figures):
                if measured.num_chars is not None and not is_enough(measured.num_chars):
                    lengths.setdefault(measured.num_chars, {})[result.name] = None
        for num_chars, names in lengths.items():
            yield (
                f"the {part} results of {', '.join(names)} cover {_count(num_chars)}, and a comparison needs at least "
                f"{MIN_CHOICE_CHARS}"
            )


def _so_far(result: RunResult) -> str:
    if best := result.figures.get(BEST_VAL):
        return f"its result is the best so far, on {_count(best.num_chars)}"
    return (
        "its training result is for its last complete epoch so far"
        if TRAIN in result.figures
        else "it has no result yet"
    )


def _count(num_chars: int | None) -> str:
    return "an unknown number of characters" if num_chars is None else f"{num_chars:,} predicted characters"


def _text(sha256: str | None) -> str:
    return "a text that was not recorded" if sha256 is None else f"SHA-256 {printable(sha256[:SHOWN_HASH])}"

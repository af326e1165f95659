"""What a comparison of runs does not tell: a sentence for each, with the names of the runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from charlm.errors import printable
from charlm.reports.rows import Row
from charlm.reports.run_results import BEST_VAL, TEST, TRAIN, VAL, RunResult
from charlm.runs.choice import MIN_CHOICE_CHARS, is_enough

SHOWN_HASH = 8


def text_caveats(results: Sequence[RunResult]) -> Iterator[str]:
    """Yield a sentence where figures that would stand in one column are of different texts, or lengths of one."""
    for part, figures in (("validation", (BEST_VAL, VAL)), ("test", (TEST,)), ("training", (TRAIN,))):
        texts: dict[str | None, dict[str, None]] = {}
        for result in results:
            for measured in (result.figures[figure] for figure in figures if figure in result.figures):
                texts.setdefault(measured.sha256, {})[result.name] = None
        if len(texts) > 1:
            of = "; ".join(f"{', '.join(names)} of {_text(sha256)}" for sha256, names in texts.items())
            yield f"the {part} figures are of different texts and do not compare: {of}"
        elif len(texts.get(None, ())) > 1:
            yield f"nothing tells whether the {part} figures are of the same text: {', '.join(texts[None])}"
    yield from _length_caveats(results)
    yield from _unlike_lengths(results)
    yield from _chance(results)


def row_caveats(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a sentence on each thing that the runs of a row do not tell, or that is not counted."""
    for row in rows:
        names = ", ".join(result.name for result in row.results)
        if row.state != "finished":
            yield f"{names} has not finished ({row.state}, step {row.results[0].steps:,}): {_so_far(row.results[0])}"
        if row.repeats:
            verb = "repeats" if len(row.repeats) == 1 else "repeat"
            yield (
                f"{', '.join(row.repeats)} {verb} the settings and a seed of {names}: no independent measurement, and "
                "not counted"
            )
        if len(row.machines) > 1:
            yield (
                f"{names} ran on unlike machines ({'; '.join(row.machines)}): the means of their speed and minutes are "
                "of unlike values"
            )
        if row.results[0].warning:
            yield f"{names}: {row.results[0].warning}"


def _length_caveats(results: Sequence[RunResult]) -> Iterator[str]:
    """Yield a sentence for each text of which evaluations during training have read more in one run than in another."""
    lengths: dict[str | None, dict[int | None, list[str]]] = {}
    for result in results:
        if best := result.figures.get(BEST_VAL):
            lengths.setdefault(best.sha256, {}).setdefault(best.num_chars, []).append(result.name)
    for of_text in lengths.values():
        if len(of_text) > 1:
            of = "; ".join(f"{', '.join(names)} of {_count(number)}" for number, names in of_text.items())
            yield f"the best validation figures are of more of the text in some runs than in others: {of}"


def _unlike_lengths(results: Sequence[RunResult]) -> Iterator[str]:
    """Yield a sentence where the best and the final figure of the same runs are of different lengths of the text."""
    lengths: dict[tuple[int | None, int | None], list[str]] = {}
    for result in results:
        if (best := result.figures.get(BEST_VAL)) and (final := result.figures.get(VAL)):
            lengths.setdefault((best.num_chars, final.num_chars), []).append(result.name)
    for (best, final), names in lengths.items():
        if best is not None and final is not None and best != final:
            yield (
                f"the best validation figure of {', '.join(names)} is of the first {_count(best)}, the final one of "
                f"all {final:,}: they do not compare with each other"
            )


def _chance(results: Sequence[RunResult]) -> Iterator[str]:
    """Yield a sentence for each part that is too short for its figures to be compared."""
    for part, figures in (("validation", (BEST_VAL, VAL)), ("test", (TEST,))):
        lengths: dict[int, dict[str, None]] = {}
        for result in results:
            for measured in (result.figures[figure] for figure in figures if figure in result.figures):
                if measured.num_chars is not None and not is_enough(measured.num_chars):
                    lengths.setdefault(measured.num_chars, {})[result.name] = None
        for num_chars, names in lengths.items():
            yield (
                f"the {part} figures of {', '.join(names)} are of {_count(num_chars)}, too few to compare by "
                f"({MIN_CHOICE_CHARS})"
            )


def _so_far(result: RunResult) -> str:
    if best := result.figures.get(BEST_VAL):
        return f"its figure is the best so far, of {_count(best.num_chars)}"
    return (
        "its training figure is of its last whole epoch so far" if TRAIN in result.figures else "it has no figure yet"
    )


def _count(num_chars: int | None) -> str:
    return "an untold number of characters" if num_chars is None else f"{num_chars:,} predicted characters"


def _text(sha256: str | None) -> str:
    return "a text that was not recorded" if sha256 is None else f"SHA-256 {printable(sha256[:SHOWN_HASH])}"

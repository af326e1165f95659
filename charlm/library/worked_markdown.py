"""Write a worked step as Markdown: a section for a page of the guide, which fits a terminal of 80 columns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from charlm.errors import printable
from charlm.insight.worked_records import WorkedLine, WorkedPart, WorkedStep

WIDTH = 76
MAX_NAME = 200
# Smaller numbers are written with an exponent.
SMALLEST = 1e-3
_MARKS = re.compile(r"([\\`*_\[\]<>#|~])")


def worked_markdown(step: WorkedStep) -> str:
    """Return a worked step as a section of Markdown, which ends with a newline."""
    name = _MARKS.sub(r"\\\1", printable(step.run, MAX_NAME))
    blocks = [
        f"## In the network of {name}",
        _introduction(step),
        _fenced(_passage_rows(step)),
        *step.notes,
    ]
    told: set[tuple[int | None, int | None]] = {(None, None)}
    for part in step.parts:
        blocks += _part(part, has_unit=(part.layer, part.unit) not in told)
        told.add((part.layer, part.unit))
    blocks.append(
        "Numbers have four decimals here, or an exponent where they are small, so recomputing them may change the last "
        "digit; `--json` has all digits."
    )
    return "\n\n".join(blocks) + "\n"


def number(value: float) -> str:
    """Return a number as it is printed: four decimals, an exponent where these would say nothing, counts as they are.

    Example:
        >>> number(-0.25), number(3.1e-7), number(12)
        ('-0.2500', '3.100e-07', '12')
    """
    if isinstance(value, int):
        return f"{value:,}"
    if 0.0 < abs(value) < SMALLEST:
        return f"{value:.3e}"
    return f"{value + 0.0:.4f}"


def arithmetic(line: WorkedLine) -> str:
    """Return a line's formula with its numbers put in; empty if there are none.

    Example:
        >>> from charlm.insight.worked_records import Term
        >>> arithmetic(WorkedLine("c'", "f * c + i * g", 0.1, (Term("f", 0.5), Term("c", 0.4), Term("i", 1.0),
        ...     Term("g", -0.1))))
        '0.5000 * 0.4000 + 1.0000 * (-0.1000)'
    """
    if not line.terms:
        return ""
    values = {term.symbol: number(term.value) for term in line.terms}
    longest_first = "|".join(re.escape(symbol) for symbol in sorted(values, key=len, reverse=True))
    found = re.sub(rf"(?<![\w'])(?:{longest_first})(?![\w'])", lambda each: _signed(values[each[0]]), line.formula)
    # Plus a negative number is minus, minus one is plus, and a number that stands first in brackets needs no others.
    found = re.sub(r"([+-]) \(-([\d.e+-]+)\)", lambda each: f"{'-+'[each[1] == '-']} {each[2]}", found)
    return re.sub(r"(^|\()\((-[\d.e+-]+)\)(?!\^)", r"\1\2", found)


def _signed(value: str) -> str:
    return f"({value})" if value.startswith("-") else value


def _introduction(step: WorkedStep) -> str:
    text = f"The numbers are those of the checkpoint of step {step.step:,} ({step.network}). The network reads "
    return f"{text}{step.passage.source}:"


def _passage_rows(step: WorkedStep) -> list[str]:
    passage = step.passage
    rows = [f"context  {passage.context!r}"] if passage.context else []
    return [*rows, f"{'then' if rows else 'text':<7}  {passage.shown!r}"]


def _part(part: WorkedPart, *, has_unit: bool) -> Iterator[str]:
    """Yield the blocks of a part.

    Args:
        has_unit: whether to name the chosen unit.
    """
    yield f"### {part.title}"
    chosen = f" The numbers are those of unit {part.unit} of layer {part.layer}." if has_unit else ""
    yield f"{part.text}{chosen}"
    if part.lines:
        longest = max(len(line.symbol) for line in part.lines)
        yield _fenced([row for line in part.lines for row in _rows(line, longest)])


def _fenced(rows: Sequence[str]) -> str:
    return "\n".join(("```text", *rows, "```"))


def _rows(line: WorkedLine, longest: int) -> Iterator[str]:
    """Yield a line: its symbol, then as many of formula, numbers, result and remark as fit into each row."""
    pieces = [f"= {piece}" for piece in (line.formula, arithmetic(line), number(line.value)) if piece]
    norm = "" if line.norm is None else f"norm {number(line.norm)}"
    remark = ", ".join(filter(None, (line.meaning, norm)))
    row = line.symbol.ljust(longest)
    for piece in (*pieces, *([f"  {remark}"] if remark else [])):
        for wrapped in _wrapped(piece, WIDTH - longest - 1):
            if len(row) + 1 + len(wrapped) > WIDTH:
                yield row.rstrip()
                row = " " * longest
            row = f"{row} {wrapped}"
    yield row


def _wrapped(piece: str, width: int) -> Iterator[str]:
    """Yield a piece, in several rows where it is a sum that is too long."""
    while len(piece) > width and (cut := max(piece.rfind(sign, 3, width) for sign in (" + ", " - "))) > 0:
        yield piece[:cut]
        piece = f"  {piece[cut + 1 :]}"
    yield piece

"""Print corpora: tables and a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column, Table
from rich.text import Text

from charlm.console.terminal import console_for, is_live
from charlm.text.known import CorpusEntry, StandardSplit
from charlm.text.statistics import TextStatistics

SECONDS_BETWEEN_LINES = 10.0
MILLION = 1_000_000


def show_corpora(entries: Sequence[CorpusEntry]) -> None:
    """Print one row for each corpus: name, bytes, description, standard split, whether it is here, source."""
    header = ("name", "bytes", "text", "split", "here", "source")
    rows = [
        (
            entry.name,
            f"{entry.num_bytes:,}",
            entry.description,
            _split_text(entry.split),
            "yes" if entry.is_here else "no",
            entry.source,
        )
        for entry in entries
    ]
    if not is_live(sys.stdout):
        _print_lines([header, *rows])
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in header:
        table.add_column(title, justify="right" if title == "bytes" else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    console_for(sys.stdout).print(table)


def show_statistics(
    statistics: TextStatistics, *, path: Path, sha256: str, encoding: str, split: StandardSplit | None
) -> None:
    """Print facts about a text, one per line; `split` is None where the text has no standard split."""
    endings = statistics.line_endings
    rows = [
        ("file", str(path)),
        ("sha256", sha256),
        ("encoding", encoding),
        ("standard split", _split_text(split) if split is not None else "none known"),
        ("characters", f"{statistics.num_chars:,}"),
        ("bytes in UTF-8", f"{statistics.num_bytes:,}"),
        ("symbols", f"{statistics.num_symbols:,}"),
        ("rarest symbols", ", ".join(f"{_named(char)} {count:,}" for char, count in statistics.rarest)),
        ("line endings", f"{endings.lf:,} LF, {endings.crlf:,} CRLF, {endings.cr:,} CR"),
        ("unigram entropy", f"{statistics.unigram_bits_per_char:.3f} bits per character"),
        ("bigram entropy", f"{statistics.bigram_bits_per_char:.3f} bits per character"),
        ("bzip2 -9", f"{statistics.bzip2_bits_per_char:.3f} bits per character"),
    ]
    if not is_live(sys.stdout):
        _print_lines(rows)
        return
    table = Table.grid("", Column(overflow="fold"), padding=(0, 2))
    for title, fact in rows:
        table.add_row(Text(title, style="bold"), Text(fact))
    console_for(sys.stdout).print(table)


@contextmanager
def download_progress(name: str) -> Generator[Callable[[int, int | None], None]]:
    """Yield a callback that shows the progress of a download on standard error.

    The callback takes the number of bytes done and the total, which is None while it is unknown.
    """
    if not is_live(sys.stderr):
        yield _line_report(name)
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console_for(sys.stderr), transient=True) as progress:

        def report(done: int, total: int | None) -> None:
            # The bar appears with the first byte: nothing is drawn for a corpus that is already here.
            if not progress.task_ids:
                progress.add_task(name, completed=done, total=total)
            progress.update(progress.task_ids[0], completed=done, total=total)

        yield report


def _line_report(name: str) -> Callable[[int, int | None], None]:
    next_line = time.monotonic()

    def report(done: int, total: int | None) -> None:
        nonlocal next_line
        if time.monotonic() >= next_line:
            next_line = time.monotonic() + SECONDS_BETWEEN_LINES
            goal = "" if total is None else f" of {total:,}"
            print(f"{name}: {done:,}{goal} bytes", file=sys.stderr, flush=True)

    return report


def _print_lines(rows: Sequence[tuple[str, ...]]) -> None:
    for row in rows:
        print("\t".join(row))


def _split_text(split: StandardSplit) -> str:
    if isinstance(split, str):
        return split
    whole_millions = all(size % MILLION == 0 for size in split)
    return "/".join(f"{size // MILLION}M" if whole_millions else f"{size:,}" for size in split)


def _named(char: str) -> str:
    return f"{char!r} (U+{ord(char):04X})"

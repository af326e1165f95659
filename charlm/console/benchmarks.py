"""Print benchmarks: the machine and sizes, then one table for each kind of comparison, at most 80 columns wide."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from charlm.benchmarks.findings import Findings, Measurement
from charlm.benchmarks.machine import Load
from charlm.benchmarks.timing import MedianRange, median_range
from charlm.console.terminal import console_for, is_live

# The leading columns hold words and are aligned left; the others hold numbers and are aligned right.
NUM_WORDS = 2
BYTES_A_MIB = 2**20


@contextmanager
def benchmark_progress() -> Generator[Callable[[int, int, str], None]]:
    """Show a bar on standard error; yield a callback that takes (number done, total, name of the next measurement)."""
    columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
    console = console_for(sys.stderr)
    # Drawn between measurements only: a thread that redraws would take time from them.
    with Progress(
        *columns, console=console, disable=not is_live(sys.stderr), transient=True, auto_refresh=False
    ) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total, name: progress.update(
            task, completed=done, total=total, description=name, refresh=True
        )


def show_findings(findings: Findings) -> None:
    """Print the machine, the sizes and all comparisons."""
    console = console_for(sys.stdout)
    for line in header_lines(findings):
        console.print(line)
    kinds = dict.fromkeys((each.what, each.baseline) for each in findings.comparisons)
    for kind in kinds:
        _show_table(console, [each for each in findings.comparisons if (each.what, each.baseline) == kind])


def header_lines(findings: Findings) -> list[str]:
    """Return lines that describe the machine, what else it did, the sizes and the rounds of the measurements."""
    machine, sizes = findings.machine, findings.sizes
    index, is_gpu = int(machine["device"].partition(":")[2] or 0), machine["device"].startswith("cuda")
    processor = machine["gpus"][index] if is_gpu else machine["cpu_capability"]
    threads = f"{machine['threads']} thread{'' if machine['threads'] == 1 else 's'}"
    # The baselines may be in another one.
    precision = "float32" if findings.precision == "float32" else f"ours in {findings.precision}"
    lines = [
        *([] if is_gpu else [str(findings.processor)]),
        f"{processor}, torch {machine['versions']['torch']}, {threads}, {precision}",
        *_load_lines(findings.load),
        f"hidden_size {sizes.hidden_size}, num_layers {sizes.num_layers}, batch_size {sizes.batch_size}, "
        f"seq_len {sizes.seq_len}, vocab_size {sizes.vocab_size}",
    ]
    if findings.sgemms:
        rates = ", ".join(f"{each.cell} {median_range(each.gflops).median:,.0f}" for each in findings.sgemms)
        lines.append(f"sgemm (T*B, H) x (H, gates*H), GFLOP/s: {rates}")
    if findings.not_autocast:
        lines.append(f"torch's autocast in bfloat16 does not run here: {', '.join(findings.not_autocast)}")
    return [*lines, f"rounds, measured in turn: {findings.rounds}; medians (lowest to highest)"]


def _load_lines(load: Load) -> list[str]:
    """Return lines that say whether the machine did nothing else."""
    average = "" if load.load_average is None else f"load average before: {load.load_average:.2f}; "
    if load.others_fraction is None:
        return [f"{average}not known how much other processes used"]
    used = f"other processes used {load.others_fraction:.1%} of {load.cores} core{'' if load.cores == 1 else 's'}"
    if load.is_quiet:
        return [f"{average}{used}: quiet"]
    return [f"{average}{used}: not quiet", "close other programs and measure again before you rely on these results"]


def _show_table(console: Console, rows: Sequence[Measurement]) -> None:
    """Print comparisons of one kind."""
    title, *figures = _titles(rows[0])
    table = [["cell", "implementation", *figures], *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    console.print(f"\n{title}", style="bold" if is_live(sys.stdout) else None)
    for cells in table:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)][:NUM_WORDS]
        padded += [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)][NUM_WORDS:]
        console.print("  ".join(padded))


def _cells(row: Measurement) -> list[str]:
    ratio = row.ratio
    return [
        row.cell,
        row.implementation,
        _shown(row, median_range(row.theirs)),
        _shown(row, median_range(row.ours)),
        f"{ratio.median:.2f}" + (f" ({ratio.low:.2f} to {ratio.high:.2f})" if len(row.ours) > 1 else ""),
        *([] if row.sgemm_fraction is None else [f"{row.sgemm_fraction.median:.2f}"]),
    ]


def _titles(row: Measurement) -> list[str]:
    """Return the title of a table and the titles of its columns of numbers."""
    theirs = "autocast" if row.baseline == "autocast" else "classic"
    if row.what == "layer":
        return ["layer step, ms: forward pass, loss, all gradients", theirs, "ours", "times as fast", "of sgemm"]
    if row.what == "step":
        return ["whole training step, ms", theirs, "ours", "times as fast"]
    if row.what == "memory":
        return ["memory, MiB: added to the peak by training steps", theirs, "ours", "times as much"]
    if row.baseline == "one_by_one":
        return [f"generation of {row.num_texts} texts, characters/s", "one by one", "at once", "times as fast"]
    return ["generation of one text, characters/s", "classic", "ours", "times as fast"]


def _shown(row: Measurement, values: MedianRange) -> str:
    if row.unit == "chars_per_second":
        return f"{values.median:,.0f}"
    return f"{values.median / BYTES_A_MIB:.1f}" if row.unit == "bytes" else f"{values.median:.2f}"

"""Benchmarks as lines."""

from __future__ import annotations

import sys
from statistics import median

from charlm.benchmarks.speed import Comparison
from charlm.console.terminal import console_for


def show_comparison(comparison: Comparison) -> None:
    """Print one cell's speeds and their ratio with its spread."""
    low, high = comparison.ratio_range
    console_for(sys.stdout).print(
        f"{comparison.cell:<5} classic {median(comparison.classic):>10,.0f}  charlm {median(comparison.ours):>10,.0f} "
        f"characters/s  ratio {comparison.ratio:.2f} ({low:.2f} to {high:.2f})"
    )

"""Made-up results of runs, for tests of what is done with results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from charlm.reports.run_results import RunResult


def made_result(name: str, seed: int = 0, /, **changes: Any) -> RunResult:
    """Return a result of a finished run; settings are written `model__dropout`, and other names are fields."""
    settings = {"model.cell": "lstm", "train.seed": seed, "model.direction": "forward"}
    settings |= {key.replace("__", "."): changes.pop(key) for key in list(changes) if "__" in key}
    result = RunResult(
        name=name,
        seed=seed,
        settings=settings,
        state="finished",
        steps=10,
        figures={},
        num_parameters=10,
        chars_per_second=100.0,
        minutes=1.0,
        machine="2 cores",
        corpus_sha256="c" * 64,
        val_sha256="v" * 64,
        test_sha256="t" * 64,
        is_leaky=False,
    )
    return replace(result, **changes)

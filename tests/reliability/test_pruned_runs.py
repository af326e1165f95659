"""A run whose checkpoints were thinned out is resumed to the last bit, and trained for longer."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

import charlm
from charlm.runs.checkpoints import load_checkpoint
from charlm.runs.run import Run


@pytest.mark.parametrize("seed", [0, 1])
def test_a_cut_and_pruned_run_is_the_uncut_run(laboratory: Any, seed: int) -> None:
    whole = laboratory.trace(laboratory.whole())
    folder, settings = laboratory.folder(), laboratory.whole().settings()
    run, num_removed = Run(folder / "run"), 0
    for cut in laboratory.cuts(Random(seed), 6, 13):
        laboratory.session(folder, settings, cut=cut)
        best = load_checkpoint(run, "best").step
        num_removed += sum(len(thinning.removed) for thinning in charlm.prune_runs(run).thinnings)
        assert load_checkpoint(run, "best").step == best
    laboratory.session(folder, None)
    resumed = laboratory.trace(run)
    assert (resumed.metrics, resumed.samples) == (whole.metrics, whole.samples)
    assert num_removed > 1
    # A cut that was no kill has saved a checkpoint of its own.
    assert {12, 16} <= resumed.checkpoints.keys()
    for step in resumed.checkpoints.keys() & whole.checkpoints.keys():
        assert resumed.checkpoints[step] == whole.checkpoints[step]


def test_a_finished_and_pruned_run_is_trained_for_longer_as_if_nothing_had_gone(laboratory: Any) -> None:
    longer = ("train.max_steps=24",)
    traces = []
    for is_pruned in (False, True):
        folder = laboratory.folder()
        laboratory.session(folder, laboratory.whole().settings())
        if is_pruned:
            assert charlm.prune_runs(Run(folder / "run")).thinnings
        laboratory.session(folder, None, overrides=longer)
        traces.append(laboratory.trace(Run(folder / "run")))
    kept, pruned = traces
    assert (pruned.metrics, pruned.samples) == (kept.metrics, kept.samples)
    assert all(files == kept.checkpoints[step] for step, files in pruned.checkpoints.items())


@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_diverging_run_returns_to_where_it_would_have(laboratory: Any, keep: Any) -> None:
    """Checkpoints that the clock saves must decide nothing: the last evaluated one stays, whatever else goes."""
    clocked = ("train.on_divergence=rollback", "checkpoint.minutes=1e-9")
    folder, settings = laboratory.folder(), laboratory.make(*laboratory.seven_windows, "train.eval_every=4", *clocked)
    (cut,) = laboratory.cuts(Random(0), 6)
    laboratory.session(folder, settings, cut=cut)
    run = Run(folder / "run")
    charlm.prune_runs(run, keep=keep)
    assert run.checkpoints_folder / "step-00000004" in run.checkpoint_paths()

"""A run that started from another is resumed like any run, to the last bit, and without the other."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from charlm.errors import RunError
from charlm.runs.run import Run
from charlm.training import launch


@pytest.fixture
def parent(trained: Run, tmp_path: Path) -> Run:
    """Return a copy of the trained run that a test may delete."""
    shutil.copytree(trained.path, tmp_path / "parent")
    return Run(tmp_path / "parent")


@pytest.fixture
def start(parent: Run, tmp_path: Path, corpus_text: str) -> list[str]:
    """Return the overrides of a run that starts from it, with a text that has one more character."""
    path = tmp_path / "new.txt"
    path.write_text(corpus_text.replace("moon", "m\xf6n"), encoding="utf-8")
    return [f"start.run='{parent.path}'", "start.new_characters=extend", f"corpus.path='{path}'"]


@pytest.mark.parametrize("more", [["optimizer.average.method=ema"], ["model.zoneout=0.3", "model.zoneout_cells=0.1"]])
def test_a_cut_run_is_the_uncut_run_although_its_parent_is_gone(
    laboratory: Any, parent: Run, start: list[str], more: Sequence[str]
) -> None:
    whole = laboratory.trace(laboratory.whole(*start, *more))
    cuts = laboratory.cuts(Random(0), 5, 9)
    folder, settings = laboratory.folder(), laboratory.whole(*start, *more).settings()
    laboratory.session(folder, settings, cut=cuts[0])
    shutil.rmtree(parent.path)
    # Resumed with and without the settings, in which the parent is named by the path that is no longer there.
    laboratory.session(folder, settings, cut=cuts[1])
    laboratory.session(folder, None)
    cut = Run(folder / "run")
    assert laboratory.trace(cut).difference(whole) is None
    assert cut.summary().parent_val == laboratory.whole(*start, *more).summary().parent_val


def test_a_run_without_a_checkpoint_needs_its_parent(
    laboratory: Any, parent: Run, start: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    folder, settings = laboratory.folder(), laboratory.make(*start)
    with monkeypatch.context() as patch:
        patch.setattr(launch, "run_training", die)
        with pytest.raises(KeyboardInterrupt):
            laboratory.session(folder, settings)
    assert Run(folder / "run").checkpoint_paths() == []
    shutil.move(parent.path, parent.path.with_name("elsewhere"))
    with pytest.raises(RunError, match=r"there is no run .*parent, whose checkpoint"):
        laboratory.session(folder, None)
    shutil.move(parent.path.with_name("elsewhere"), parent.path)
    laboratory.session(folder, None)
    assert laboratory.trace(Run(folder / "run")).difference(laboratory.trace(uncut(laboratory, start))) is None


def uncut(laboratory: Any, start: list[str]) -> Run:
    """Return the same run, trained at once."""
    folder = laboratory.folder()
    laboratory.session(folder, laboratory.make(*start))
    return Run(folder / "run")

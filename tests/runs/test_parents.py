"""The checkpoint to start from is found by every name that a run has, and refused in one sentence."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from charlm.errors import RunError
from charlm.library.training import train
from charlm.runs.checkpoints import load_checkpoint
from charlm.runs.parents import full_path, is_same_start, open_parent
from charlm.runs.run import Run
from charlm.settings.schema import Settings
from charlm.training.events import Evaluation
from charlm.training.launch import train_reports


@pytest.fixture
def copied(trained: Run, tmp_path: Path) -> Run:
    """Return a copy of the trained run in a runs folder of its own."""
    shutil.copytree(trained.path, tmp_path / "runs" / "a")
    return Run(tmp_path / "runs" / "a")


def test_a_run_is_found_by_name_path_and_checkpoint(copied: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = copied.path.parent
    monkeypatch.chdir(runs.parent)
    best = load_checkpoint(copied, "best")
    path = copied.checkpoints_folder / f"step-{best.step:08d}"
    for name in ("a", "runs/a", str(copied.path), "newest", str(path)):
        parent = open_parent(name, folder=Path("runs"))
        assert (parent.path, parent.checkpoint.step, parent.notice) == (path, best.step, None)
        assert Path(full_path(name, folder=Path("runs"))) in (copied.path, path)
        assert is_same_start(name, str(path)) or name == "newest"
    last = copied.checkpoint_paths()[0]
    assert open_parent(str(last), folder=runs).path == last, "a checkpoint that is named need not be the best"
    assert not is_same_start("b", str(path))


def test_an_unfinished_run_gives_its_best_so_far_with_a_notice(
    tiny_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    for report in train_reports(tiny_settings("train.max_steps=60"), name="cut", runs_dir=tmp_path):
        if isinstance(report, Evaluation):
            break
    notice = open_parent("cut", folder=tmp_path).notice
    assert notice == "the run cut is not finished: training starts from its best checkpoint so far, step 6"


def test_what_cannot_be_started_from_is_refused_in_one_sentence(
    copied: Run, tiny_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    runs = copied.path.parent
    train(tiny_settings("model.direction=leaky", "train.max_steps=1", "eval.baselines=false"), name="l", runs_dir=runs)
    (runs / "s" / "trial").mkdir(parents=True)
    for file in ("s/sweep.yaml", "s/trial/config.yaml"):
        (runs / file).touch()
    shutil.copytree(copied.path, runs / "empty", ignore=shutil.ignore_patterns("step-*"))
    shutil.copytree(copied.path, runs / "damaged")
    for path in Run(runs / "damaged").checkpoint_paths():
        (path / "model.safetensors").write_bytes(b"")
    missing = copied.checkpoints_folder / "step-00000099"
    for name, sentence in {
        "b": "there is no run b in .*; the newest there: ",
        "l": "reads its own target and is not a language model",
        "s": "s is a sweep and not a run: name one of its runs, such as .*s/trial",
        "empty": "has no checkpoint yet",
        "damaged": "has no undamaged checkpoint",
        str(missing): "there is no checkpoint .*; the run a has step-",
        str(tmp_path / "gone" / "checkpoints" / "step-00000001"): "there is no run .*gone, whose checkpoint",
    }.items():
        with pytest.raises(RunError, match=sentence) as refused:
            open_parent(name, folder=runs)
        assert "\n" not in str(refused.value)

"""Pruning takes only what no command needs: the best checkpoint stays the best, and every run can be resumed."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import charlm
from charlm.errors import CharlmWarning, ConfigError, RunError, RunInUseError
from charlm.library.training import train
from charlm.runs.checkpoints import load_checkpoint, step_of
from charlm.runs.ownership import take_ownership
from charlm.runs.pruning import plan_pruning, prune, read_duration
from charlm.runs.run import Run
from charlm.settings.schema import Settings
from charlm.training.events import Evaluation
from charlm.training.verification import verify_run

# With frozen weights the first evaluation stays the best.
FROZEN = "optimizer.learning_rate=1e-30"
MANY = ("train.max_steps=14", "train.eval_every=4", "checkpoint.keep_last=100", "eval.baselines=false")
SWEEP = "base: base.yaml\nname: cells\nspace:\n  model.cell: [rnn, gru]\n"


@pytest.fixture(scope="module")
def many(tiny_settings: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run with checkpoints of the steps 0, 4, 8, 12 and 14, of which 4 is the best; nobody may change it."""
    return train(tiny_settings(*MANY, FROZEN), name="many", runs_dir=tmp_path_factory.mktemp("many"))


@pytest.fixture
def run(many: Run, tmp_path: Path) -> Run:
    """Return a copy of it in a folder of its own."""
    return Run(shutil.copytree(many.path, tmp_path / "runs" / "a"))


def steps(run: Run) -> list[int]:
    """Return the steps of a run's checkpoints."""
    return [step_of(path) for path in run.checkpoint_paths()]


def checkpoint(run: Run, step: int) -> Path:
    """Return the folder of a checkpoint."""
    return run.checkpoints_folder / f"step-{step:08d}"


def flip_last_bit(path: Path) -> None:
    """Change the last bit of a file."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def set_age(run: Run, seconds: float) -> None:
    """Have a run been written last so long ago."""
    for path in (*run.path.rglob("*"), run.path):
        os.utime(path, (time.time() - seconds,) * 2)


def test_the_best_the_last_and_the_last_evaluated_stay(run: Run) -> None:
    best, last = (load_checkpoint(run, choice).step for choice in ("best", "last"))
    assert (steps(run), best, last) == ([0, 4, 8, 12, 14], 4, 14)
    (thinning,) = charlm.prune_runs(run).thinnings
    assert [step_of(path) for path in thinning.removed] == [0, 8]
    assert {step_of(path): list(why) for path, why in thinning.kept.items()} == {
        4: ["best"],
        12: ["evaluated"],
        14: ["last"],
    }
    assert steps(run) == [4, 12, 14]
    assert [load_checkpoint(run, choice).step for choice in ("best", "last")] == [best, last]
    assert all(verdict.damage is None for verdict in verify_run(run))
    assert charlm.prune_runs(run).thinnings == ()


def test_the_best_can_be_given_up(run: Run) -> None:
    (thinning,) = charlm.prune_runs(run, keep="last").thinnings
    assert [step_of(path) for path in thinning.removed] == [0, 4, 8]
    assert load_checkpoint(run, "last").step == 14


def test_the_sizes_are_those_of_the_files_and_nothing_else_changes(run: Run) -> None:
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    (planned,) = charlm.prune_runs(run, dry_run=True).thinnings
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    (done,) = charlm.prune_runs(run).thinnings
    assert done == planned
    after = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file() and path.name != ".lock"}
    gone = before.keys() - after.keys() - {run.path / ".lock"}
    assert planned.num_bytes == sum(len(before[path]) for path in gone)
    assert all(path.parent in planned.removed for path in gone)
    assert all(before[path] == content for path, content in after.items())


@pytest.mark.parametrize(
    ("damaged", "name", "kept", "best"),
    [
        # Whoever loads the best passes a damaged one over, and takes the next one.
        ([4], "model.safetensors", [4, 8, 12, 14], 8),
        ([4], "training.safetensors", [4, 8, 12, 14], 8),
        ([4], "vocabulary.json", [4, 8, 12, 14], 8),
        ([4], "state.json", [4, 8, 12, 14], 8),
        ([8], "state.json", [4, 8, 12, 14], 4),
        ([8], "model.safetensors", [4, 12, 14], 4),
        ([14], "model.safetensors", [4, 12, 14], 4),
        ([14], "manifest.json", [4, 12, 14], 4),
        ([4, 8, 12], "config.yaml", [0, 4, 8, 12, 14], 14),
        ([0, 4, 8, 12, 14], "model.safetensors", [0, 4, 8, 12, 14], None),
        ([0, 4, 8, 12, 14], "state.json", [0, 4, 8, 12, 14], None),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_damage_costs_no_good_checkpoint(
    run: Run, damaged: Sequence[int], name: str, kept: Sequence[int], best: int | None
) -> None:
    for step in damaged:
        flip_last_bit(checkpoint(run, step) / name)
    charlm.prune_runs(run)
    assert steps(run) == kept
    if best is None:
        with pytest.raises(RunError):
            load_checkpoint(run, "best")
    else:
        assert load_checkpoint(run, "best").step == best
        assert load_checkpoint(run, "last").step == (12 if 14 in damaged else 14)


def test_a_checkpoint_of_a_newer_charlm_stays(run: Run) -> None:
    path = checkpoint(run, 8) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), "format": 99}), encoding="utf-8")
    (thinning,) = charlm.prune_runs(run).thinnings
    assert steps(run) == [4, 8, 12, 14]
    assert thinning.kept[checkpoint(run, 8)] == ["unreadable"]


def test_a_checkpoint_with_a_file_that_is_not_charlms_stays(run: Run) -> None:
    (checkpoint(run, 8) / "model.onnx").write_text("mine", encoding="utf-8")
    (checkpoint(run, 0) / "link").symlink_to(run.path)
    charlm.prune_runs(run)
    assert steps(run) == [0, 4, 8, 12, 14]


def test_what_a_killed_save_was_replacing_goes(run: Run) -> None:
    former = checkpoint(run, 4).with_name("step-00000004.old")
    shutil.copytree(checkpoint(run, 4), former)
    charlm.prune_runs(run)
    assert not former.exists()
    assert load_checkpoint(run, "best").step == 4
    # Where the newer one is damaged, it is the former that counts.
    shutil.copytree(checkpoint(run, 4), former)
    flip_last_bit(checkpoint(run, 4) / "model.safetensors")
    charlm.prune_runs(run)
    assert steps(run) == [4, 4, 12, 14]
    assert load_checkpoint(run, "best").step == 4


def test_a_run_without_validation_keeps_the_last(tiny_settings: Callable[..., Settings], tmp_path: Path) -> None:
    run = train(tiny_settings(*MANY, "corpus.split=none"), name="a", runs_dir=tmp_path)
    assert load_checkpoint(run, "best").step == 14
    charlm.prune_runs(run)
    assert steps(run) == [12, 14]
    assert load_checkpoint(run, "best").step == 14


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_checkpoint_that_another_run_started_from_stays(
    run: Run, tiny_settings: Callable[..., Settings], keep: str
) -> None:
    runs, settings = run.path.parent, tiny_settings(f"start.run='{checkpoint(run, 8)}'", "train.max_steps=2")
    heir = train(settings, name="heir", runs_dir=runs)
    for path in heir.checkpoint_paths():
        shutil.rmtree(path)
    charlm.prune_runs(runs_dir=runs, keep=keep)
    assert 8 in steps(run)
    # It can begin anew, as it has no checkpoint of its own.
    *_, end = charlm.train_reports(None, name="heir", runs_dir=runs, resume=True)
    assert end.record["steps"] == 2  # pyright: ignore[reportAttributeAccessIssue]


def test_what_killed_writers_have_left_goes_too(run: Run) -> None:
    charlm.prune_runs(run)
    draft = run.checkpoints_folder / ".tmp-step-00000008-12-0123abcd"
    shutil.copytree(checkpoint(run, 4), draft)
    (run.checkpoints_folder / "notes.md").write_text("mine", encoding="utf-8")
    (thinning,) = charlm.prune_runs(run).thinnings
    assert (thinning.removed, thinning.leftovers) == ((), (draft,))
    assert thinning.num_bytes == sum(path.stat().st_size for path in checkpoint(run, 4).iterdir())
    assert sorted(path.name for path in run.checkpoints_folder.iterdir() if path.name[:5] != "step-") == ["notes.md"]


# Which runs.


@pytest.mark.usefixtures("_in_threads")
def test_without_a_name_all_runs_and_trials_are_thinned_out(
    run: Run, write_sweep: Callable[..., Path], tmp_path: Path
) -> None:
    runs = run.path.parent
    shutil.copytree(run.path, runs / "b")
    *_, end = charlm.sweep_reports(write_sweep(SWEEP, *MANY), jobs=1, runs_dir=runs)
    results = (end.folder / "results.json").read_bytes()  # pyright: ignore[reportAttributeAccessIssue]
    (runs / "zlink").symlink_to("a")
    (runs / "zsweep").symlink_to("cells")
    (runs / "notes").mkdir()
    pruning = charlm.prune_runs(runs_dir=runs)
    names = [each.name for each in pruning.thinnings]
    assert sorted(names)[:2] == ["a", "b"]
    assert len(names) == 4
    assert all(name.startswith("cells/") for name in sorted(names)[2:])
    assert list(pruning.skipped) == ["zlink"]
    assert steps(run) == steps(Run(runs / "b")) == [4, 12, 14]
    *_, end = charlm.sweep_reports(tmp_path / "sweep.yaml", jobs=1, runs_dir=runs)
    assert (runs / "cells" / "results.json").read_bytes() == results


@pytest.mark.usefixtures("_in_threads")
def test_a_sweep_stands_for_its_trials(run: Run, write_sweep: Callable[..., Path]) -> None:
    runs = run.path.parent
    list(charlm.sweep_reports(write_sweep(SWEEP, *MANY), jobs=1, runs_dir=runs))
    assert len(charlm.prune_runs("cells", runs_dir=runs).thinnings) == 2
    assert steps(run) == [0, 4, 8, 12, 14]


def test_only_runs_that_are_old_enough_are_thinned_out(run: Run) -> None:
    runs = run.path.parent
    young = Run(shutil.copytree(run.path, runs / "young"))
    set_age(run, 8 * 86_400)
    set_age(young, 6 * 86_400)
    # Looking at a run renews its lock, which is no work on it.
    (run.path / ".lock").touch()
    pruning = charlm.prune_runs(older="7d", runs_dir=runs)
    assert ([each.name for each in pruning.thinnings], pruning.younger) == (["a"], ("young",))
    assert steps(young) == [0, 4, 8, 12, 14]
    pruning = charlm.prune_runs("young", older="1w", runs_dir=runs)
    assert (pruning.thinnings, pruning.younger) == ((), ("young",))
    set_age(young, 8 * 86_400)
    (young.path / "metrics.jsonl").touch()
    assert charlm.prune_runs(older="7d", runs_dir=runs).younger == ("young",)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("90s", 90), ("2m", 120), ("12h", 43_200), ("7d", 604_800), ("1.5w", 907_200), (" 7d ", 604_800)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert read_duration(text, "--older") == seconds


@pytest.mark.parametrize(
    "text",
    ["", "7", "d", "7x", "-1d", "+1d", "1e3d", "7D", "7 d", "7days", "1d2h", "nan", "infd", "٧d", "9" * 99 + "d"],
)
def test_anything_else_is_no_duration(run: Run, text: str) -> None:
    with pytest.raises(ConfigError, match=r"older must be a number and a unit \(s, m, h, d or w\), as in 7d, got"):
        charlm.prune_runs(run, older=text)
    assert steps(run) == [0, 4, 8, 12, 14]


def test_a_name_that_cannot_be_is_refused_before_anything_goes(run: Run) -> None:
    runs = run.path.parent
    (runs / "link").symlink_to("a")
    for names, error in (
        (("a", "b"), RunError),
        (("a", "link"), RunError),
        (("a", str(runs)), RunError),
        (("a", "a/checkpoints/.."), ConfigError),
        (("a", ""), ConfigError),
    ):
        with pytest.raises(error):
            charlm.prune_runs(*names, runs_dir=runs)
    with pytest.raises(ConfigError, match="keep must be best or last, got 'all'"):
        charlm.prune_runs("a", keep="all", runs_dir=runs)  # pyright: ignore[reportArgumentType]
    assert steps(run) == [0, 4, 8, 12, 14]


def test_checkpoints_in_another_folder_are_left_alone(run: Run, tmp_path: Path) -> None:
    shutil.move(run.checkpoints_folder, tmp_path / "elsewhere")
    run.checkpoints_folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="is a link, but a run's checkpoints must be in its own folder"):
        charlm.prune_runs("a", runs_dir=run.path.parent)
    assert list(charlm.prune_runs(runs_dir=run.path.parent).skipped) == ["a"]
    assert len(list((tmp_path / "elsewhere").iterdir())) == 5


def test_a_folder_without_runs_has_nothing_to_remove(tmp_path: Path) -> None:
    assert charlm.prune_runs(runs_dir=tmp_path).thinnings == ()
    assert charlm.prune_runs(runs_dir=tmp_path / "absent").thinnings == ()


# Runs in use.


def test_a_run_in_use_is_skipped_among_all_and_refused_by_name(run: Run) -> None:
    runs = run.path.parent
    other = Run(shutil.copytree(run.path, runs / "b"))
    mine = take_ownership(other.path)
    with pytest.raises(RunInUseError, match=f"the run {other.path} is in use by process {os.getpid()} on"):
        charlm.prune_runs("a", "b", runs_dir=runs)
    assert steps(run) == [0, 4, 8, 12, 14]
    pruning = charlm.prune_runs(runs_dir=runs)
    mine.release()
    assert pruning.skipped.keys() == {"b"}
    assert (steps(run), steps(other)) == ([4, 12, 14], [0, 4, 8, 12, 14])


def test_a_run_that_begins_after_it_was_shown_keeps_everything(run: Run) -> None:
    runs = run.path.parent
    other = Run(shutil.copytree(run.path, runs / "b"))
    for names in ([], ["a", "b"]):
        pruning = plan_pruning(names, folder=runs)
        mine = take_ownership(run.path)
        if names:
            with pytest.raises(RunInUseError, match="a is in use by"):
                list(prune(pruning))
        else:
            with pytest.warns(CharlmWarning, match="is in use by .*: it is left as it is"):
                assert [each.name for each in prune(pruning)] == ["b"]
        mine.release()
    assert steps(run) == [0, 4, 8, 12, 14]
    assert steps(other) == [4, 12, 14]


def test_a_run_that_was_trained_after_it_was_shown_keeps_everything(run: Run) -> None:
    pruning = plan_pruning(["a"], folder=run.path.parent)
    (run.path / "metrics.jsonl").touch()
    with pytest.raises(RunError, match="the run a has changed since it was looked at: nothing of it was removed"):
        list(prune(pruning))
    assert steps(run) == [0, 4, 8, 12, 14]


def test_a_kill_between_two_checkpoints_leaves_whole_ones(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def dying(path: Path, **_: object) -> None:
        (path / "model.safetensors").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", dying)
        with pytest.raises(KeyboardInterrupt):
            charlm.prune_runs(run)
    assert steps(run) == [4, 8, 12, 14]
    assert all(verdict.damage is None for verdict in verify_run(run))
    charlm.prune_runs(run)
    assert steps(run) == [4, 12, 14]
    assert len(list(run.checkpoints_folder.iterdir())) == 3


def test_an_unfinished_run_is_thinned_out_like_any_other(
    tiny_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    for report in charlm.train_reports(tiny_settings(*MANY), name="cut", runs_dir=tmp_path):
        if isinstance(report, Evaluation) and report.step == 12:
            break
    run = Run(tmp_path / "cut")
    assert steps(run) == [0, 4, 8, 12]
    best = load_checkpoint(run, "best").step
    charlm.prune_runs(run)
    assert steps(run) == sorted({best, 12})

"""Checkpoints that a disk has damaged are never loaded silently, are always named, and the previous one is used."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from pairs import one_in
from typer.testing import Result

from charlm.errors import CharlmWarning, RunError
from charlm.library.training import train
from charlm.runs.checkpoints import Checkpoint, load_checkpoint, read_checkpoint
from charlm.runs.run import Run
from charlm.settings.schema import Settings
from charlm.training.launch import train_reports

Command = Callable[..., Result]
STOPPED_AT, BEFORE = 10, 8
NAME = f"step-{STOPPED_AT:08d}"
KIB = 1 << 10


@dataclass(frozen=True)
class Stopped:
    """A run stopped at a step, its checkpoints, and its results if nothing happens to it."""

    path: Path
    newest: Checkpoint
    before: Checkpoint
    outcome: Any


@dataclass(frozen=True)
class Damage:
    """What has happened to a file of the newest checkpoint."""

    file: str
    what: str
    content: bytes


@pytest.fixture(scope="module")
def stopped(tiny_settings: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    """Return a run with two checkpoints that has not ended."""
    folder = tmp_path_factory.mktemp("damage")
    settings = tiny_settings("train.max_steps=18", "train.eval_every=4")
    outcome = results(train(settings, name="run", runs_dir=folder / "whole"))
    steps = 0

    def stop() -> str | None:
        return "interrupt" if steps >= STOPPED_AT else None

    for report in train_reports(settings, name="run", runs_dir=folder / "runs", should_stop=stop):
        steps = getattr(report, "step", steps)
    run = Run(folder / "runs" / "run")
    newest, before = (read_checkpoint(path) for path in run.checkpoint_paths()[:-3:-1])
    assert (newest.step, before.step) == (STOPPED_AT, BEFORE)
    return Stopped(run.path, newest, before, outcome)


def results(run: Run) -> Any:
    """Return all results of a run, except for clock times."""
    last = load_checkpoint(run, "last")
    tensors = [*last.model.items(), *last.training.items()]
    numbers = {name: tensor.tobytes() for name, tensor in tensors}
    return numbers, without_clock(last.state), without_clock(run.metrics()), run.samples()


def without_clock(value: Any) -> Any:
    """Return JSON values without those that differ from one run to the next."""
    if isinstance(value, list):
        return [without_clock(each) for each in value]
    if isinstance(value, Mapping):
        return {key: without_clock(each) for key, each in value.items() if "second" not in key}
    return value


def is_the_same(found: Checkpoint, saved: Checkpoint) -> bool:
    """Return whether two checkpoints are the same."""
    pairs = [
        (found.model[name], tensor) if name in saved.model else (found.training[name], tensor)
        for name, tensor in {**saved.model, **saved.training}.items()
    ]
    same = (found.step, found.settings, found.vocabulary, found.state) == (
        saved.step,
        saved.settings,
        saved.vocabulary,
        saved.state,
    )
    return same and all(np.array_equal(*pair) for pair in pairs)


def truncations(path: Path) -> Iterator[Damage]:
    """Yield each file cut off at each KiB, at its first byte and before its last."""
    for file in sorted(path.iterdir()):
        content = file.read_bytes()
        for length in sorted({0, 1, *range(KIB, len(content), KIB), len(content) - 1}):
            yield Damage(file.name, f"cut off after {length:,} bytes", content[:length])


def flips(path: Path, random: Random, number: int) -> Iterator[Damage]:
    """Yield files with one bit flipped, any bit of the checkpoint as likely as any other."""
    files = {file.name: file.read_bytes() for file in sorted(path.iterdir())}
    for name in random.choices(list(files), [len(content) for content in files.values()], k=number):
        content, at, bit = bytearray(files[name]), random.randrange(len(files[name])), random.randrange(8)
        content[at] ^= 1 << bit
        yield Damage(name, f"bit {bit} of byte {at:,} flipped", bytes(content))


@pytest.fixture
def broken(stopped: Stopped, tmp_path: Path) -> Callable[[Damage], Run]:
    """Return what makes a copy of the run with a damage; the one before is removed."""

    def make(damage: Damage) -> Run:
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
        path = shutil.copytree(stopped.path, tmp_path / "runs" / "run")
        (path / "checkpoints" / NAME / damage.file).write_bytes(damage.content)
        return Run(path)

    return make


def is_passed_over(run: Run, stopped: Stopped, damage: Damage) -> bool:
    """Check that a damaged checkpoint is passed over and named; return False where what is damaged says nothing."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = load_checkpoint(run, "last")
    if found.step == STOPPED_AT:
        # Blanks and the version of the manifest: whatever is read is what was saved, bit for bit.
        assert damage.file == "manifest.json"
        assert is_the_same(found, stopped.newest)
        assert not caught
        return False
    assert is_the_same(found, stopped.before), damage
    (warning,) = caught
    assert warning.category is CharlmWarning
    sentence = str(warning.message)
    assert NAME in sentence
    assert sentence.endswith(f"; step {BEFORE} is used instead")
    assert len(sentence.splitlines()) == 1
    assert len(sentence) < 1_000
    with pytest.raises(RunError, match=NAME):
        load_checkpoint(run, STOPPED_AT)
    return True


def check_commands(run: Run, stopped: Stopped, damage: Damage, charlm_command: Command) -> None:
    """Check how the command line handles a damaged checkpoint."""
    folder = ("--runs-dir", run.path.parent)
    verified = charlm_command("verify", "run", *folder)
    assert verified.exit_code == 4, damage
    assert f"{STOPPED_AT}" in verified.stdout
    assert verified.stderr.startswith("charlm: 1 of 2 checkpoints of the run run cannot be used")
    told = json.loads(charlm_command("verify", "run", "--json", *folder).stdout)["checkpoints"]
    assert [(each["step"], each["damage"] is None) for each in told] == [(BEFORE, True), (STOPPED_AT, False)]
    assert NAME in told[1]["damage"]
    options = ("generate", "--run", "run", "--prefix", "the ", "--length", "9", *folder)
    assert charlm_command(*options).exit_code == 0
    written = charlm_command(*options, "--checkpoint", "last")
    assert written.exit_code == 0
    assert NAME in written.stderr
    expected = charlm_command(*options, "--checkpoint", str(BEFORE))
    assert (expected.exit_code, expected.stderr, expected.stdout) == (0, "", written.stdout)
    resumed = charlm_command("train", "--resume", "--run", "run", *folder)
    assert resumed.exit_code == 0, resumed.stderr
    assert NAME in resumed.stderr
    assert results(run) == stopped.outcome


@pytest.mark.parametrize("kind", one_in(2, ["cut off", "flipped"]))
def test_a_damaged_checkpoint_is_never_loaded_and_the_one_before_is_resumed(
    kind: str,
    stopped: Stopped,
    broken: Callable[[Damage], Run],
    charlm_command: Command,
    endurance: Any,
) -> None:
    newest = stopped.path / "checkpoints" / NAME
    number = endurance.times(50, 1_000)
    damages = list(truncations(newest) if kind == "cut off" else flips(newest, Random(endurance.seed), number))
    noticed = 0
    for at, damage in enumerate(damages):
        run = broken(damage)
        if is_passed_over(run, stopped, damage):
            noticed += 1
            if at % max(1, len(damages) // endurance.times(6, 100)) == 0:
                check_commands(run, stopped, damage, charlm_command)
    assert noticed > 0.9 * len(damages)
    told = (
        f"{len(damages):,}, {noticed:,} noticed, the others said nothing of the content; 0 silent loads, 0 tracebacks"
    )
    endurance.tell(f"checkpoints {kind}", told)


def test_a_missing_file_is_damage_too(
    stopped: Stopped, broken: Callable[[Damage], Run], charlm_command: Command
) -> None:
    newest = stopped.path / "checkpoints" / NAME
    for at, file in enumerate(sorted(newest.iterdir())):
        damage = Damage(file.name, "gone", b"")
        run = broken(damage)
        (run.checkpoints_folder / NAME / file.name).unlink()
        assert is_passed_over(run, stopped, damage)
        if at == 0:
            check_commands(run, stopped, damage, charlm_command)


def test_without_any_whole_checkpoint_each_command_says_so(
    broken: Callable[[Damage], Run], charlm_command: Command
) -> None:
    run = broken(Damage("model.safetensors", "empty", b""))
    (run.checkpoints_folder / f"step-{BEFORE:08d}" / "state.json").write_bytes(b"{}")
    folder = ("--runs-dir", run.path.parent)

    def content() -> dict[Path, bytes]:
        files = [path for path in run.path.rglob("*") if path.is_file() and not path.name.startswith(".")]
        return {path: path.read_bytes() for path in files}

    before = content()
    verified = charlm_command("verify", "run", *folder)
    assert verified.exit_code == 4
    assert verified.stderr == "charlm: 2 of 2 checkpoints of the run run cannot be used\n"
    for command in (
        ("generate", "--run", "run", "--prefix", "the "),
        ("eval", "--run", "run"),
        ("train", "--resume", "--run", "run"),
    ):
        result = charlm_command(*command, *folder)
        assert (result.exit_code, result.stdout) == (4, ""), command
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"charlm: the run {run.path} has no undamaged checkpoint: ")
        assert NAME in line
        assert f"step-{BEFORE:08d}" in line
    # Nothing is thrown away: somebody may still mend it.
    assert content() == before


def test_a_run_that_has_ended_is_evaluated_with_what_is_whole(
    stopped: Stopped, tmp_path: Path, charlm_command: Command
) -> None:
    path = shutil.copytree(stopped.path, tmp_path / "runs" / "run")
    ended = train(name="run", runs_dir=tmp_path / "runs", resume=True)
    paths = ended.checkpoint_paths()
    content = bytearray((paths[-1] / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (paths[-1] / "model.safetensors").write_bytes(content)
    result = charlm_command("eval", "--run", "run", "--runs-dir", path.parent)
    assert result.exit_code == 0
    assert paths[-1].name in result.stderr

"""Checkpoints: what goes in comes out, the right one is chosen, the others go, and none of it is a pickle."""

from __future__ import annotations

import itertools
import json
import math
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from charlm.errors import RunError
from charlm.networks.implementations import choose_implementation
from charlm.runs.checkpoints import (
    Checkpoint,
    checkpoint_path,
    load_checkpoint,
    read_checkpoint,
    restore_model,
    save_checkpoint,
)
from charlm.runs.durable import read_folder, write_folder
from charlm.runs.folder import Run
from charlm.settings.schema import Settings
from charlm.text.vocabulary import Vocabulary

TENSORS = {
    "weight": torch.arange(6.0).reshape(2, 3),
    "transposed": torch.arange(6.0).reshape(2, 3).t(),
    "scalar": torch.tensor(0.1, dtype=torch.float64),
    "empty": torch.empty(0, 4),
    "half": torch.tensor([1.5, -0.0], dtype=torch.bfloat16),
    "count": torch.tensor(2**40),
    "odd": torch.tensor([math.nan, math.inf, -math.inf, 5e-324], dtype=torch.float64),
}


def checkpoint(step: int, *, val: float | None = None) -> Checkpoint:
    """Return a checkpoint with every kind of content."""
    return Checkpoint(
        step=step,
        settings=Settings(),
        vocabulary=Vocabulary("\n a分😀", has_unknown=True),
        model={name: tensor + step for name, tensor in TENSORS.items()},
        training=dict(TENSORS),
        state={"val_nats_per_char": val, "progress": {"step": step, "last_epoch": None, "nats": 0.1 + 0.2}},
    )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a run without any checkpoint."""
    return Run(tmp_path / "run")


def steps(run: Run) -> list[int]:
    """Return the steps of the checkpoints a run keeps."""
    return [int(path.name.removeprefix("step-")) for path in run.checkpoint_paths()]


def test_everything_saved_comes_back_bit_for_bit(run: Run) -> None:
    saved = checkpoint(7, val=1.25)
    loaded = read_checkpoint(save_checkpoint(run, saved))
    assert (loaded.step, loaded.settings, loaded.vocabulary) == (7, saved.settings, saved.vocabulary)
    assert loaded.state == {**saved.state, "step": 7}
    for before, after in ((saved.model, loaded.model), (saved.training, loaded.training)):
        assert set(after) == set(before)
        for name, tensor in before.items():
            assert_close(after[name], tensor, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("tensor", [TENSORS["weight"].clone().requires_grad_(), torch.zeros(3)[1:]])
def test_parameters_and_views_are_saved_as_plain_tensors(run: Run, tensor: torch.Tensor) -> None:
    content = checkpoint(1)
    save_checkpoint(run, Checkpoint(**{**vars(content), "model": {"weight": tensor}}))
    loaded = load_checkpoint(run).model["weight"]
    assert not loaded.requires_grad
    assert_close(loaded, tensor.detach(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ([3.0, 2.0, 2.5], 2),
        ([3.0, 2.0, 1.0], 3),
        ([2.0, 2.0, 2.0], 1),
        ([None, 2.0, 2.5], 2),
        ([1.0, 2.0, None], 1),
        ([None, None, None], 3),
    ],
)
def test_best_is_the_lowest_validation_figure_and_without_any_the_last(
    run: Run, values: list[float | None], best: int
) -> None:
    for step, value in enumerate(values, start=1):
        save_checkpoint(run, checkpoint(step, val=value))
    assert load_checkpoint(run, "best").step == best
    assert load_checkpoint(run, "last").step == 3
    assert load_checkpoint(run, 3).step == 3


def test_rotation_keeps_the_last_two_and_the_best(run: Run) -> None:
    kept = []
    for step, value in enumerate([3.0, 1.0, 2.0, 2.5, 0.5, 0.6, 0.7], start=1):
        save_checkpoint(run, checkpoint(step, val=value))
        kept.append(steps(run))
    assert kept == [[1], [1, 2], [2, 3], [2, 3, 4], [4, 5], [5, 6], [5, 6, 7]]


class PowerCut(BaseException):
    """The machine stops: nothing that comes after is done."""


def cut_power(patch: pytest.MonkeyPatch, *, at: int) -> Callable[[], int]:
    """Let file operation `at`, counted from 0, and all after it fail; return what tells how many there were."""
    numbers = itertools.count()
    done = 0

    def wrapped(operation: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal done
            done = next(numbers)
            if done >= at:
                raise PowerCut
            return operation(*args, **kwargs)

        return counted

    for name in ("mkdir", "open", "fsync", "rename", "unlink", "rmdir"):
        patch.setattr(os, name, wrapped(getattr(os, name)))
    return lambda: done + 1


def test_a_power_cut_at_any_moment_of_saving_and_rotating_leaves_best_and_last_to_be_found(tmp_path: Path) -> None:
    def prepare(name: str) -> Run:
        run = Run(tmp_path / name)
        for step, value in ((1, 3.0), (2, 2.0), (3, 2.5)):
            save_checkpoint(run, checkpoint(step, val=value))
        return run

    with pytest.MonkeyPatch.context() as patch:
        run = prepare("whole")
        count = cut_power(patch, at=1_000)
        save_checkpoint(run, checkpoint(4, val=1.0))
    num_operations = count()
    assert num_operations > 20
    for at in range(num_operations):
        run = prepare(str(at))
        with pytest.MonkeyPatch.context() as patch:
            cut_power(patch, at=at)
            with pytest.raises(PowerCut):
                save_checkpoint(run, checkpoint(4, val=1.0))
        last = load_checkpoint(run, "last").step
        assert last in (3, 4)
        assert load_checkpoint(run, "best").step == (4 if last == 4 else 2)
        assert [read_checkpoint(path).step for path in run.checkpoint_paths()] == steps(run)
        save_checkpoint(run, checkpoint(5, val=9.0))
        assert steps(run) == ([4, 5] if last == 4 else [2, 3, 5])


def test_steps_are_in_the_order_of_numbers_also_beyond_eight_digits(run: Run) -> None:
    for step in (99_999_999, 100_000_000, 1_000_000_000):
        save_checkpoint(run, checkpoint(step))
    assert load_checkpoint(run, "last").step == 1_000_000_000
    assert steps(run) == [100_000_000, 1_000_000_000]


def test_a_step_that_is_not_kept_is_refused_with_those_that_are(run: Run) -> None:
    for step in (1, 2):
        save_checkpoint(run, checkpoint(step))
    with pytest.raises(RunError, match=r"keeps no checkpoint of step 3; it has steps 1, 2$"):
        checkpoint_path(run, 3)


@pytest.mark.parametrize("choice", ["best", "last", 0])
def test_a_run_without_a_checkpoint_says_so(run: Run, choice: str | int) -> None:
    with pytest.raises(RunError, match="has no checkpoint yet"):
        load_checkpoint(run, choice)  # pyright: ignore[reportArgumentType]


def test_a_draft_and_a_users_own_folder_are_neither_found_nor_removed(run: Run) -> None:
    strangers = [run.checkpoints_folder / name for name in (".tmp-step-00000009-1-ab", "step-9", "my notes")]
    for stranger in strangers:
        stranger.mkdir(parents=True)
    for step in (1, 2, 3):
        save_checkpoint(run, checkpoint(step))
    assert steps(run) == [2, 3]
    assert all(stranger.is_dir() for stranger in strangers)


def test_a_checkpoint_is_safetensors_json_and_yaml_and_no_pickle(run: Run) -> None:
    files = {file.name: file.read_bytes() for file in save_checkpoint(run, checkpoint(1)).iterdir()}
    assert sorted(files) == [
        "config.yaml",
        "manifest.json",
        "model.safetensors",
        "state.json",
        "training.safetensors",
        "vocabulary.json",
    ]
    for name, content in files.items():
        if name.endswith(".safetensors"):
            length = int.from_bytes(content[:8], "little")
            assert set(json.loads(content[8 : 8 + length])) == set(TENSORS)
        elif name.endswith(".json"):
            assert isinstance(json.loads(content), dict)


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Set the process' umask for one test."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o002], ids=oct, indirect=True)
def test_modes_honour_the_umask(run: Run, umask: int) -> None:
    folder = save_checkpoint(run, checkpoint(1))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o777 & ~umask
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o666 & ~umask}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", b"model: {cell: transformer}\n"),
        ("config.yaml", b"from_the_future: true\n"),
        ("config.yaml", b"\xff"),
        ("state.json", b"[]"),
        ("state.json", b"{}"),
        ("state.json", b"{"),
        ("vocabulary.json", b"{}"),
        ("vocabulary.json", b"3"),
        ("model.safetensors", b"\x80\x04K\x01."),
        ("training.safetensors", b""),
    ],
)
def test_a_checkpoint_this_version_does_not_understand_is_a_run_error(run: Run, name: str, content: bytes) -> None:
    files = read_folder(save_checkpoint(run, checkpoint(1)))
    # Written whole, so that the manifest agrees: the content itself is what is wrong.
    write_folder(run.checkpoints_folder / "step-00000002", {**files, name: content})
    with pytest.raises(RunError, match="step-00000002"):
        load_checkpoint(run, "last")


def test_a_checkpoint_without_one_of_its_files_is_a_run_error(run: Run) -> None:
    files = read_folder(save_checkpoint(run, checkpoint(1)))
    for step, name in enumerate(files, start=2):
        path = run.checkpoints_folder / f"step-{step:08d}"
        write_folder(path, {kept: content for kept, content in files.items() if kept != name})
        with pytest.raises(RunError, match=rf"{path.name} is not a whole checkpoint: .*{name}"):
            read_checkpoint(path)


def test_a_damaged_checkpoint_is_refused_by_name(run: Run) -> None:
    path = save_checkpoint(run, checkpoint(1)) / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"model\.safetensors is damaged"):
        load_checkpoint(run)


def test_a_restored_model_has_the_saved_weights_and_is_ready_to_evaluate(trained: Run) -> None:
    loaded = load_checkpoint(trained)
    network = restore_model(loaded)
    assert not network.training
    for name, tensor in network.state_dict().items():
        assert_close(tensor, loaded.model[name], rtol=0, atol=0)


@pytest.mark.parametrize("change", ["missing", "misshapen"])
def test_weights_that_do_not_fit_their_configuration_are_refused(trained: Run, change: str) -> None:
    loaded = load_checkpoint(trained)
    weights = dict(loaded.model)
    name = next(iter(weights))
    if change == "missing":
        del weights[name]
    else:
        weights[name] = torch.zeros(1, 2)
    with pytest.raises(RunError, match=f"do not fit their configuration.*{name}"):
        restore_model(Checkpoint(**{**vars(loaded), "model": weights}))


def test_a_run_trained_is_read_by_its_own_settings(trained: Run, tiny_settings: Callable[..., Settings]) -> None:
    loaded = load_checkpoint(trained, "last")
    assert loaded.settings == trained.settings()
    # The run has written down what auto stood for when it was created.
    implementation = choose_implementation(tiny_settings().model)
    assert loaded.settings.model == tiny_settings(f"model.implementation={implementation}").model
    assert loaded.step == 60

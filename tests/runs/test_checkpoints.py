"""Checkpoints return what was saved, the right one is chosen, others are removed, and nothing is a pickle."""

from __future__ import annotations

import json
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from charlm.errors import CharlmWarning, RunError
from charlm.library.training import train
from charlm.networks.implementations import choose_implementation
from charlm.runs.checkpoints import (
    FILES,
    Checkpoint,
    best_first,
    load_checkpoint,
    read_checkpoint,
    step_of,
    write_checkpoint,
)
from charlm.runs.durable import ASIDE, write_folder
from charlm.runs.ownership import take_ownership
from charlm.runs.restoring import restore_model, to_arrays
from charlm.runs.run import Run
from charlm.runs.tensors import Array
from charlm.runs.untrusted import open_folder
from charlm.runs.writer import RunWriter, removable
from charlm.settings.schema import Settings
from charlm.settings.training import CheckpointSettings
from charlm.settings.values import Period

Make = Callable[..., Checkpoint]


@pytest.fixture(scope="session")
def checkpoint(trained: Run) -> Make:
    """Return a function that copies a checkpoint of a real run with another step and validation result."""
    saved = load_checkpoint(trained, "last")

    def make(step: int, *, val: float | None = None) -> Checkpoint:
        counts = {name: np.array(step, np.float32) for name in saved.training if name.endswith(".step")}
        state = {**saved.state, "val_nats_per_char": val, "step": step}
        return replace(saved, step=step, training={**saved.training, **counts}, state=state)

    return make


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a run without any checkpoint."""
    run = Run(tmp_path / "run")
    run.checkpoints_folder.mkdir(parents=True)
    return run


@pytest.fixture
def writer(run: Run) -> Iterator[RunWriter]:
    """Yield the run's writer."""
    writer = RunWriter(run, take_ownership(run.path))
    yield writer
    writer.close()


def steps(run: Run) -> list[int]:
    """Return the steps of a run's checkpoints."""
    return [step_of(path) for path in run.checkpoint_paths()]


def content(path: Path) -> dict[str, bytes]:
    """Return a checkpoint's files."""
    folder = open_folder(path, FILES)
    return {name: folder.read(name, at_most=1 << 20) for name in FILES}


def damage(path: Path) -> None:
    """Flip the last bit of a file."""
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize(
    ("method", "momentum"),
    [("adam", None), ("adamw", None), ("sgd", None), ("sgd", 0.9), ("rmsprop", None), ("rmsprop", 0.9)],
)
def test_everything_saved_is_loaded_bit_for_bit(
    tmp_path: Path, tiny_settings: Callable[..., Settings], cell: str, method: str, momentum: float | None
) -> None:
    settings = tiny_settings(
        f"model.cell={cell}",
        f"optimizer.method={method}",
        "optimizer.momentum=null" if momentum is None else f"optimizer.momentum={momentum}",
        "train.max_steps=2",
    )
    saved = load_checkpoint(train(settings, name="run", runs_dir=tmp_path), "last")
    (tmp_path / "again" / "checkpoints").mkdir(parents=True)
    loaded = read_checkpoint(write_checkpoint(Run(tmp_path / "again"), saved))
    assert (loaded.step, loaded.settings, loaded.vocabulary) == (2, saved.settings, saved.vocabulary)
    assert loaded.state == saved.state
    for before, after in ((saved.model, loaded.model), (saved.training, loaded.training)):
        assert set(after) == set(before)
        for name, tensor in before.items():
            assert_close(after[name], tensor, rtol=0, atol=0)


def test_parameters_and_views_are_saved_as_plain_arrays(run: Run, checkpoint: Make) -> None:
    saved = checkpoint(1)
    name, weight = next((name, array) for name, array in saved.model.items() if array.ndim == 2)
    parameter = torch.from_numpy(weight).t().contiguous().t().requires_grad_()
    write_checkpoint(run, replace(saved, model=saved.model | to_arrays({name: parameter})))
    assert np.array_equal(load_checkpoint(run).model[name], weight)


def test_tensors_that_share_memory_are_saved_separately(run: Run, checkpoint: Make) -> None:
    saved = checkpoint(1)
    zeros = np.zeros_like(saved.training["state.0"])
    write_checkpoint(run, replace(saved, training={**saved.training, "state.0": zeros, "state.1": zeros}))
    assert not load_checkpoint(run).training["state.1"].any()


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ([3.0, 2.0, 2.5], 2),
        ([3.0, 2.0, 1.0], 3),
        ([2.0, 2.0, 2.0], 1),
        ([None, 2.0, 2.5], 2),
        ([1.0, 2.0, None], 1),
        ([None, None, None], 3),
        ([0, 2.0, None], 1),
    ],
)
def test_best_is_the_lowest_validation_result_or_the_last_without_any(
    run: Run, checkpoint: Make, values: list[float | None], best: int
) -> None:
    for step, value in enumerate(values, start=1):
        write_checkpoint(run, checkpoint(step, val=value))
    assert load_checkpoint(run, "best").step == best
    assert step_of(best_first(run.checkpoint_paths())[0]) == best
    assert load_checkpoint(run, "last").step == 3
    assert load_checkpoint(run, 3).step == 3


def test_saving_keeps_the_last_two_and_the_best(run: Run, writer: RunWriter, checkpoint: Make) -> None:
    kept = []
    for step, value in enumerate([3.0, 1.0, 2.0, 2.5, 0.5, 0.6, 0.7], start=1):
        writer.save(checkpoint(step, val=value))
        kept.append(steps(run))
    assert kept == [[1], [1, 2], [2, 3], [2, 3, 4], [4, 5], [5, 6], [5, 6, 7]]


def test_retention_follows_the_settings(run: Run, checkpoint: Make) -> None:
    for step, value in enumerate([3.0, 1.0, 2.0, 2.5, 1.5, 1.6, 1.7, 1.8]):
        write_checkpoint(run, checkpoint(step, val=value))
    kept, paths = CheckpointSettings(keep_last=3, keep_every=Period(steps=2)), run.checkpoint_paths()
    assert [step_of(path) for path in removable(paths, kept, keep_every=None)] == [0, 2, 3, 4]
    # Step 0 is a multiple of every period, but nobody asked for it.
    assert [step_of(path) for path in removable(paths, kept, keep_every=2)] == [0, 3]


def test_a_replaced_checkpoint_that_still_exists_is_the_second_choice_and_is_removed_first(
    run: Run, writer: RunWriter, checkpoint: Make
) -> None:
    for step in (1, 2):
        writer.save(checkpoint(step, val=2.0))
    path = run.checkpoints_folder / "step-00000002"
    path.rename(path.with_name(path.name + ASIDE))
    assert steps(run) == [1, 2]
    assert load_checkpoint(run, "last").state["val_nats_per_char"] == 2.0
    write_folder(path.with_name("new"), content(path.with_name(path.name + ASIDE)))
    path.with_name("new").rename(path)
    damage(path / "state.json")
    with pytest.warns(CharlmWarning, match=r"step-00000002/state\.json is damaged.*; step 2 is used instead"):
        assert load_checkpoint(run, "last").step == 2
    writer.save(checkpoint(3, val=1.0))
    assert [path.name for path in run.checkpoint_paths()] == ["step-00000002", "step-00000003"]


def test_steps_are_ordered_as_numbers_even_beyond_eight_digits(run: Run, writer: RunWriter, checkpoint: Make) -> None:
    for step in (99_999_999, 100_000_000, 1_000_000_000):
        writer.save(checkpoint(step))
    assert load_checkpoint(run, "last").step == 1_000_000_000
    assert steps(run) == [100_000_000, 1_000_000_000]


def test_a_missing_step_is_refused_with_a_list_of_the_existing_ones(run: Run, checkpoint: Make) -> None:
    for step in (1, 2):
        write_checkpoint(run, checkpoint(step))
    with pytest.raises(RunError, match=r"has no checkpoint of step 3; it has steps 1, 2$"):
        load_checkpoint(run, 3)


@pytest.mark.parametrize("choice", ["best", "last", 0])
def test_a_run_without_a_checkpoint_says_so(run: Run, choice: Any) -> None:
    with pytest.raises(RunError, match="has no checkpoint yet"):
        load_checkpoint(run, choice)


def test_a_draft_and_a_users_own_folder_are_neither_found_nor_removed(
    run: Run, writer: RunWriter, checkpoint: Make
) -> None:
    strangers = [run.checkpoints_folder / name for name in (".tmp-step-00000009-1-ab", "step-9", "my notes")]
    for stranger in strangers:
        stranger.mkdir(parents=True)
    for step in (1, 2, 3):
        writer.save(checkpoint(step))
    assert steps(run) == [2, 3]
    assert all(stranger.is_dir() for stranger in strangers)


def test_a_checkpoint_is_safetensors_json_and_yaml_without_a_pickle(run: Run, checkpoint: Make) -> None:
    saved = checkpoint(1)
    files = {file.name: file.read_bytes() for file in write_checkpoint(run, saved).iterdir()}
    assert sorted(files) == [
        "config.yaml",
        "manifest.json",
        "model.safetensors",
        "state.json",
        "training.safetensors",
        "vocabulary.json",
    ]
    for name, expected in (("model", saved.model), ("training", saved.training)):
        file = files[f"{name}.safetensors"]
        length = int.from_bytes(file[:8], "little")
        header = json.loads(file[8 : 8 + length])
        assert {key: entry["dtype"] for key, entry in header.items()} == dict.fromkeys(expected, "F32")
    for name in ("manifest.json", "state.json", "vocabulary.json"):
        assert isinstance(json.loads(files[name]), dict)


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Set the process's umask for one test."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o002], ids=oct, indirect=True)
def test_modes_honour_the_umask(run: Run, checkpoint: Make, umask: int) -> None:
    folder = write_checkpoint(run, checkpoint(1))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o777 & ~umask
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o666 & ~umask}


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("config.yaml", b"model: {cell: transformer}\n"),
        ("config.yaml", b"from_the_future: true\nanother: 1\n"),
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
def test_a_checkpoint_that_this_version_does_not_understand_is_a_run_error(
    run: Run, checkpoint: Make, name: str, changed: bytes
) -> None:
    files = content(write_checkpoint(run, checkpoint(1)))
    # The checkpoint is written anew so that the manifest agrees: only the content is wrong.
    write_folder(run.checkpoints_folder / "step-00000002", {**files, name: changed})
    with pytest.raises(RunError, match="step-00000002") as caught:
        load_checkpoint(run, 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("step", True),
        ("step", 1.0),
        ("val_nats_per_char", "low"),
        ("val_nats_per_char", -1.0),
        ("progress", []),
        ("recorded_until", -1),
        ("seconds", None),
        ("fingerprint", []),
        ("fingerprint", {"torch": {"deep": 1}}),
        ("fingerprint", {"torch": "\x1b[31m"}),
        ("fingerprint", {"\x1b": 1}),
        ("fingerprint", {f"key_{number}": 1 for number in range(41)}),
        ("corpus_sha256", "no hash"),
        ("split", {"train": {"chars": 1}}),
        ("split", {"dev": {"chars": 1, "sha256": "0" * 64}}),
        ("split", []),
    ],
)
def test_a_state_is_checked_key_by_key(run: Run, checkpoint: Make, key: str, value: Any) -> None:
    files = content(write_checkpoint(run, checkpoint(1)))
    state = json.dumps(json.loads(files["state.json"]) | {key: value}).encode()
    write_folder(run.checkpoints_folder / "step-00000001", {**files, "state.json": state})
    with pytest.raises(RunError, match=f"its {key} is not what it should be"):
        load_checkpoint(run, 1)


def test_a_checkpoint_without_one_of_its_files_is_a_run_error(run: Run, checkpoint: Make) -> None:
    files = content(write_checkpoint(run, checkpoint(1)))
    for step, name in enumerate(files, start=2):
        path = run.checkpoints_folder / f"step-{step:08d}"
        write_folder(path, {kept: file for kept, file in files.items() if kept != name})
        with pytest.raises(RunError, match=rf"{path.name}/manifest.json does not name a checkpoint's files: .*{name}"):
            read_checkpoint(path)


def test_a_checkpoint_under_the_name_of_another_is_refused(run: Run, checkpoint: Make) -> None:
    write_checkpoint(run, checkpoint(1)).rename(run.checkpoints_folder / "step-00000003")
    with pytest.raises(RunError, match="step-00000003 contains the checkpoint of step 1"):
        load_checkpoint(run)


@pytest.mark.parametrize("choice", ["best", "last"])
@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_damaged_checkpoint_is_passed_over_and_named(run: Run, checkpoint: Make, choice: Any, name: str) -> None:
    for step, value in ((1, 2.0), (2, 1.0)):
        write_checkpoint(run, checkpoint(step, val=value))
    path = run.checkpoints_folder / "step-00000002" / name
    if name == "manifest.json":
        path.write_bytes(path.read_bytes()[:-3])
    else:
        damage(path)
    with pytest.warns(CharlmWarning, match=rf"step-00000002/{name} .*; step 1 is used instead$") as caught:
        assert load_checkpoint(run, choice).step == 1
    assert len(caught) == 1
    with pytest.raises(RunError, match=rf"step-00000002/{name}"):
        load_checkpoint(run, 2)


def test_a_damaged_checkpoint_that_nobody_asked_for_does_not_matter(run: Run, checkpoint: Make) -> None:
    for step, value in ((1, 2.0), (2, 1.0)):
        write_checkpoint(run, checkpoint(step, val=value))
    damage(run.checkpoints_folder / "step-00000001" / "model.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_checkpoint(run, "best").step == load_checkpoint(run, "last").step == 2


def test_if_all_checkpoints_are_damaged_each_damage_is_named(run: Run, checkpoint: Make) -> None:
    for step in (1, 2):
        damage(write_checkpoint(run, checkpoint(step)) / "model.safetensors")
    with pytest.raises(RunError, match=r"has no undamaged checkpoint: .*step-00000002.*; .*step-00000001"):
        load_checkpoint(run, "last")


def test_a_checkpoint_is_read_back_before_it_counts_as_saved(
    run: Run, checkpoint: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget_a_bit(path: Path, target: Path) -> Path:
        damage(path / "training.safetensors")
        return rename(path, target)

    rename = Path.rename
    monkeypatch.setattr(Path, "rename", forget_a_bit)
    with pytest.raises(RunError, match=r"training\.safetensors is damaged"):
        write_checkpoint(run, checkpoint(1))


def test_a_restored_model_has_the_saved_weights_and_is_ready_to_evaluate(trained: Run) -> None:
    loaded = load_checkpoint(trained)
    network = restore_model(loaded)
    assert not network.training
    for name, tensor in network.state_dict().items():
        assert np.array_equal(tensor, loaded.model[name])


def changed(tensors: dict[str, Array], how: str) -> dict[str, Array]:
    """Return tensors of which the first is changed."""
    name, tensor = next(iter(tensors.items()))
    if how == "missing":
        return {other: value for other, value in tensors.items() if other != name}
    if how == "extra":
        return {**tensors, "more": np.zeros(1, np.float32)}
    others = {
        "misshapen": np.zeros((1, 2), np.float32),
        "transposed": tensor.reshape(-1, 1),
        "double": tensor.astype(np.float64),
        "half": tensor.astype(np.float16),
    }
    return {**tensors, name: others[how]}


@pytest.mark.parametrize("part", ["model", "training"])
@pytest.mark.parametrize("how", ["missing", "extra", "misshapen", "transposed", "double", "half"])
def test_tensors_that_do_not_fit_their_configuration_are_refused(
    run: Run, checkpoint: Make, part: str, how: str
) -> None:
    saved = checkpoint(1)
    write_checkpoint(run, replace(saved, **{part: changed(dict(getattr(saved, part)), how)}))
    with pytest.raises(RunError, match=rf"{part}\.safetensors"):
        load_checkpoint(run)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_numbers_are_refused(run: Run, checkpoint: Make, number: float) -> None:
    saved = checkpoint(1)
    name, weight = next(iter(saved.model.items()))
    weight = weight.copy()
    weight.flat[-1] = number
    write_checkpoint(run, replace(saved, model={**saved.model, name: weight}))
    with pytest.raises(RunError, match=r"model\.safetensors has weights that are not numbers"):
        load_checkpoint(run)


@pytest.mark.parametrize("kinds", [("step",), ("step", "exp_avg"), ("exp_avg", "exp_avg_sq"), ("momentum_buffer",)])
def test_moments_that_the_optimiser_does_not_have_are_refused(
    run: Run, checkpoint: Make, kinds: tuple[str, ...]
) -> None:
    saved = checkpoint(1)
    states = {name: value for name, value in saved.training.items() if name.startswith("state.")}
    moments = {
        f"optimizer.{index}.{kind}": np.array(1.0, np.float32) if kind == "step" else weight
        for index, weight in enumerate(saved.model.values())
        for kind in kinds
    }
    write_checkpoint(run, replace(saved, training={**states, **moments}))
    with pytest.raises(RunError, match=r"training\.safetensors are not those of optimizer\.method adam"):
        load_checkpoint(run)


def test_a_checkpoint_without_moments_is_from_before_the_first_step(run: Run, checkpoint: Make) -> None:
    saved = checkpoint(0)
    states = {name: value for name, value in saved.training.items() if name.startswith("state.")}
    write_checkpoint(run, replace(saved, training=states))
    assert set(load_checkpoint(run).training) == set(states)


@pytest.mark.parametrize("count", [0.0, -1.0, 1.5, 8.0, float("nan"), float("inf")])
def test_a_count_of_steps_that_is_not_the_checkpoints_is_refused(run: Run, checkpoint: Make, count: float) -> None:
    saved = checkpoint(7)
    write_checkpoint(run, replace(saved, training={**saved.training, "optimizer.0.step": np.array(count, np.float32)}))
    with pytest.raises(RunError, match="does not count the 7"):
        load_checkpoint(run)


def test_a_trained_run_is_read_with_its_own_settings(trained: Run, tiny_settings: Callable[..., Settings]) -> None:
    loaded = load_checkpoint(trained, "last")
    assert loaded.settings == trained.settings()
    # The run recorded what auto meant when it was created.
    implementation = choose_implementation(tiny_settings().model)
    assert loaded.settings.model == tiny_settings(f"model.implementation={implementation}").model
    assert loaded.step == 60

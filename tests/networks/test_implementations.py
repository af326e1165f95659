"""Which code runs a network: the kernels if there are any; otherwise, what is reported and what runs instead."""

from __future__ import annotations

import ctypes
import platform
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

import charlm
from charlm.errors import ConfigError
from charlm.kernels import library, processor
from charlm.kernels.library import Kernels, describe_kernels, library_file, load_kernels, load_kernels_for
from charlm.kernels.processor import best_instruction_set
from charlm.networks import native
from charlm.networks.building import build_model
from charlm.networks.implementations import choose_implementation
from charlm.networks.native import NativeStack
from charlm.networks.torch_nn import TorchStack
from charlm.runs.checkpoints import load_checkpoint
from charlm.runs.restoring import restore_model
from charlm.runs.run import Run
from charlm.settings.model import ModelSettings
from charlm.settings.schema import Settings

V = 20
MakeSettings = Callable[..., Settings]
has_kernels = pytest.mark.kernels


def test_a_processor_they_are_written_for_has_the_kernels() -> None:
    # Everything else that needs the kernels is skipped if there are none; this test is not.
    if platform.machine() in ("aarch64", "arm64") and sys.platform in ("linux", "darwin"):
        widest = "aarch64"
    else:
        widest = {"AVX512": "x86-64-v4", "AVX2": "x86-64-v3"}.get(torch.backends.cpu.get_cpu_capability())
        widest = widest if sys.platform == "linux" else None
    if widest is None:
        pytest.skip("the kernels are not written for this processor or system")
    kernels = load_kernels()
    assert isinstance(kernels, Kernels), kernels
    assert kernels.instruction_set == widest


# With kernels.


def num_calls() -> int:
    kernels = load_kernels()
    assert isinstance(kernels, Kernels)
    return kernels.num_calls()


@has_kernels
@pytest.mark.parametrize("direction", ["forward", "backward", "bidirectional"])
def test_auto_on_a_cpu_trains_with_the_kernels_and_torch_without(
    direction: str, tiny_settings: MakeSettings, tmp_path: Path
) -> None:
    calls = {}
    for implementation in ("auto", "native", "torch", "reference"):
        before = num_calls()
        settings = tiny_settings(f"model.implementation={implementation}", f"model.direction={direction}")
        run = charlm.train(settings, name=implementation, runs_dir=tmp_path)
        calls[implementation] = num_calls() - before
        expected = "native" if implementation == "auto" else implementation
        assert run.environment()["implementation"] == run.settings().model.implementation == expected
        assert run.environment()["kernels"] == describe_kernels()
    # There are 12 steps, each with a forward and a backward call.
    assert calls["auto"] == calls["native"] >= 24
    assert calls["torch"] == calls["reference"] == 0


@has_kernels
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_each_window_of_any_length_is_one_call(cell: str) -> None:
    network = build_model(ModelSettings(cell=cell, hidden_size=7, implementation="native"), V, seed=0)
    for T, mode in ((1, torch.no_grad), (2, torch.no_grad), (1, torch.enable_grad)):
        before = num_calls()
        with mode():
            network.read(torch.zeros(T, 3, dtype=torch.long), network.initial_state(3))
        assert num_calls() - before == 1


@has_kernels
def test_few_calls_lie_between_a_training_step_and_the_kernels(
    monkeypatch: pytest.MonkeyPatch, tiny_settings: MakeSettings, tmp_path: Path
) -> None:
    kernels = load_kernels()
    assert isinstance(kernels, Kernels)
    ours = str(Path(charlm.__file__).parent)
    paths: dict[str, set[tuple[str, ...]]] = {}

    def watched(name: str) -> Callable[..., int]:
        def call(*arguments: Any) -> int:
            frames = traceback.extract_stack()[:-1]
            while frames and frames[0].name != "take_step":
                caller = frames.pop(0)
            # Not where steps are tried out; and torch's own calls on the way back are not ours to spare.
            if frames and caller.filename.endswith("loop.py"):
                path = [frame.name for frame in frames if name != "backward" or frame.filename.startswith(ours)]
                paths.setdefault(name, set()).add(("the loop", *path, "the kernels"))
            return getattr(kernels, name)(*arguments)

        return call

    names = ("forward", "backward", "output")
    spies = replace(kernels, **{name: watched(name) for name in names})
    monkeypatch.setattr(native, "load_kernels", lambda: spies)
    settings = tiny_settings("model.implementation=native", "model.num_layers=2", "train.max_steps=1")
    charlm.train(settings, name="run", runs_dir=tmp_path)
    way = ("the loop", "take_step", "read_loss", "window_cost")
    assert paths == {
        "forward": {(*way, "run", "apply", "forward", "the kernels")},
        "output": {(*way, "cost", "apply", "forward", "the kernels")},
        "backward": {("the loop", "take_step", "backward", "the kernels")},
    }


@has_kernels
@pytest.mark.parametrize("embedding_size", ["null", "6"])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_a_run_ends_within_a_thousandth_of_a_nat_of_torchs(
    cell: str, embedding_size: str, tiny_settings: MakeSettings, tmp_path: Path
) -> None:
    ends = []
    for implementation in ("native", "torch"):
        settings = tiny_settings(
            f"model.implementation={implementation}",
            f"model.cell={cell}",
            f"model.embedding_size={embedding_size}",
            "model.num_layers=2",
            "model.dropout=0.3",
            "train.max_steps=60",
            "train.eval_every=60",
            "eval.baselines=false",
            "optimizer.learning_rate=0.04",
        )
        run = charlm.train(settings, name=implementation, runs_dir=tmp_path)
        ends.append(load_checkpoint(run, "last").state["val_nats_per_char"])
    # Rounding differs from the first step, and 60 steps magnify it.
    assert ends[0] == pytest.approx(ends[1], abs=1e-3)
    assert ends[0] < 2.5  # of ln 19 = 2.94: something has been learned


@has_kernels
def test_torchs_variable_chooses_an_older_instruction_set(monkeypatch: pytest.MonkeyPatch) -> None:
    best = best_instruction_set()
    for asked, expected in (("avx2", "x86-64-v3"), ("default", None), ("", best), ("nonsense", best)):
        monkeypatch.setenv("ATEN_CPU_CAPABILITY", asked)
        assert best_instruction_set() == expected


@pytest.mark.parametrize("machine", ["aarch64", "arm64"])
@pytest.mark.parametrize("asked", ["", "default", "avx2"])
def test_every_64_bit_arm_has_the_vectors_whatever_torchs_variable_says(
    machine: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor.platform, "machine", lambda: machine)
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", asked)
    assert best_instruction_set() == "aarch64"


@pytest.mark.parametrize(("system", "name"), [("linux", "libcharlm-aarch64.so"), ("darwin", "libcharlm-aarch64.dylib")])
def test_the_library_is_found_under_the_name_that_its_system_gives_it(
    system: str, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(library.sys, "platform", system)
    monkeypatch.setattr(library, "__file__", str(tmp_path / "library.py"))
    assert library_file("aarch64") is None
    (tmp_path / name).touch()
    assert library_file("aarch64") == tmp_path / name


# Without kernels.


def test_a_processor_without_a_version_has_no_kernels_and_says_so(without_kernels: str) -> None:
    assert load_kernels() == describe_kernels() == without_kernels


def test_a_library_that_was_not_compiled_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(library, "__file__", str(tmp_path / "library.py"))
    monkeypatch.setattr(library.sysconfig, "get_path", lambda _: str(tmp_path))
    assert load_kernels_for("x86-64-v3") == "the native kernels were not compiled when charlm was installed"


@has_kernels
def test_a_library_of_another_version_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    class Longer(library.Layer):
        _fields_ = (("one_more", ctypes.c_int64),)

    monkeypatch.setattr(library, "Layer", Longer)
    said = load_kernels_for(best_instruction_set() or "")
    assert isinstance(said, str)
    assert said.endswith("belongs to another version of charlm; install charlm again")


@pytest.mark.usefixtures("without_kernels")
@pytest.mark.parametrize(
    ("model", "expected"),
    [({"cell": "rnn"}, "torch"), ({"cell": "lstm"}, "torch"), ({"cell": "gru", "reset_after": False}, "reference")],
)
def test_auto_without_kernels_is_torch_where_torch_has_it(model: dict[str, Any], expected: str) -> None:
    assert choose_implementation(ModelSettings(**model)) == expected


def test_an_explicit_native_without_kernels_is_refused_with_the_reason(
    without_kernels: str, tiny_settings: MakeSettings, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        charlm.train(tiny_settings("model.implementation=native"), name="run", runs_dir=tmp_path)
    assert str(caught.value) == f"model.implementation native: {without_kernels}; use auto"


def test_native_refuses_by_name_the_activation_it_does_not_have() -> None:
    sigmoid = {"cell": "rnn", "activation": "sigmoid"}
    with pytest.raises(ConfigError, match=r"native: .* no model\.activation sigmoid; use auto"):
        choose_implementation(ModelSettings(**sigmoid, implementation="native"))
    assert choose_implementation(ModelSettings(**sigmoid)) == "reference"


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_native_refuses_a_device_by_name_and_auto_takes_torch_there(device: str) -> None:
    with pytest.raises(ConfigError, match=f"native: .* not on {device}; use auto"):
        choose_implementation(ModelSettings(implementation="native"), device)
    assert choose_implementation(ModelSettings(), device) == "torch"


def test_native_refuses_the_leaky_construction() -> None:
    with pytest.raises(ConfigError, match="leaky"):
        choose_implementation(ModelSettings(direction="leaky", implementation="native"))


@has_kernels
def test_in_another_dtype_a_native_network_runs_our_cells_and_says_so() -> None:
    shape = {"cell": "gru", "hidden_size": 7, "num_layers": 2}
    network = build_model(ModelSettings(**shape, implementation="native"), V, seed=0).double()
    reference = build_model(ModelSettings(**shape, implementation="reference"), V, seed=0).double()
    ids = torch.randint(V, (5, 3), generator=torch.Generator().manual_seed(0))
    before = num_calls()
    with pytest.warns(UserWarning, match=r"the native kernels compute in float32 on the CPU: torch\.float64 on cpu"):
        found = network(ids, network.initial_state(3))
    assert num_calls() == before
    assert_close(found, reference(ids, reference.initial_state(3)), rtol=0, atol=0)


@has_kernels
def test_a_model_trained_with_kernels_writes_and_is_measured_without(
    tiny_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings("model.implementation=native", "train.max_steps=60", "optimizer.learning_rate=0.02")
    run = charlm.train(settings, name="run", runs_dir=tmp_path)

    def results(run: Run) -> tuple[str, float, type]:
        model = charlm.open_run(run)
        figures = charlm.evaluate(model, split="val")
        network = restore_model(load_checkpoint(run))
        return "".join(charlm.generate(model, "the ", length=60)), figures.main.bits_per_char, type(network.recurrent)

    text, bits, native_type = results(run)
    with monkeypatch.context() as patch:
        patch.setattr(library, "best_instruction_set", lambda: None)
        load_kernels.cache_clear()
        other_text, other_bits, other_type = results(run)
    load_kernels.cache_clear()
    assert (native_type, other_type) == (NativeStack, TorchStack)
    assert other_text == text
    assert other_bits == pytest.approx(bits, abs=1e-5)


@has_kernels
def test_a_library_that_lacks_a_function_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    open_library = ctypes.CDLL

    class Older:
        def __init__(self, path: str) -> None:
            self.library = open_library(path)

        def __getattr__(self, name: str) -> Any:
            if name.startswith("charlm_linear"):
                raise AttributeError(f"undefined symbol: {name}")
            return getattr(self.library, name)

    monkeypatch.setattr(library.ctypes, "CDLL", Older)
    said = load_kernels_for(best_instruction_set() or "")
    assert isinstance(said, str)
    assert said.endswith("belongs to another version of charlm; install charlm again")

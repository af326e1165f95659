"""Training with bfloat16 products: what is recorded, what is measured, exact resuming, and when it is refused."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import charlm
from charlm.console.training import start_lines
from charlm.errors import ConfigError
from charlm.kernels.library import Kernels, load_kernels
from charlm.networks import implementations, native
from charlm.runs.checkpoints import load_checkpoint
from charlm.runs.run import Run
from charlm.settings.schema import Settings
from charlm.sweeps.plan import trial_name
from charlm.training.events import Start, Step
from charlm.training.experiment import prepare
from charlm.training.launch import train_reports
from charlm.training.resume import describe_change

MakeSettings = Callable[..., Settings]
ASKED = "train.precision=bfloat16"
MODELS = [
    ("model.cell=lstm",),
    ("model.cell=gru", "model.reset_after=false", "model.num_layers=2", "model.dropout=0.3", "model.embedding_size=5"),
    ("model.cell=rnn", "model.direction=bidirectional"),
]
pytestmark = pytest.mark.kernels


def has_instructions(monkeypatch: pytest.MonkeyPatch, *, has_bfloat16: bool) -> None:
    """Pretend that the processor has instructions for bfloat16, or that it has none; plain loops replace them."""
    kernels = load_kernels()
    assert isinstance(kernels, Kernels)
    pretended = replace(kernels, has_bfloat16=has_bfloat16)
    monkeypatch.setattr(implementations, "load_kernels", lambda: pretended)


@pytest.fixture
def bfloat16(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Allow bfloat16 on any processor, and return what counts the calls of layers that used it."""
    has_instructions(monkeypatch, has_bfloat16=True)
    kernels = load_kernels()
    assert isinstance(kernels, Kernels)
    return kernels.num_bfloat16_calls


def losses(reports: Iterator[object]) -> list[tuple[int, float, float]]:
    """Return each step with its loss and gradient norm."""
    return [
        (report.step, report.figures.main.nats, report.gradient_norm) for report in reports if isinstance(report, Step)
    ]


# What is computed and recorded.


def test_a_run_trains_in_bfloat16_and_records_it(
    bfloat16: Callable[[], int], tiny_settings: MakeSettings, tmp_path: Path
) -> None:
    before = bfloat16()
    run = charlm.train(tiny_settings(ASKED), name="rounded", runs_dir=tmp_path)
    # There are 12 steps, each with a forward and a backward call; evaluations and samples add none.
    assert bfloat16() - before == 24
    assert run.settings().train.precision == "bfloat16"
    state = json.loads((run.checkpoint_paths()[-1] / "state.json").read_text(encoding="utf-8"))
    assert state["fingerprint"]["precision"] == "bfloat16"
    plain = charlm.train(tiny_settings(), name="plain", runs_dir=tmp_path)
    assert bfloat16() - before == 24
    assert plain.settings().train.precision == "float32"


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("precision", "is_rounded"), [("bfloat16", True), ("float32", False)])
def test_the_output_layer_of_every_training_step_has_the_products_that_were_asked_for(
    precision: str,
    is_rounded: bool,
    model: tuple[str, ...],
    tiny_settings: MakeSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernels, calls = native.load_kernels(), Counter[str]()
    assert isinstance(kernels, Kernels)

    def counted(name: str) -> Callable[..., object]:
        def call(*given: object) -> object:
            # Evaluation computes without gradients, and in float32.
            calls[name] += not torch.is_inference_mode_enabled()
            return getattr(kernels, name)(*given)

        return call

    names = ("output", *(f"linear_{way}{end}" for way in ("forward", "backward") for end in ("", "_bf16")))
    spies = replace(kernels, **{name: counted(name) for name in names})
    monkeypatch.setattr(native, "load_kernels", lambda: spies)
    settings = tiny_settings(*model, f"train.precision={precision}")
    charlm.train(settings, name="run", runs_dir=tmp_path)
    used = {name for name in names if calls[name]}
    if is_rounded:
        assert used == {"linear_forward_bf16", "linear_backward_bf16"}
        assert calls["linear_forward_bf16"] == calls["linear_backward_bf16"] >= 12
    else:
        assert used in ({"output"}, {"linear_forward", "linear_backward"})


def test_results_are_those_of_the_network_in_float32(
    bfloat16: Callable[[], int], tiny_settings: MakeSettings, tmp_path: Path
) -> None:
    run = charlm.train(tiny_settings(ASKED), name="rounded", runs_dir=tmp_path)
    before = bfloat16()
    figures = charlm.evaluate(charlm.open_run(run), split="val")
    assert bfloat16() == before
    summary = run.summary()
    assert summary is not None
    assert summary["val_bpc"] == pytest.approx(figures.main.bits_per_char, abs=1e-6)


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("model", MODELS)
def test_the_steps_differ_from_those_in_float32_a_little(
    model: tuple[str, ...], tiny_settings: MakeSettings, tmp_path: Path
) -> None:
    kinds = {
        precision: losses(
            train_reports(tiny_settings(*model, f"train.precision={precision}"), name=precision, runs_dir=tmp_path)
        )
        for precision in ("float32", "bfloat16")
    }
    assert kinds["float32"] != kinds["bfloat16"]
    for ours, theirs in zip(kinds["bfloat16"], kinds["float32"], strict=True):
        assert ours == pytest.approx(theirs, rel=0.02)


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize(("precision", "is_named"), [("bfloat16", True), ("float32", False), ("auto", False)])
def test_the_header_names_it(
    precision: str,
    is_named: bool,
    tiny_settings: MakeSettings,
    tmp_path: Path,
) -> None:
    reports = train_reports(tiny_settings(f"train.precision={precision}"), name="run", runs_dir=tmp_path)
    (start,) = (report for report in reports if isinstance(report, Start))
    assert ("products in bfloat16" in "\n".join(start_lines(start))) == is_named


def test_items_are_trained_on_in_bfloat16_too(
    bfloat16: Callable[[], int], tiny_settings: MakeSettings, names_file: Path, tmp_path: Path
) -> None:
    before = bfloat16()
    settings = tiny_settings(f"corpus.path='{names_file}'", "corpus.items=lines", "sample.prefixes=null", ASKED)
    charlm.train(settings, name="names", runs_dir=tmp_path)
    assert bfloat16() - before >= 24


# Resuming.


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("model", MODELS)
def test_a_cut_run_is_the_uncut_run(model: tuple[str, ...], tiny_settings: MakeSettings, tmp_path: Path) -> None:
    whole = tiny_settings(*model, ASKED)
    expected = losses(train_reports(whole, name="whole", runs_dir=tmp_path))
    first = losses(train_reports(whole.replaced({"train.max_steps": 5}), name="cut", runs_dir=tmp_path))
    rest = losses(train_reports(None, name="cut", runs_dir=tmp_path, resume=True, overrides=["train.max_steps=12"]))
    assert first + rest == expected
    models = [load_checkpoint(Run(tmp_path / name), "last").model for name in ("whole", "cut")]
    assert all((models[0][key] == models[1][key]).all() for key in models[0])


@pytest.mark.usefixtures("bfloat16")
def test_a_run_may_go_on_in_another_precision_and_says_so(tiny_settings: MakeSettings, tmp_path: Path) -> None:
    charlm.train(tiny_settings(ASKED, "train.max_steps=5"), name="run", runs_dir=tmp_path)
    change = ["train.max_steps=7", "train.precision=float32"]
    start = next(iter(train_reports(None, name="run", runs_dir=tmp_path, resume=True, overrides=change)))
    assert isinstance(start, Start)
    assert start.note is not None
    assert "precision bfloat16 then, float32 now" in start.note


def test_a_run_goes_on_as_it_began_unless_it_is_told_otherwise(
    bfloat16: Callable[[], int], tiny_settings: MakeSettings, tmp_path: Path
) -> None:
    charlm.train(tiny_settings(ASKED, "train.max_steps=5"), name="run", runs_dir=tmp_path)
    before = bfloat16()
    asked = tiny_settings("train.precision=auto", "train.max_steps=7")
    list(train_reports(asked, name="run", runs_dir=tmp_path, resume=True))
    assert bfloat16() - before == 4


def test_a_fingerprint_without_a_precision_means_float32(tiny_settings: MakeSettings) -> None:
    now = prepare(tiny_settings()).fingerprint
    assert "precision" not in now
    assert describe_change(now, {**now, "precision": "float32"}) is None
    assert describe_change({**now, "precision": "float32"}, now) is None
    assert describe_change(now, {**now, "precision": "bfloat16"}) == (
        "precision float32 then, bfloat16 now: the bits of an uninterrupted run are not promised"
    )


# When it is refused.


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("implementation", ["torch", "reference"])
def test_another_implementation_is_refused_by_name(implementation: str, tiny_settings: MakeSettings) -> None:
    with pytest.raises(ConfigError, match=f"train.precision bfloat16 .* model.implementation is {implementation}"):
        prepare(tiny_settings(ASKED, f"model.implementation={implementation}"))


@pytest.mark.parametrize("setting", ["model.layer_norm=true", "model.direction=leaky"])
def test_a_network_that_the_kernels_do_not_have_is_refused(setting: str, tiny_settings: MakeSettings) -> None:
    with pytest.raises(ConfigError, match=r"train.precision bfloat16 is computed by the native implementation only"):
        prepare(tiny_settings(ASKED, setting))


def test_a_processor_without_the_instructions_is_refused_and_auto_is_not(
    tiny_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_instructions(monkeypatch, has_bfloat16=True)
    charlm.train(tiny_settings(ASKED, "train.max_steps=5"), name="run", runs_dir=tmp_path)
    has_instructions(monkeypatch, has_bfloat16=False)
    with pytest.raises(ConfigError, match=r"no instructions for it \(avx512_bf16\); use float32 or auto"):
        prepare(tiny_settings(ASKED))
    assert prepare(tiny_settings("train.precision=auto")).settings.train.precision == "float32"
    with pytest.raises(ConfigError, match=r"avx512_bf16"):
        list(train_reports(None, name="run", runs_dir=tmp_path, resume=True, overrides=["train.max_steps=7"]))


def test_a_machine_without_kernels_is_refused_with_the_reason(
    without_kernels: str, tiny_settings: MakeSettings
) -> None:
    with pytest.raises(ConfigError, match=f"native implementation only: {without_kernels}"):
        prepare(tiny_settings(ASKED))


def test_a_gpu_is_refused(tiny_settings: MakeSettings) -> None:
    settings = tiny_settings(ASKED)
    with pytest.raises(ConfigError, match="native implementation only: the native kernels run on the CPU"):
        implementations.choose_precision("bfloat16", settings.model, "torch", "cuda")


def test_the_default_changes_no_trials_name_and_bfloat16_does(tiny_settings: MakeSettings) -> None:
    names = {trial_name((), None, tiny_settings(*options)) for options in ((), ("train.precision=float32",))}
    assert len(names) == 1
    assert trial_name((), None, tiny_settings(ASKED)) not in names


def test_a_precision_that_there_is_not_is_answered_with_all_that_there_are(
    tiny_settings: Callable[..., Settings],
) -> None:
    with pytest.raises(ConfigError, match="must be one of 'float32', 'bfloat16', 'auto', got 'bf16'"):
        tiny_settings("train.precision=bf16")

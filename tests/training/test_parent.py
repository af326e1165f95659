"""Training on keeps the parent's network, cleaning and vocabulary, and measures both texts before and after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from charlm.errors import ConfigError, RunError, StoppedError
from charlm.library.measuring import evaluate
from charlm.library.models import open_run
from charlm.library.training import train
from charlm.runs.checkpoints import load_checkpoint, read_checkpoint
from charlm.runs.parents import open_parent
from charlm.runs.run import Run
from charlm.settings.loading import load_run_settings, load_settings
from charlm.settings.schema import Settings
from charlm.training.events import Start
from charlm.training.launch import train_reports
from charlm.training.parent import inherit_settings

Train = Callable[..., Run]
FEW = ("train.max_steps=4", "train.eval_every=4", "eval.baselines=false")


@pytest.fixture
def new_text(tmp_path: Path, corpus_text: str) -> Path:
    """Return a text in another order, with a character that the old one lacks."""
    path = tmp_path / "new.txt"
    path.write_text("".join(reversed(corpus_text.splitlines(keepends=True)))[:1500].replace("moon", "m\xf6n"), "utf-8")
    return path


@pytest.fixture
def train_on(new_text: Path, tmp_path: Path) -> Train:
    """Return a function that trains a run on the new text from another."""

    def run(parent: Run, *overrides: str, name: str = "child") -> Run:
        start = [f"start.run={parent.path}", f"corpus.path='{new_text}'", "start.new_characters=extend"]
        tiny = ["sampling.batch_size=4", "sampling.seq_len=16", "train.threads=1", "sample.length=2"]
        return train(load_settings(overrides=[*start, *tiny, *FEW, *overrides]), name=name, runs_dir=tmp_path / "runs")

    return run


def parent_of(tiny_settings: Callable[..., Settings], folder: Path, *overrides: str) -> Run:
    """Return a run of a few steps."""
    return train(tiny_settings(*FEW, *overrides), name="parent", runs_dir=folder)


def test_a_run_starts_with_the_weights_of_the_parents_best_checkpoint(trained: Run, train_on: Train) -> None:
    run = train_on(trained, "start.new_characters=drop", "checkpoint.keep_last=9")
    best = load_checkpoint(trained, "best")
    first = read_checkpoint(run.checkpoint_paths()[0])
    assert (first.step, first.vocabulary) == (0, best.vocabulary)
    assert all(np.array_equal(first.model[name], weight) for name, weight in best.model.items())
    assert not any(name.startswith("optimizer") for name in first.training), "the optimiser is fresh"
    assert run.settings().start.run == str(trained.checkpoints_folder / f"step-{best.step:08d}")
    parent = run.environment().parent
    assert (parent.name, parent.path, parent.step) == ("trained", str(trained.path), best.step)
    assert parent.weights_sha256 == open_parent(str(trained.path), folder=Path()).weights_sha256


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.cell=gru", "model.zoneout=0.3", "vocabulary.min_count=2"],
        ["model.direction=backward", "corpus.clean.lowercase=true"],
        ["model.direction=bidirectional", "model.embedding_size=4"],
    ],
)
def test_both_texts_are_measured_before_and_after(
    tiny_settings: Callable[..., Settings], train_on: Train, tmp_path: Path, overrides: list[str]
) -> None:
    parent = parent_of(tiny_settings, tmp_path, *overrides)
    # Zoneout changes how a network reads, but not how the parent was measured.
    run = train_on(parent, "model.zoneout=0.1")
    facts, summary, old_summary = run.environment().parent, run.summary(), parent.summary()
    assert facts.added == "\xf6"
    assert facts.old_val.bpc == old_summary.val.bpc
    assert (summary.parent_val, summary.parent_old_val) == (facts.val, facts.old_val)
    assert summary.old_text is None
    child = open_run(run.path)
    assert evaluate(child, split="val").main.bits_per_char == summary.val.bpc, "the vocabulary is the checkpoint's"
    val = tmp_path / "val.txt"
    text = Path(parent.settings().corpus.path[0]).read_text("utf-8")
    val.write_text(text[int(len(text) * 0.9) : int(len(text) * 0.95)], "utf-8")
    assert summary.old_val.bpc == pytest.approx(evaluate(child, files=[val]).main.bits_per_char, rel=1e-6)
    both = summary.old_val.both_ways is not None, facts.val.both_ways is not None
    assert both == (run.settings().model.direction == "bidirectional",) * 2, "read back with all readouts"


def test_the_old_models_result_is_that_of_its_own_weights(trained: Run, train_on: Train, new_text: Path) -> None:
    run = train_on(trained, "start.new_characters=drop")
    text = new_text.read_text("utf-8").replace("\xf6", "")
    (new_text.parent / "val.txt").write_text(text[int(len(text) * 0.9) : int(len(text) * 0.95)], "utf-8")
    expected = evaluate(trained, files=[new_text.parent / "val.txt"]).main.bits_per_char
    assert run.summary().parent_val.bpc == pytest.approx(expected, rel=1e-6)


def test_an_old_text_that_is_gone_or_the_same_is_said_in_one_sentence(
    tiny_settings: Callable[..., Settings], train_on: Train, tmp_path: Path, corpus_text: str
) -> None:
    old = tmp_path / "old.txt"
    old.write_text(corpus_text, "utf-8")
    parent = parent_of(tiny_settings, tmp_path, f"corpus.path='{old}'")
    assert train_on(parent, f"corpus.path='{old}'", name="same").summary().old_text == (
        "the run parent has the same validation split"
    )
    old.write_text(corpus_text + "the end\n", "utf-8")
    changed = train_on(parent, name="changed").summary()
    assert changed.old_val is None
    assert "the text of the run parent was not read: it has changed" in changed.old_text
    old.unlink()
    gone = train_on(parent, name="gone").summary()
    assert gone.old_text.startswith(f"the text of the run parent was not read: there is no corpus file {old}")
    assert gone.parent_val is not None


def test_what_contradicts_the_parent_is_refused_by_name_and_regularisation_may_change(trained: Run) -> None:
    parent = open_parent(str(trained.path), folder=Path())

    def settings(*overrides: str) -> Settings:
        return inherit_settings(load_settings(overrides=["corpus.name=stories", "start.run=a", *overrides]), parent)

    with pytest.raises(ConfigError) as refused:
        settings("model.hidden_size=9", "model.init=he", "corpus.clean.lowercase=true", "vocabulary.min_count=3")
    for key in (
        "model.hidden_size is 8 there, and 9",
        "model.init is torch",
        "clean.lowercase",
        "vocabulary.min_count",
    ):
        assert key in str(refused.value)
    kept = settings(
        "model.hidden_size=8", "model.output_dropout=0.2", "model.zoneout=0.1", "model.implementation=torch"
    )
    assert (kept.model.hidden_size, kept.model.output_dropout, kept.model.implementation) == (8, 0.2, "torch")
    with pytest.raises(ConfigError, match="dropout acts between layers"):
        settings("model.dropout=0.2")
    null_means = settings("model.cell=lstm").model
    assert null_means == trained.settings().model.replaced({"implementation": "auto"})


def test_a_configuration_of_the_run_repeats_it(trained: Run, train_on: Train, tmp_path: Path) -> None:
    first = train_on(trained)
    again = train(load_run_settings(first.path / "config.yaml"), name="again", runs_dir=tmp_path / "runs")
    weights, others = (load_checkpoint(run).model for run in (first, again))
    assert all(np.array_equal(others[name], weight) for name, weight in weights.items())
    assert again.settings() == first.settings()


def test_the_start_report_has_the_results_and_a_stop_before_it_leaves_nothing(
    trained: Run, new_text: Path, tmp_path: Path
) -> None:
    settings = load_settings(overrides=[f"start.run={trained.path}", f"corpus.path='{new_text}'", *FEW])
    runs = tmp_path / "none"
    checks = iter([None, "interrupt"])
    with pytest.raises(StoppedError, match="before anything was written"):
        list(
            train_reports(
                settings.replaced({"start.new_characters": "drop", "sampling.batch_size": 4, "sampling.seq_len": 16}),
                runs_dir=runs,
                should_stop=lambda: next(checks),
            )
        )
    assert not runs.exists()
    with pytest.raises(RunError, match="there is no run gone"):
        list(train_reports(settings.replaced({"start.run": "gone"}), runs_dir=runs))


def test_training_on_needs_a_text() -> None:
    with pytest.raises(ConfigError, match=r"needs a text: charlm train more.txt --from a"):
        load_settings(overrides=["start.run=a"])
    with pytest.raises(ConfigError, match=r"start.new_characters belongs to start.run"):
        load_settings(overrides=["start.new_characters=drop"])


def test_a_start_report_tells_what_the_old_model_makes_of_the_text(trained: Run, train_on: Train) -> None:
    run = train_on(trained, name="told")
    settings = load_run_settings(run.path / "config.yaml")
    start = next(iter(train_reports(settings, name="told-2", runs_dir=run.path.parent)))
    assert isinstance(start, Start)
    assert start.facts.parent == run.environment().parent

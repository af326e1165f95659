"""`charlm.worked_step`: which text a run's worked steps read, and that its numbers are those of the run."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from calculator import calculate

import charlm
from charlm.errors import ConfigError, RunError
from charlm.insight.worked_records import Topic, WorkedStep
from charlm.library.training import train
from charlm.library.worked_markdown import WIDTH, worked_markdown
from charlm.runs.run import Run
from charlm.settings.schema import Settings

TOPICS = get_args(Topic)
Tiny = Callable[..., Settings]


@pytest.fixture(scope="module")
def moved(tiny_settings: Tiny, corpus_text: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run whose corpus has been replaced by another text."""
    folder = tmp_path_factory.mktemp("moved")
    corpus = folder / "corpus.txt"
    corpus.write_text(corpus_text, encoding="utf-8")
    run = train(tiny_settings(f"corpus.path='{corpus}'", "eval.baselines=false"), name="moved", runs_dir=folder)
    corpus.write_text("the cat sat.\n" * 100, encoding="utf-8")
    return run


def assert_sound(step: WorkedStep) -> None:
    """Check that each line can be recomputed, that JSON holds all, and that the Markdown fits a terminal."""
    for line in step.lines:
        assert math.isfinite(line.value)
        if line.terms and "within" not in line.formula:
            assert calculate(line) == pytest.approx(line.value, rel=1e-5, abs=1e-9), line
    record = json.loads(json.dumps(step.as_record(), allow_nan=False))
    assert [len(part["lines"]) for part in record["parts"]] == [len(part.lines) for part in step.parts]
    is_fenced = False
    for row in worked_markdown(step).splitlines():
        is_fenced ^= row.startswith("```")
        assert not is_fenced or len(row) <= WIDTH + 2


@pytest.mark.parametrize("topic", TOPICS)
def test_a_run_reads_the_beginning_of_its_validation_text(topic: Topic, trained: Run, corpus_text: str) -> None:
    step = charlm.worked_step(trained, topic=topic)
    assert_sound(step)
    assert (step.topic, step.run, step.network) == (topic, "trained", "LSTM, 1 layer of 8 units")
    text = step.passage.context + step.passage.shown
    if topic == "clipping":
        assert text == corpus_text[: len(text)][:16]
        assert "4 rows of 16 characters" in step.passage.source
    else:
        assert text == corpus_text[2_700:2_744]
        assert len(step.passage.shown) == (12 if topic == "perplexity" else 1)


def test_perplexity_is_that_of_score_and_stands_beside_the_run_s_own_result(trained: Run, corpus_text: str) -> None:
    step = charlm.worked_step(trained, topic="perplexity")
    scored = list(charlm.score(trained, corpus_text[2_700:2_744]))[-12:]
    bits = [each.bits for each in scored]
    assert [line.value / math.log(2) for line in step.parts[0].lines] == pytest.approx(bits, rel=1e-5)
    summary = trained.summary()
    assert summary is not None
    assert summary.val is not None
    assert step.parts[2].lines[0].value == summary.val.perplexity
    assert f"{summary.val.chars:,} predicted characters" in step.parts[2].text


def test_recorded_norms_are_those_of_the_evaluations(trained: Run) -> None:
    step = charlm.worked_step(trained, topic="clipping")
    norms = sorted(each.gradient_norm for each in trained.history().evaluations)
    values = {line.symbol: line.value for line in step.parts[2].lines}
    assert (values["largest"], values["median"]) == (norms[-1], norms[len(norms) // 2])


@pytest.mark.parametrize("topic", TOPICS)
def test_a_changed_corpus_is_replaced_by_what_the_model_writes(topic: Topic, moved: Run) -> None:
    step = charlm.worked_step(moved, topic=topic)
    assert_sound(step)
    assert step.passage.source.startswith("a text that the model wrote itself, because its corpus")
    assert step == charlm.worked_step(moved, topic=topic)


@pytest.mark.parametrize("topic", TOPICS)
def test_an_exported_file_has_worked_steps_too(
    topic: Topic, trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    charlm.export_model(trained, "model.charlm")
    step = charlm.worked_step("model.charlm", topic=topic)
    assert_sound(step)
    assert step.passage.source.startswith("a text that the model wrote itself")
    assert topic != "clipping" or not step.parts[2].lines


@pytest.mark.parametrize(
    "changes",
    [
        ("model.direction=backward",),
        ("model.direction=bidirectional", "model.cell=rnn"),
        ("sample.prefixes=null", "corpus.clean.letters=true"),
        ("corpus.items=lines", "sample.prefixes=null", "model.direction=backward"),
    ],
    ids=" ".join,
)
def test_every_kind_of_model_writes_a_text_of_its_own(
    changes: tuple[str, ...], tiny_settings: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings(*changes, "train.max_steps=2", "eval.baselines=false")
    charlm.export_model(train(settings, name="away", runs_dir=tmp_path), tmp_path / "away.charlm")
    monkeypatch.chdir(tmp_path)
    for topic in TOPICS:
        step = charlm.worked_step("away.charlm", topic=topic)
        assert_sound(step)
        assert step.passage.source.startswith("a text that the model wrote itself")


@pytest.mark.parametrize("topic", TOPICS)
def test_an_item_is_read_from_its_begin(topic: Topic, listed: Run) -> None:
    step = charlm.worked_step(listed, topic=topic)
    assert_sound(step)
    text = step.passage.context + step.passage.shown
    assert text.startswith("\n")
    if topic != "clipping":
        assert text.count("\n") <= 2
        assert step.passage.source == "an item of its validation split, from its beginning"


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize(
    ("direction", "note"), [("backward", "reads backwards"), ("bidirectional", "bidirectional network")]
)
def test_other_directions_say_what_they_are(
    topic: Topic, direction: str, note: str, tiny_settings: Tiny, tmp_path: Path, corpus_text: str
) -> None:
    changes = (f"model.direction={direction}", "train.max_steps=2", "eval.baselines=false", "model.cell=gru")
    run = train(tiny_settings(*changes), name="turned", runs_dir=tmp_path)
    step = charlm.worked_step(run, topic=topic)
    assert_sound(step)
    assert note in " ".join(step.notes)
    if topic == "perplexity" and direction == "backward":
        assert step.passage.context + step.passage.shown == corpus_text[2_700:2_850][::-1][:44]
        assert step.passage.source == "the end of its validation text"


def test_a_leaky_model_is_refused_by_name(tiny_settings: Tiny, tmp_path: Path) -> None:
    changes = ("model.direction=leaky", "train.max_steps=1", "eval.baselines=false", "model.cell=gru")
    run = train(tiny_settings(*changes), name="leaky", runs_dir=tmp_path)
    with pytest.raises(ConfigError, match="the model of run leaky has no worked step"):
        charlm.worked_step(run)


def test_what_is_not_there_is_refused(trained: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="equations, backpropagation, perplexity, clipping"):
        charlm.worked_step(trained, topic="sizes")
    with pytest.raises(RunError, match="there is no run"):
        charlm.worked_step(tmp_path / "nothing")


def test_a_training_without_a_validation_split_reads_its_training_text(tiny_settings: Tiny, tmp_path: Path) -> None:
    changes = ("corpus.split=none", "train.max_steps=1", "optimizer.clip_norm=null", "optimizer.clip_value=0.01")
    run = train(tiny_settings(*changes), name="all", runs_dir=tmp_path)
    step = charlm.worked_step(run, topic="perplexity")
    assert step.passage.source == "the beginning of its training text"
    assert len(step.parts) == 2
    assert_sound(charlm.worked_step(run, topic="clipping"))


def test_a_run_s_name_is_no_markdown(trained: Run, tmp_path: Path) -> None:
    shutil.copytree(trained.path, tmp_path / "a_b*c`d")
    text = worked_markdown(charlm.worked_step(Run(tmp_path / "a_b*c`d")))
    assert text.startswith("## In the network of a\\_b\\*c\\`d\n")

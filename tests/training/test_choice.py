"""What is chosen by validation, and what is not where that is a handful of characters."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from charlm.errors import CharlmWarning
from charlm.library.training import train
from charlm.runs.checkpoints import load_checkpoint
from charlm.runs.choice import MIN_CHOICE_CHARS, choice_chars, choice_warnings
from charlm.runs.facts import PartFacts, SplitFacts
from charlm.runs.run import Run
from charlm.settings.loading import load_settings
from charlm.settings.schema import Settings
from charlm.training.events import Evaluation, Start
from charlm.training.launch import train_reports

MakeSettings = Callable[..., Settings]
FEW = "corpus.split=[2700,20,280]"
SHORT = (FEW, "train.max_steps=9", "train.eval_every=3", "eval.baselines=false")
WARNING = (
    "validation has only 19 predicted characters and a choice needs 50: the last checkpoint is used as the best; give "
    "more text, or more of it to validation (corpus.split, eval.max_chars)"
)


def figures(run: Run) -> list[float | None]:
    """Return the validation results that a run's checkpoints hold."""
    paths = run.checkpoint_paths()
    return [json.loads((path / "state.json").read_bytes())["val_nats_per_char"] for path in paths]


@pytest.mark.parametrize(
    ("val", "max_chars", "expected"), [(None, 20_000, None), (7, 20_000, 6), (51, 20_000, 50), (9_000, 20, 19)]
)
def test_a_choice_is_made_by_what_an_evaluation_predicts(val: int | None, max_chars: int, expected: int | None) -> None:
    part = None if val is None else PartFacts(chars=val, sha256="0" * 64)
    split = SplitFacts(train=PartFacts(chars=90, sha256="0" * 64), val=part)
    settings = load_settings(overrides=[f"eval.max_chars={max_chars}"])
    assert choice_chars(settings, split) == expected
    is_warned_of = expected is not None and expected < MIN_CHOICE_CHARS
    assert len(list(choice_warnings(settings, expected))) == is_warned_of


def test_nothing_is_chosen_by_a_handful_of_characters(tiny_settings: MakeSettings, tmp_path: Path) -> None:
    reports = list(train_reports(tiny_settings(*SHORT), name="few", runs_dir=tmp_path))
    run = Run(tmp_path / "few")
    start = reports[0]
    assert isinstance(start, Start)
    assert [each.sentence for each in start.notices] == [WARNING]
    assert not any(report.is_best for report in reports if isinstance(report, Evaluation))
    assert set(figures(run)) == {None}
    assert load_checkpoint(run, "best").step == 9
    summary = run.summary()
    assert summary
    assert (summary.best_step, summary.is_chosen) == (9, False)


def test_enough_of_them_choose(tiny_settings: MakeSettings, tmp_path: Path) -> None:
    settings = tiny_settings("corpus.split=[2700,51,249]", *SHORT[1:])
    (start, *reports) = train_reports(settings, name="enough", runs_dir=tmp_path)
    assert isinstance(start, Start)
    assert not any("stands in for the best" in notice.sentence for notice in start.notices)
    assert any(report.is_best for report in reports if isinstance(report, Evaluation))
    run = Run(tmp_path / "enough")
    assert any(figure is not None for figure in figures(run))
    assert "is_chosen" not in (run.summary() or {})


def test_whatever_listens_to_so_few_characters_is_named(tiny_settings: MakeSettings) -> None:
    few = SplitFacts(train=PartFacts(chars=90, sha256="0" * 64), val=PartFacts(chars=7, sha256="0" * 64))
    settings = tiny_settings("train.early_stopping=2", "optimizer.schedule.method=plateau")
    _, *listeners = choice_warnings(settings, choice_chars(settings, few))
    assert listeners == [
        f"{key} depends on 6 predicted characters of validation, and so on chance"
        for key in ("train.early_stopping", "optimizer.schedule.method plateau")
    ]


def test_a_run_that_was_cut_chooses_as_the_uncut_one_does(tiny_settings: MakeSettings, tmp_path: Path) -> None:
    settings = tiny_settings(*SHORT)
    train(settings, name="whole", runs_dir=tmp_path)
    steps = [0]
    for report in train_reports(
        settings, name="cut", runs_dir=tmp_path, should_stop=lambda: "interrupt" if steps[-1] == 5 else None
    ):
        steps.append(getattr(report, "step", 0))
    resumed = train(settings, name="cut", runs_dir=tmp_path, resume=True)
    assert figures(resumed) == figures(Run(tmp_path / "whole")) == [None, None]


def test_an_older_run_keeps_its_choice_with_a_warning_about_what_it_is_worth(
    tiny_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, charlm_command: Callable[..., Result]
) -> None:
    settings = tiny_settings(*SHORT, "optimizer.learning_rate=1.0")
    # An older charlm chose by any number of characters.
    with monkeypatch.context() as older:
        older.setattr("charlm.runs.choice.MIN_CHOICE_CHARS", 1)
        run = train(settings, name="old", runs_dir=tmp_path)
    best = load_checkpoint(run, "last").state.val_nats_per_char
    assert best is not None
    arguments = ("generate", "--run=old", "--prefix=the ", "--length=3", f"--runs-dir={tmp_path}")
    step = json.loads(charlm_command(*arguments, "--json").stdout)["step"]
    sentence = (
        f"charlm: the best checkpoint, step {step}, was chosen by 19 predicted characters of validation, and a choice "
        "needs 50: --checkpoint last uses step 9\n"
    )
    assert step < 9
    assert charlm_command(*arguments).stderr == sentence
    assert charlm_command(*arguments, "--checkpoint=last").stderr == ""
    # A resumed run keeps choosing as it did.
    with pytest.warns(CharlmWarning, match="was chosen by 19 predicted characters"):
        train(name="old", runs_dir=tmp_path, resume=True, overrides=["train.max_steps=15"])
    assert any(figure is not None for figure in figures(run))


def test_the_end_of_training_says_that_nothing_was_chosen(
    tiny_options: list[str], tmp_path: Path, charlm_command: Callable[..., Result]
) -> None:
    options = [*tiny_options, f"--runs-dir={tmp_path}", *(f"--set={each}" for each in SHORT)]
    outcome = charlm_command("train", *options, "--run=few")
    assert (
        "quality: unknown, because 19 predicted characters of validation are too few to judge it by, " in outcome.stdout
    )
    told = charlm_command("info", "few", f"--runs-dir={tmp_path}").stdout
    reason = "step 9, the last one: choosing the best takes at least 50 predicted characters of validation\n"
    assert f"best checkpoint       {reason}" in told
    assert f"warning: {WARNING}\n" in outcome.stderr
    outcome = charlm_command("train", *options, "--set=corpus.split=none", "--run=none")
    told = charlm_command("info", "none", f"--runs-dir={tmp_path}").stdout
    assert "step 9, the last one: without a validation split, none can be chosen as the best\n" in told
    assert "warning" not in outcome.stderr
    shown = charlm_command("compare", "few", f"--runs-dir={tmp_path}")
    assert (
        "charlm: the validation results of few cover 19 predicted characters, and a comparison needs at least 50\n"
        in shown.stderr
    )

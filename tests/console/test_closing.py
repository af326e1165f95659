"""How a training ends: five lines that a beginner can read, with all that they must know; the rest is in `info`."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from typer.testing import Result

from charlm.console.results import result_rows
from charlm.console.summary import Closing, show_closing
from charlm.console.training import TrainingView
from charlm.reports.diagnosis import Diagnosis
from charlm.runs.facts import ParentFacts
from charlm.runs.rates import Rates, Standing
from charlm.runs.records import Sample, Summary
from charlm.runs.run import Run
from charlm.settings.model import LEAKY_WARNING
from charlm.training.events import Samples

Charlm = Callable[..., Result]
BASELINES = {"uniform": 6.0, "bigram": 3.0, "5-gram": 2.0, "xz": 2.5}
SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ADVICE = "lower optimizer.learning_rate or optimizer.clip_norm"


def rates(bpc: float, baselines: Mapping[str, float] | None = None) -> Rates:
    """Return the results of a split of 100 predicted characters."""
    standing = Standing(
        bits_per_byte=bpc,
        bpc_interval=None,
        baselines=baselines,
        beats_5gram=None if baselines is None else bpc < baselines["5-gram"],
    )
    return Rates(bpc=bpc, perplexity=2**bpc, chars=100, standing=standing)


def closing(*, diagnosis: Diagnosis | None = None, sample: Sample | None = None, **changes: object) -> Closing:
    """Return how a sound run ended, better than its baselines, with changes to its closing record."""
    summary = Summary(
        kind="end",
        run="run",
        stopped_by="epochs",
        steps=60,
        epochs=2,
        best_step=40,
        seconds=1.0,
        chars_per_second=1.0,
        train=rates(1.5),
        val=rates(1.9, BASELINES),
        test=rates(2.1, BASELINES),
    )
    summary = replace(summary, **changes)
    commands = ("charlm generate --run run", "charlm info run", "charlm train --minutes 10")
    return Closing(summary, Path("runs/run"), sample, diagnosis, *commands)


def rows_of(shown: str) -> dict[str, str]:
    """Return the five lines by their names."""
    rows = dict(line.split(": ", 1) for line in shown.splitlines())
    assert (list(rows), shown.count("\n")) == (["result", "quality", "sample", "run", "next"], 5)
    return rows


@pytest.fixture
def rows(capsys: pytest.CaptureFixture[str]) -> Callable[[Closing], dict[str, str]]:
    """Return what gives the lines that a pipe gets."""

    def show(ended: Closing) -> dict[str, str]:
        show_closing(ended)
        return rows_of(capsys.readouterr().out)

    return show


Rows = Callable[[Closing], dict[str, str]]


# Result and quality.


def test_a_sound_run_says_what_it_reached_and_what_it_is_better_than(rows: Rows) -> None:
    assert rows(closing(diagnosis=Diagnosis("sound", "sound: validation has settled"))) == {
        "result": "perplexity 3.73 (1.900 bits per character) on the validation split",
        "quality": "better than a 5-gram (2.000 bits), the best baseline",
        "sample": "none was written",
        "run": "runs/run (details: charlm info run)",
        "next": "charlm generate --run run",
    }


@pytest.mark.parametrize(
    ("bpc", "quality"),
    [
        (1.999, "better than a 5-gram (2.000 bits), the best baseline"),
        (2.0, "no better than a 5-gram (2.000 bits), the best baseline, but better than a bigram model (3.000 bits)"),
        (2.7, "no better than a 5-gram (2.000 bits), the best baseline, but better than a bigram model (3.000 bits)"),
        (7.0, "no better than a 5-gram (2.000 bits), the best baseline"),
    ],
)
def test_the_best_baseline_is_named_and_whether_it_is_beaten(rows: Rows, bpc: float, quality: str) -> None:
    assert rows(closing(val=rates(bpc, BASELINES)))["quality"] == quality


@pytest.mark.parametrize(
    ("name", "words"),
    [("3-gram", "a 3-gram"), ("8-gram", "an 8-gram"), ("11-gram", "an 11-gram"), ("7-gram", "a 7-gram")],
)
def test_the_best_baseline_need_not_be_the_5_gram(rows: Rows, name: str, words: str) -> None:
    assert rows(closing(val=rates(1.9, BASELINES | {name: 1.8})))["quality"] == (
        f"no better than {words} (1.800 bits), the best baseline, but better than a 5-gram (2.000 bits)"
    )


def test_a_compressor_which_learns_from_the_text_too_is_not_counted(rows: Rows) -> None:
    known = BASELINES | {"xz": 1.2, "bzip2": 1.1}
    assert rows(closing(val=rates(1.9, known)))["quality"] == "better than a 5-gram (2.000 bits), the best baseline"
    assert rows(closing(val=rates(1.9, {"uniform": 1.0, "xz": 1.2, "5-gram": 3.0})))["quality"] == (
        "no better than a uniform guess (1.000 bits), the best baseline, but better than a 5-gram (3.000 bits)"
    )
    shown = dict(result_rows(closing(val=rates(1.9, known)).summary))
    assert shown["validation, baselines"] == "uniform 6.000, bigram 3.000, 5-gram 2.000 bits per character"
    assert shown["validation, adaptive"] == ("bzip2 1.100, xz 1.200 bits per character; these learn from this text too")
    assert "validation, warning" not in shown


def test_without_a_validation_split_the_training_result_is_shown_as_such(rows: Rows) -> None:
    shown = rows(closing(val=None, test=None, is_chosen=False))
    assert shown["result"] == (
        "perplexity 2.83 (1.500 bits per character) on the training split, during the last epoch"
    )
    assert shown["quality"] == "not measured on any other text, because the corpus has no validation split"
    assert rows(closing(val=None, test=None, epochs=0))["result"].endswith("during the unfinished first epoch")
    judged = rows(closing(val=None))["quality"]
    assert judged.startswith("2.100 bits per character on the test split, no better than a 5-gram (2.000 bits)")


def test_a_run_whose_steps_were_all_skipped_has_no_result(rows: Rows) -> None:
    shown = rows(closing(train=None, val=None, test=None, num_skipped_steps=3, num_rollbacks=1))
    assert shown["result"] == "none: every training step was skipped, because its loss was not a finite number"
    reason = "3 steps skipped and 1 rollback made, because a loss was not finite"
    assert shown["quality"].endswith(f"; {reason}")
    trained = dict(result_rows(closing(num_skipped_steps=3, num_rollbacks=1).summary))["trained"]
    assert trained.endswith(f"; {reason}")


def test_a_run_that_has_not_finished_learning_shows_the_command_that_goes_on(rows: Rows) -> None:
    diagnosis = Diagnosis("still_falling", "still falling: from 1.234 to 1.123 nats", ADVICE)
    quality = rows(closing(diagnosis=diagnosis))["quality"]
    assert quality.endswith("; it has not finished learning, go on with: charlm train --minutes 10")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("diverged", "training diverged"),
        ("worse_than_uniform", "it has learned next to nothing"),
        ("overfit", "it has begun to learn its training text by heart"),
        ("underfit", "it stopped improving too early"),
    ],
)
def test_whatever_is_the_matter_is_said_with_its_advice(rows: Rows, kind: str, words: str) -> None:
    diagnosis = Diagnosis(kind, f"{kind}: from 1.234 to 2.345 nats", ADVICE)  # pyright: ignore[reportArgumentType]
    assert rows(closing(diagnosis=diagnosis))["quality"] == (
        f"better than a 5-gram (2.000 bits), the best baseline; {words}: {ADVICE}"
    )


def test_too_short_a_validation_split_is_compared_with_nothing(rows: Rows) -> None:
    diagnosis = Diagnosis("too_short", "too short a text to judge: validation is 6 characters", "give more text")
    few = replace(rates(1.9, BASELINES), chars=6)
    assert rows(closing(diagnosis=diagnosis, val=few, is_chosen=False))["quality"] == (
        "unknown, because 6 predicted characters of validation are too few to judge it by, or to choose the best "
        "checkpoint (50 are needed); give more text"
    )
    # A long split of which each evaluation reads little is read whole at the end.
    assert rows(closing(diagnosis=diagnosis, is_chosen=False))["quality"] == (
        "better than a 5-gram (2.000 bits), the best baseline; the last checkpoint was kept, because each evaluation "
        "read too little text to choose the best; give more text"
    )


def test_early_stopping_is_said_with_the_step_that_was_kept(rows: Rows) -> None:
    assert rows(closing(stopped_by="early_stopping"))["quality"].endswith(
        "; training stopped early, because validation no longer improved (best at step 40)"
    )


# Samples.


def test_a_sample_is_one_line_with_its_prefix_and_shortened(rows: Rows) -> None:
    assert rows(closing(sample=Sample(prefix="The ", continuation="cat\nsat")))["sample"] == r"'The cat\nsat'"
    assert rows(closing(sample=Sample(suffix=" end", continuation="the")))["sample"] == "'the end'"
    long = rows(closing(sample=Sample(prefix="p" * 500, continuation="w" * 500)))["sample"]
    assert long == repr("p" * 60 + "w" * 200 + "...")
    backward = rows(closing(sample=Sample(suffix="s" * 500, continuation="w" * 500)))["sample"]
    assert backward == repr("..." + "w" * 200 + "s" * 60)


# On a terminal.


class Terminal(StringIO):
    """A terminal in this process."""

    def isatty(self) -> bool:
        """Say that it is one."""
        return True


@pytest.fixture(params=[80, 60])
def panel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[Closing], list[str]]:
    """Return what gives the lines on a terminal of 80 and of 60 columns, without colours."""

    def show(ended: Closing) -> list[str]:
        terminal = Terminal()
        for name, value in (("TERM", "xterm-256color"), ("COLUMNS", str(request.param)), ("LINES", "24")):
            monkeypatch.setenv(name, value)
        with monkeypatch.context() as seat:
            seat.setattr("sys.stdout", terminal)
            show_closing(ended)
        lines = SEQUENCE.sub("", terminal.getvalue()).splitlines()
        assert all(len(line) <= request.param for line in lines if not line.startswith("next: "))
        return lines

    return show


def test_a_terminal_gets_a_panel_and_below_it_a_command_to_copy(panel: Callable[[Closing], list[str]]) -> None:
    command = "charlm generate --run 20261121-175412-gru-224 --prefix 'Once upon a time there was '"
    sample = Sample(prefix="The ", continuation="\x1b[2Jman [bold]went[/bold] :smile:\nhome " * 3)
    diagnosis = Diagnosis("diverged", "diverged: the training loss rose", ADVICE)
    first, *lines, last, following = panel(replace(closing(diagnosis=diagnosis, sample=sample), next_command=command))
    assert first.startswith("╭─ training is done ─")
    assert last.startswith("╰─")
    assert following == f"next: {command}"
    shown = " ".join(" ".join(line.strip("│ ") for line in lines).split())
    for text in (
        "result perplexity 3.73 (1.900 bits per character) on the validation split",
        f"quality better than a 5-gram (2.000 bits), the best baseline; training diverged: {ADVICE}",
        "sample The \\x1b[2Jman [bold]went[/bold] :smile:↵home",
        "run runs/run details: charlm info run",
    ):
        assert text in shown
    assert len(lines) < 14


# Runs.


@pytest.mark.parametrize(
    ("options", "result", "quality"),
    [
        ((), r"on the validation split$", r"than .* bits\), the best baseline"),
        (("corpus.split=none",), r"on the training split, during the unfinished first epoch$", "no validation split"),
        (("corpus.split=[0.99,0.005,0.005]",), "validation split$", "^unknown, because 14 predicted .* too few "),
        (("model.direction=bidirectional",), r"split, read forwards; \d\.\d{3} bits where both sides", "than"),
        (("model.direction=backward",), "validation split, read backwards$", "than"),
        (("model.direction=leaky",), "validation split$", f"^its perplexity means nothing, .* model {LEAKY_WARNING}$"),
        (("eval.baselines=false",), "validation split$", "^not compared with any baseline"),
        (("sample.prefixes=[]",), "validation split$", "than"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) and value else "",
)
def test_a_run_ends_in_five_lines_and_one_that_is_done_repeats_them(
    options: tuple[str, ...],
    result: str,
    quality: str,
    tmp_path: Path,
    tiny_options: list[str],
    charlm_command: Charlm,
) -> None:
    where = (f"--runs-dir={tmp_path}", "--run=run", "--quiet")
    settings = [f"--set={setting}" for setting in ("train.max_steps=2", "train.eval_every=2", *options)]
    ended = charlm_command("train", *tiny_options, *settings, *where)
    assert (ended.exit_code, ended.stderr) == (0, "")
    shown = rows_of(ended.stdout)
    assert re.search(result, shown["result"])
    assert re.search(quality, shown["quality"])
    samples = Run(tmp_path / "run").samples()[-1].samples
    assert all(
        shown["sample"] == repr((each.prefix or "") + each.continuation + (each.suffix or "")) for each in samples
    )
    assert charlm_command("train", "--resume", *where).stdout == ended.stdout
    # All that is measured is in the details, whose command is one that works.
    details = charlm_command(*re.findall(r"details: charlm (info) (.*)\)", shown["run"])[0]).stdout
    summary = Run(tmp_path / "run").summary()
    assert summary is not None
    assert all(f"{name:<22}{value}\n" in details for name, value in result_rows(summary))
    assert ("validation, exactly" in details) is (summary.val is not None)


def test_json_is_the_closing_record_as_before(tmp_path: Path, tiny_options: list[str], charlm_command: Charlm) -> None:
    where = (f"--runs-dir={tmp_path}", "--run=run", "--json")
    ended = charlm_command("train", *tiny_options, "--set=train.max_steps=2", *where)
    last = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    assert json.loads(ended.stdout) == json.loads(last)


def test_info_shows_what_a_run_of_an_older_charlm_has(trained: Run, tmp_path: Path, charlm_command: Charlm) -> None:
    copied = Run(shutil.copytree(trained.path, tmp_path / "old"))
    path = copied.path / "metrics.jsonl"
    *lines, last = path.read_text(encoding="utf-8").splitlines()
    newer = ("bits_per_byte", "bpc_interval", "sha256", "baselines", "beats_5gram", "is_chosen", "skipped", "rollbacks")
    old = {key: value for key, value in json.loads(last).items() if not any(word in key for word in newer)}
    path.write_text("\n".join([*lines, json.dumps(old), ""]), encoding="utf-8")
    shown = charlm_command("info", copied.path).stdout
    assert re.search(r"^validation +perplexity \d+\.\d\d, \d\.\d{3} bits per character, over all 149 ", shown, re.M)
    assert "best checkpoint       step" in shown
    assert "exactly" not in shown


@pytest.mark.parametrize("is_backward", [False, True])
def test_in_a_sample_during_training_only_the_prefix_is_coloured(
    monkeypatch: pytest.MonkeyPatch, *, is_backward: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    terminal = Terminal()
    with monkeypatch.context() as seat:
        seat.setattr("sys.stderr", terminal)
        TrainingView().show(Samples(6, 0, ("given",), ("written",), is_backward=is_backward))
    coloured = re.findall(r"\x1b\[1;36m(.*?)\x1b\[0m", terminal.getvalue())
    assert coloured == ["given"]
    assert ("writtengiven" if is_backward else "givenwritten") in SEQUENCE.sub("", terminal.getvalue())


def test_training_on_adds_one_line_about_what_was_learned_and_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    facts = {"path": "/a", "weights_sha256": "0" * 64, "corpus": {}, "corpus_sha256": "1" * 64}
    parent = ParentFacts(name="a", step=7, **facts)
    ended = replace(closing(parent_val=rates(2.5), parent_old_val=rates(1.25), old_val=rates(1.75)), parent=parent)
    gone = replace(closing(parent_val=rates(2.5), old_text="the text of the run a was not read"), parent=parent)
    lines: list[str] = []
    for each in (ended, gone):
        show_closing(each)
        lines += [line for line in capsys.readouterr().out.splitlines() if line.startswith("from: ")]
    first = "from: a, step 7; this validation split 2.500 bits per character before, 1.900 now"
    assert lines == [
        f"{first}; that of a's text 1.250 bits per character before, 1.750 now",
        f"{first}; the text of the run a was not read",
    ]

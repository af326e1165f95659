"""A diagnosis is one sentence whose advice fits the cause."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from charlm.errors import DivergedError
from charlm.library.training import train
from charlm.reports.comparison import compare
from charlm.reports.diagnosis import Evidence, Point, diagnose, diagnose_run
from charlm.runs.records import Diverged
from charlm.runs.run import Run
from charlm.settings.schema import Settings

MakeSettings = Callable[..., Settings]
# e ** 4 symbols: choosing each with the same probability costs 4 nats.
SYMBOLS = round(math.e**4)


def evidence(
    val: list[float | None],
    recent: list[float | None] | None = None,
    *,
    num_val_chars: int | None = 10_000,
    ngram: tuple[str, float] | None = ("5-gram", 1.5),
    stopped_by: str | None = "epochs",
) -> Evidence:
    """Return the evidence of a run that was evaluated every 100 steps."""
    losses = zip(val, val if recent is None else recent, strict=True)
    points = [Point(100 * number, train, each) for number, (each, train) in enumerate(losses, 1)]
    judged = [each for each in val if each is not None]
    return Evidence(
        points=points,
        num_symbols=SYMBOLS,
        num_val_chars=num_val_chars,
        ngram=ngram,
        val=min(judged, default=None) if stopped_by else None,
        stopped_by=stopped_by,
    )


TRAIN_ONLY = {"num_val_chars": None, "ngram": None}
LONG = [2.0, 1.5, 1.3, 1.29, 1.288, 1.287, 1.287, 1.287]


@pytest.mark.parametrize(
    ("known", "kind", "words"),
    [
        # Diverged: a rise that no noise makes, or a loss where no model begins.
        (evidence([2.0, 1.5, 3.0], [2.1, 1.6, 3.1]), "diverged", ["from 1.600 nats at step 200 to 3.100"]),
        (evidence([90.0], [95.0]), "diverged", ["95.000", "uniform guess costs", "optimizer.learning_rate"]),
        (evidence([None] * 3, [1.0, 0.1, 0.9], **TRAIN_ONLY), "diverged", ["rose from 0.100", "to 0.900"]),
        (evidence([None] * 2, [2.0, math.inf], **TRAIN_ONLY), "diverged", ["to inf"]),
        (
            evidence([2.0, 2.4, 2.5], [2.2, 2.3, 2.4]),
            "diverged",
            ["since step 100", "training from 2.200 to 2.400"],
        ),
        (evidence([3.8, 4.1], [3.9, 4.2]), "diverged", ["reached 3.800 nats", "step 100", "now 4.200"]),
        # Worse than uniform: nothing was learned.
        (evidence([4.2, 4.1], [4.2, 4.1]), "worse_than_uniform", ["worse than uniform", "symbols costs 4.007"]),
        (evidence([4.0, 3.999], [4.0, 3.999]), "worse_than_uniform", ["no better than uniform"]),
        (evidence([None], [4.1], **TRAIN_ONLY), "worse_than_uniform", ["another optimizer.learning_rate"]),
        (evidence([4.2, 4.3], [4.2, 4.3], num_val_chars=6), "worse_than_uniform", ["4.300"]),
        # Overfit: validation has risen while training fell, however high it is.
        (evidence([2.0, 1.8, 2.0, 2.4], [2.1, 1.7, 1.2, 0.5]), "overfit", ["overfit since step 200", "2.400", "0.500"]),
        (evidence([2.0, 4.6, 7.0], [2.1, 1.0, 0.1]), "overfit", ["since step 100", "train.early_stopping"]),
        (
            evidence([2.0, 1.95], [1.0, 0.5], ngram=("6-gram", 2.5)),
            "overfit",
            ["validation costs 1.950", "learned by heart"],
        ),
        # Such a small rise is noise on such a short text, but not on a long one.
        (evidence([*LONG, 1.31], [*LONG, 1.28], num_val_chars=500), "sound", ["1.287"]),
        (evidence([*LONG, 1.31], [*LONG, 1.28], num_val_chars=90_000), "overfit", ["since step 600"]),
        # Still falling.
        (
            evidence([3.0, 2.5, 2.2, 2.0]),
            "still_falling",
            ["2.200 nats at step 300 to 2.000 at step 400"],
        ),
        (evidence([3.0, 2.5], stopped_by="max_steps"), "still_falling", ["train longer (train.max_steps)"]),
        (evidence([3.0, 2.5, 2.2], stopped_by="minutes"), "still_falling", ["(train.minutes)"]),
        (evidence([3.0, 2.5, 2.2], stopped_by=None), "still_falling", ["still falling: ", "let it continue"]),
        (evidence([None] * 3, [3.0, 2.5, 2.2], **TRAIN_ONLY), "still_falling", ["training went from 2.500"]),
        # Too short to judge, whatever the few characters say.
        (
            evidence([2.0, 9.0], [1.0, 0.05], num_val_chars=6),
            "too_short",
            ["6 predicted", "by heart (0.050 nats)"],
        ),
        (
            evidence([2.0, 9.0], [2.0, 1.9], num_val_chars=1),
            "too_short",
            ["1 predicted character, and", "corpus.split"],
        ),
        # Settled, and a table of counts does as well: the one case for a larger model.
        (evidence([2.0, *[1.9] * 6]), "underfit", ["1.900 nats and a table of 5-grams at 1.500", "larger model"]),
        (
            evidence([2.0, *[1.9] * 6], ngram=("bigram", 1.8)),
            "underfit",
            ["1.900 nats and a table of bigrams at 1.800"],
        ),
        (evidence([2.0, *[1.9] * 6], stopped_by="early_stopping"), "underfit", ["model.hidden_size"]),
        (evidence([2.9, 2.88], [2.94, 2.7], num_val_chars=149), "still_falling", ["training went from"]),
        # A single evaluation cannot show that the loss has settled.
        (evidence([1.9]), "still_falling", ["measured only once", "train longer (train.epochs)"]),
        # Sound.
        (evidence(LONG), "sound", ["settled at 1.287 nats, below a table of 5-grams at 1.500"]),
        # Slightly worse than the table is as good, for all that such a text can show.
        (evidence(LONG, ngram=("8-gram", 1.28)), "sound", ["1.287 nats, no lower than a table of 8-grams at 1.280"]),
        (evidence(LONG, stopped_by=None, ngram=None), "sound", ["sound: validation has settled at 1.287 nats"]),
        (evidence([None] * 8, LONG, **TRAIN_ONLY), "sound", ["without a validation split, nothing is known"]),
        (evidence([3.0, 2.0], stopped_by="early_stopping", ngram=None), "sound", ["2.000"]),
        (evidence([None], [None], num_val_chars=None, ngram=None), "sound", []),
    ],
)
def test_the_advice_fits_the_cause(known: Evidence, kind: str, words: list[str]) -> None:
    found = diagnose(known)
    assert found is not None
    assert (found.kind, [word for word in words if word not in found.sentence]) == (kind, [])
    assert "\n" not in found.sentence
    assert bool(found.advice) is (kind != "sound")
    assert ("larger model" in found.sentence) is (kind == "underfit")
    assert ("train longer" in found.sentence) <= (kind == "still_falling")


def test_without_an_evaluation_there_is_no_diagnosis() -> None:
    assert diagnose(Evidence([], SYMBOLS)) is None


def test_a_run_that_stopped_because_of_its_loss_is_called_diverged_everywhere(
    tiny_settings: MakeSettings, tmp_path: Path, charlm_command: Callable[..., Result]
) -> None:
    hot = ("optimizer.learning_rate=1e4", "optimizer.method=sgd", "optimizer.clip_norm=1e9", "eval.baselines=false")
    settings = tiny_settings(*hot)
    with pytest.raises(DivergedError):
        train(settings, name="hot", runs_dir=tmp_path)
    run = Run(tmp_path / "hot")
    ended = run.history().divergence
    assert isinstance(ended, Diverged)
    assert (ended.learning_rate, run.summary()) == (1e4, None)
    found = diagnose_run(run)
    assert found
    assert found.sentence == (
        f"diverged: the loss was no longer finite at step {ended.step} with learning rate 10000; lower "
        "optimizer.learning_rate or optimizer.clip_norm"
    )
    assert compare(run).rows[0].state == run.overview().state == "diverged"
    assert f"diagnosis     {found.sentence}\n" in charlm_command("info", run.path).stdout
    record = json.loads(charlm_command("info", run.path, "--json").stdout)
    assert record["diagnosis"] == {"kind": "diverged", "sentence": found.sentence}
    # It can be resumed from its last good checkpoint, and then ends as it did.
    before = (run.path / "metrics.jsonl").read_bytes()
    with pytest.raises(DivergedError):
        train(name="hot", runs_dir=tmp_path, resume=True)
    assert (run.path / "metrics.jsonl").read_bytes().count(b"diverged") == before.count(b"diverged") == 1


def test_the_end_of_training_and_info_say_the_same(
    tiny_options: list[str], tmp_path: Path, charlm_command: Callable[..., Result]
) -> None:
    where = (f"--runs-dir={tmp_path}", "--run=run")
    _, quality, *_ = charlm_command("train", *tiny_options, *where, "--set=train.max_steps=60").stdout.splitlines()
    assert re.search(
        r"; it has not finished learning, go on with: .* --config \S+config\.yaml --minutes 0\.1$", quality
    )
    told = charlm_command("info", tmp_path / "run").stdout
    assert re.search(
        r"^diagnosis     still falling when it ended: .*; train longer \(train.max_steps\)$", told, re.MULTILINE
    )


def test_no_result_of_a_leaky_model_is_judged(tiny_settings: MakeSettings, tmp_path: Path) -> None:
    settings = tiny_settings("model.direction=leaky", "train.max_steps=2", "eval.baselines=false")
    assert diagnose_run(train(settings, name="leaky", runs_dir=tmp_path)) is None


def test_a_run_of_an_older_charlm_is_judged_too(trained: Run, tmp_path: Path) -> None:
    copied = Run(shutil.copytree(trained.path, tmp_path / "old"))
    lines = [json.loads(line) for line in (copied.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    newer = ("recent_", "epoch_nats", "epoch_bpc", "epoch_perplexity", "epoch_chars", "is_chosen")
    old = [{key: value for key, value in line.items() if not key.startswith(newer)} for line in lines]
    (copied.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in old), encoding="utf-8")
    assert diagnose_run(copied) == diagnose_run(trained)


def test_info_says_if_best_and_final_cover_different_lengths(
    tiny_settings: MakeSettings, tmp_path: Path, charlm_command: Callable[..., Result]
) -> None:
    settings = tiny_settings("eval.max_chars=70", "train.max_steps=2", "eval.baselines=false")
    run = train(settings, name="partly", runs_dir=tmp_path)
    shown = charlm_command("info", run.path).stdout
    assert "(over the first 69 predicted characters)\n" in shown
    assert "(over all 149)\n" in shown
    assert "best val bpc covers the beginning of the validation split, final val bpc all of it: partly\n" in (
        charlm_command("info", f"--runs-dir={tmp_path}").stdout
    )

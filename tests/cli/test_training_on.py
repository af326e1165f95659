"""`charlm train --from RUN`: what is typed, what is shown, and what is refused without losing anything."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from charlm.runs.run import Run

Charlm = Callable[..., Result]
FEW = ("--steps", "2", "--set", "train.eval_every=2", "--set", "eval.baselines=false", "--set", "train.threads=1")
SMALL = ("--batch-size", "4", "--set", "sampling.seq_len=16", "--set", "sample.length=2")


@pytest.fixture
def place(trained: Run, corpus_text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder with the run `a`, a sweep folder `s`, and two texts, the second with a character more."""
    shutil.copytree(trained.path, tmp_path / "runs" / "a")
    (tmp_path / "runs" / "s").mkdir()
    (tmp_path / "runs" / "s" / "sweep.yaml").touch()
    (tmp_path / "more.txt").write_text(corpus_text[::-1], encoding="utf-8")
    (tmp_path / "other.txt").write_text(corpus_text.replace("hill", "h\xfcll"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_was_learned_and_forgotten_is_shown_at_both_ends_and_in_info(charlm_command: Charlm, place: Path) -> None:
    command = ("train", "other.txt", "--from", "a", "--run", "b", "--new-characters", "extend", *FEW, *SMALL)
    result = charlm_command(*command)
    assert result.exit_code == 0
    started = re.search(r"starts from the run a, step \d+, whose model reads (.*)", result.stderr)
    assert started is not None
    bits = re.findall(r"\((\d\.\d{3}) bits per character\)", started[1])
    assert len(bits) == 2
    assert "1 new character added to the model's vocabulary: '\xfc' (U+00FC)" in result.stderr
    line = next(line for line in result.stdout.splitlines() if line.startswith("from: a, step "))
    told = json.loads(charlm_command("info", "b", "--json").stdout)
    assert [f"{told[key]:.3f}" for key in ("parent_val_bpc", "parent_old_val_bpc")] == bits
    assert f"this validation split {bits[0]} bits per character before, {told['val_bpc']:.3f} now" in line
    assert f"that of a's text {bits[1]} bits per character before, {told['old_val_bpc']:.3f} now" in line
    assert told["environment"]["parent_path"] == str(place / "runs" / "a")
    shown = charlm_command("info", "b").stdout
    for words in ("SHA-256 of its weights", "validation, before", "old text, before", "old text, now"):
        assert words in shown
    assert charlm_command("eval", "--run", "b", "--json").exit_code == 0


@pytest.mark.parametrize(
    ("typed", "code", "words"),
    [
        ("other.txt --from a", 3, "has 1 character this model has never seen: 'ü' (U+00FC) "),
        ("more.txt --from b", 4, "there is no run b in runs"),
        ("more.txt --from s", 4, "runs/s is a sweep and not a run"),
        ("more.txt --from a --hidden-size 16", 2, "model.hidden_size is 8 there, and 16 was asked for"),
        ("more.txt --from a --set corpus.clean=none", 2, "corpus.clean.newline is lf there, and keep was asked for"),
        (
            "more.txt --from a --resume --run a",
            2,
            "--from is for a new run that starts from the weights of another, and",
        ),
        ("--new-characters drop --resume --run a", 2, "--new-characters is for a new run"),
        ("more.txt --from a --set start.run=a", 2, "give either --from or --set start.run=a"),
        ("--from a", 2, "needs a text: charlm train more.txt --from a"),
        ("more.txt --new-characters drop", 2, "start.new_characters belongs to start.run, which is null"),
        ("more.txt --from a --new-characters keep", 2, "start.new_characters must be one of"),
    ],
)
def test_each_mistake_is_one_sentence_and_changes_nothing(
    charlm_command: Charlm, place: Path, typed: str, code: int, words: str
) -> None:
    before = sorted(place.rglob("*"))
    result = charlm_command("train", *typed.split(), *(() if "--resume" in typed else (*FEW, *SMALL[2:])))
    assert (result.exit_code, result.stderr.count("\n"), result.stdout) == (code, 1, "")
    assert words in result.stderr
    assert sorted(place.rglob("*")) == before

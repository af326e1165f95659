"""Copying is measured exactly: every share and every longest passage equals that of a set of substrings."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

import charlm
from charlm.console import evaluation as showing
from charlm.errors import ConfigError, RunError, TextError
from charlm.evaluation import novelty as counting
from charlm.evaluation.novelty import Copying, Novelty, measure_copying
from charlm.evaluation.subject import Subject
from charlm.generation.filters import Filters
from charlm.library.training import train
from charlm.runs.run import Run
from charlm.settings.schema import Settings
from charlm.text.vocabulary import Ids, Vocabulary

Charlm = Callable[..., Result]
SIZES = (4, 8, 12, 16, 20, 30, 50)


def brute_force_share(text: str, known: str, n: int) -> float | None:
    """Return the share of a text's n-grams that a set of the known text's has."""
    ngrams = [text[start : start + n] for start in range(len(text) - n + 1)]
    there = {known[start : start + n] for start in range(len(known) - n + 1)}
    return sum(ngram in there for ngram in ngrams) / len(ngrams) if ngrams else None


def brute_force_longest(text: str, known: str) -> int:
    lengths = (n for n in range(len(text), 0, -1) if any(text[i : i + n] in known for i in range(len(text) - n + 1)))
    return next(lengths, 0)


def draw_text(symbols: str, length: int, seed: int) -> str:
    return "".join(random.Random(seed).choices(symbols, k=length))


def as_ids(text: str, symbols: str) -> Ids:
    return Vocabulary("".join(sorted(symbols))).encode(text)


def measure(text: str, known: str, symbols: str, sizes: tuple[int, ...] | range) -> Copying:
    return measure_copying(as_ids(text, symbols), as_ids(known, symbols), sizes)


def assert_right(found: Copying, text: str, known: str, sizes: tuple[int, ...] | range) -> None:
    assert found.shares == {n: brute_force_share(text, known, n) for n in sizes}
    assert (found.num_chars, found.longest) == (len(text), brute_force_longest(text, known))
    assert text[found.position : found.position + found.longest] in known


# The counts.


@pytest.mark.parametrize("piece_chars", [1, 7, 64, 1 << 18])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("symbols", ["ab", "abcd", "αβγ漢😀", "abcdefghijklmnopqrstuvwxyz"])
def test_shares_and_longest_passage_equal_a_set_of_substrings(
    monkeypatch: pytest.MonkeyPatch, symbols: str, seed: int, piece_chars: int
) -> None:
    monkeypatch.setattr(counting, "PIECE_CHARS", piece_chars)
    text, known = draw_text(symbols, 60, seed), draw_text(symbols, 400, seed + 100)
    assert_right(measure(text, known, symbols, range(1, 64)), text, known, range(1, 64))


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 50, 64, 100])
@pytest.mark.parametrize("place", [0, 100, 300])
def test_a_planted_copy_is_found_whole(monkeypatch: pytest.MonkeyPatch, place: int, length: int) -> None:
    monkeypatch.setattr(counting, "PIECE_CHARS", 128)
    copy = draw_text("abcdef", length, seed=1)
    known = draw_text("ghi", place, 2) + copy + draw_text("ghi", 300 - place, 3)
    text = draw_text("jkl", 70, 4) + copy + draw_text("jkl", 30, 5)
    found = measure(text, known, "abcdefghijkl", SIZES)
    assert (found.longest, found.position) == (length, 70)
    assert_right(found, text, known, SIZES)


def test_a_whole_copy_and_nothing_in_common() -> None:
    known = draw_text("abcd", 500, 0)
    whole = measure(known[100:300], known, "abcdxy", (1, 7, 200, 201))
    assert whole == Copying(200, {1: 1.0, 7: 1.0, 200: 1.0, 201: None}, 200, 0)
    none = measure("xyxy", known, "abcdxy", (1, 2, 5))
    assert none == Copying(4, {1: 0.0, 2: 0.0, 5: None}, 0, 0)


def test_each_ngram_counts_as_often_as_it_occurs() -> None:
    assert measure("aaab", "aa", "ab", (1, 2)).shares == {1: 3 / 4, 2: 2 / 3}


@pytest.mark.parametrize("text", ["a", "ab", "abc"])
def test_a_training_text_shorter_than_the_ngrams_has_none_of_them(text: str) -> None:
    assert_right(measure(text, "ab", "abc", range(1, 6)), text, "ab", range(1, 6))


@pytest.mark.parametrize("text", ["ab", "abcdefgh", "hgfedcba"])
@pytest.mark.parametrize("seed", range(5))
def test_ngrams_that_the_text_lacks_are_not_mistaken_for_its_own(text: str, seed: int) -> None:
    # All its characters differ: every number from 0 to S - 1 is that of one.
    known = draw_text("abcdefghz", 60, seed)
    assert_right(measure(text, known, "abcdefghz", range(1, 9)), text, known, range(1, 9))


def test_endless_repetitions_are_no_trouble() -> None:
    text, known = "ab" * 300, "ba" * 200
    found = measure(text, known, "ab", (1, 2, 399, 400, 401, 600, 601))
    assert found.longest == 400
    assert found.shares == {1: 1.0, 2: 1.0, 399: 1.0, 400: pytest.approx(100 / 201), 401: 0.0, 600: 0.0, 601: None}


def test_the_pieces_are_reported_up_to_the_last_character(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "PIECE_CHARS", 100)
    done: list[int] = []
    known = as_ids(draw_text("ab", 1_050, 0), "ab")
    measure_copying(known[:30], known, (4,), report=done.append)
    assert len(done) == 11
    assert done == sorted(done)
    assert done[-1] == 1_050


# Copying by a model.


def test_a_model_is_measured_by_the_text_that_generate_writes(trained: Run, corpus_text: str) -> None:
    known, held_out = corpus_text[:2700], corpus_text[2850:]
    found = charlm.novelty(trained, length=400, temperature=0.7, seed=3, ngrams=(8, 2, 4, 2))
    (text,) = charlm.generate(trained, held_out[:100], length=400, seed=3, filters=Filters(temperature=0.7))
    assert (found.prefix, found.text) == (held_out[:100], text[100:])
    assert_right(found.sample, found.text, known, (2, 4, 8))
    assert [row["n"] for row in found.as_record()["ngrams"]] == [2, 4, 8]
    assert_right(found.held_out, held_out[100:], known, (2, 4, 8))
    assert found.longest == found.text[found.sample.position :][: found.sample.longest]
    assert found.held_out_longest == held_out[100:][found.held_out.position :][: found.held_out.longest]
    assert found == charlm.novelty(trained, length=400, temperature=0.7, seed=3, ngrams=(2, 4, 8))
    assert found.text != charlm.novelty(trained, length=400, temperature=0.7, seed=4).text
    assert found.text != charlm.novelty(trained, length=400, temperature=0.8, seed=3).text


def test_the_held_out_text_is_cut_to_the_length_of_the_sample(trained: Run, corpus_text: str) -> None:
    known, held_out = corpus_text[:2700], corpus_text[2700:2850]
    found = charlm.novelty(trained, split="val", length=20, ngrams=(3,))
    assert found.held_out.num_chars == found.sample.num_chars == 20
    assert_right(found.held_out, held_out[100:120], known, (3,))
    given = charlm.novelty(trained, split="val", length=20, ngrams=(3,), prefix="the ")
    assert given.prefix == "the "
    assert_right(given.held_out, held_out[:20], known, (3,))


def test_another_file_may_be_the_held_out_text(trained: Run, corpus_text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.txt"
    path.write_text(corpus_text[500:504], encoding="utf-8")
    found = charlm.novelty(trained, files=[path], ngrams=(1, 2), length=30)
    assert (found.prefix, found.held_out_longest) == (corpus_text[500:503], corpus_text[503])
    assert found.held_out.shares == {1: 1.0, 2: None}


@pytest.mark.parametrize("direction", ["backward", "bidirectional", "leaky"])
def test_samples_of_any_direction_are_shown_in_text_order(
    tmp_path: Path, tiny_settings: Callable[..., Settings], corpus_text: str, direction: str
) -> None:
    run = train(tiny_settings("train.max_steps=20", f"model.direction={direction}"), name="run", runs_dir=tmp_path)
    known, held_out = corpus_text[:2700], corpus_text[2850:]
    found = charlm.novelty(run, length=300, ngrams=(1, 2, 3, 5))
    is_backward = direction == "backward"
    prefix, rest = (held_out[-100:], held_out[:-100]) if is_backward else (held_out[:100], held_out[100:])
    assert found.prefix == prefix
    if is_backward:
        (written,) = charlm.generate(run, suffix=prefix, length=300, filters=Filters())
        assert written == found.text + prefix
    for copying, text, longest in (
        (found.sample, found.text, found.longest),
        (found.held_out, rest, found.held_out_longest),
    ):
        assert copying.shares == {n: brute_force_share(text, known, n) for n in (1, 2, 3, 5)}
        assert len(longest) == copying.longest == brute_force_longest(text, known)
        assert longest in text
        assert longest in known


def test_progress_covers_the_writing_and_then_the_reading(trained: Run) -> None:
    seen: list[tuple[int, int]] = []
    charlm.novelty(trained, length=50, report=lambda done, total: seen.append((done, total)))
    assert seen[:50] == [(done, 50) for done in range(1, 51)]
    assert seen[50:] == [(2700, 5400), (5400, 5400)]


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"ngrams": ()}, ConfigError, "at least one of them"),
        ({"ngrams": (4, 0)}, ConfigError, "must be at least 1"),
        ({"length": 0}, ConfigError, "from 1 to 1,000,000, got 0"),
        ({"length": 1_000_001}, ConfigError, "got 1,000,001"),
        ({"split": "train"}, ConfigError, "held-out text, not with the training split"),
        ({"split": "all"}, ConfigError, "no split called 'all'"),
        ({"temperature": -1.0}, ConfigError, "temperature must be 0 or more"),
        ({"prefix": ""}, TextError, "the prefix is empty"),
        ({"prefix": "é"}, TextError, "never seen"),
    ],
)
def test_impossible_requests_are_refused(
    trained: Run, options: dict[str, object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        charlm.novelty(trained, **options)  # pyright: ignore[reportArgumentType]


def test_without_its_training_split_a_model_is_not_measured(
    tmp_path: Path, tiny_settings: Callable[..., Settings], corpus_text: str
) -> None:
    corpus, other = tmp_path / "corpus.txt", tmp_path / "other.txt"
    for path in (corpus, other):
        path.write_text(corpus_text, encoding="utf-8")
    settings = tiny_settings("train.max_steps=1", f"corpus.path='{corpus}'", "corpus.split=nanogpt")
    run = train(settings, name="run", runs_dir=tmp_path)
    with pytest.raises(RunError, match="has no test split"):
        charlm.novelty(run)
    assert charlm.novelty(run, split="val", length=5).sample.num_chars == 5
    corpus.write_text(corpus_text + "a", encoding="utf-8")
    with pytest.raises(
        TextError, match="novelty needs the training split of the run run: the corpus has changed"
    ) as info:
        charlm.novelty(run, files=[other])
    assert str(info.value).endswith("restore that text")
    corpus.unlink()
    with pytest.raises(TextError, match="novelty needs the training split of the run run: there is no corpus file"):
        charlm.novelty(run, files=[other])


def test_a_backward_model_has_no_prefix(tmp_path: Path, tiny_settings: Callable[..., Settings]) -> None:
    run = train(tiny_settings("train.max_steps=1", "model.direction=backward"), name="run", runs_dir=tmp_path)
    with pytest.raises(ConfigError, match="reads backwards and cannot continue a prefix"):
        charlm.novelty(run, prefix="the ")


# The command line.


def test_eval_prints_shares_and_longest_passages(trained: Run, charlm_command: Charlm, corpus_text: str) -> None:
    command = ("eval", f"--run={trained.path}", "--novelty", "--length=300", "--ngrams=2, 5,400", "--seed=1")
    result = charlm_command(*command, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    found = charlm.novelty(trained, length=300, ngrams=(2, 5, 400), seed=1)
    assert json.loads(result.stdout) == {
        "run": "trained",
        "step": 60,
        "text": "the test part",
        "temperature": 1.0,
        "seed": 1,
        "prefix": corpus_text[2850:2950],
        "sample_chars": 300,
        "held_out_chars": 50,
        "ngrams": [
            {"n": 2, "sample": found.sample.shares[2], "held_out": found.held_out.shares[2]},
            {"n": 5, "sample": found.sample.shares[5], "held_out": found.held_out.shares[5]},
            {"n": 400, "sample": None, "held_out": None},
        ],
        "longest": {"chars": found.sample.longest, "text": found.longest},
        "held_out_longest": {"chars": found.held_out.longest, "text": found.held_out_longest},
    }
    lines = charlm_command(*command).stdout.splitlines()
    assert lines[0] == "run trained, step 60, the test split"
    assert lines[1] == "sample              300 characters, temperature 1, seed 1"
    assert lines[3] == (
        f"longest copied      {found.sample.longest} characters (held-out text: {found.held_out.longest})"
    )
    assert lines[4] == f"copied text         {found.longest}".replace("\n", "\\n")
    shares = [100 * (share or 0) for share in (found.sample.shares[2], found.held_out.shares[2])]
    assert lines[-4:] == [
        "n\tof the sample's n-grams\tof the held-out text's",
        f"2\t{shares[0]:.2f} %\t{shares[1]:.2f} %",
        lines[-2],
        "400\tnone that long\tnone that long",
    ]


def test_eval_says_of_a_leaky_model_what_it_is(
    tmp_path: Path, tiny_settings: Callable[..., Settings], charlm_command: Charlm
) -> None:
    run = train(tiny_settings("train.max_steps=1", "model.direction=leaky"), name="run", runs_dir=tmp_path)
    command = ("eval", f"--run={run.path}", "--novelty", "--length=20")
    assert "warning             reads its own target" in charlm_command(*command).stdout
    assert "its own target" in json.loads(charlm_command(*command, "--json").stdout)["warning"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--novelty", "--gaps=5/25"), "--gaps and --novelty are different measures: choose one at a time"),
        (("--seed=0",), "--seed belongs to --novelty"),
        (("--length=5", "--prefix=a"), "--length, --prefix belong to --novelty"),
        (("--passes=5",), "--passes belongs to --gaps"),
        (("--novelty", "--ngrams=4,x"), "--ngrams must be numbers of characters such as 4,8,12, got '4,x'"),
        (("--novelty", "--ngrams="), "--ngrams is empty"),
        (("--novelty", "--ngrams=0"), "--ngrams must be numbers of characters such as 4,8,12"),
        (("--novelty", "--ngrams=" + "9" * 5_000), "--ngrams must be numbers of characters such as 4,8,12"),
        (("--novelty", "--split=train"), "held-out text, not with the training split"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    trained: Run, charlm_command: Charlm, options: tuple[str, ...], message: str
) -> None:
    result = charlm_command("eval", f"--run={trained.path}", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_large_training_text_takes_memory_for_a_piece_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    longest_array = 0
    look_up = counting._look_up  # pyright: ignore[reportPrivateUsage]

    def watch(keys: np.ndarray, known: np.ndarray) -> np.ndarray:
        nonlocal longest_array
        longest_array = max(longest_array, len(keys))
        return look_up(keys, known)

    monkeypatch.setattr(counting, "_look_up", watch)
    monkeypatch.setattr(counting, "PIECE_CHARS", 1_000)
    known = as_ids(draw_text("abcdefgh", 50_000, 0), "abcdefgh")
    measure_copying(known[:200], known, SIZES)
    assert longest_array == 1_199


@pytest.mark.parametrize("is_terminal", [True, False])
def test_shares_are_a_table_on_a_terminal_and_lines_elsewhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    monkeypatch.setattr(showing, "is_live", lambda _: is_terminal)
    sample, held_out = Copying(9, {1_000: 0.12345}, 4, 0), Copying(8, {1_000: None}, 0, 0)
    found = Novelty("", "", sample, held_out, "a\n\x1bb", "")
    showing.show_novelty(Subject("run", 1), "a text", found, temperature=0.5, seed=0)
    shown = capsys.readouterr().out
    assert "copied text         a\\n\\x1bb\n" in shown
    assert "sample              9 characters, temperature 0.5, seed 0\n" in shown
    if is_terminal:
        assert "\t" not in shown
        assert [line.split() for line in shown.splitlines()][-1] == ["1,000", "12.35", "%", "none", "that", "long"]
    else:
        assert "1,000\t12.35 %\tnone that long\n" in shown

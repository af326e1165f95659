"""What people type to score and to evaluate, and what they get."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import run as run_process
from processes import run_code
from typer.testing import Result

import charlm
from charlm.console.next_character import shown_name
from charlm.errors import CharlmWarning, ConfigError, TextError
from charlm.evaluation.next_character import NextCharacter
from charlm.library.models import Model
from charlm.runs.run import Run
from charlm.settings.schema import Settings

Charlm = Callable[..., Result]
LOG = "the cat sat.\nthe dog £ ran.\na cat ran.\n"


@pytest.fixture
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with some files."""
    monkeypatch.chdir(tmp_path)
    Path("log.txt").write_text(LOG, encoding="utf-8")
    Path("more.txt").write_text("a hill.\n££ a £\n", encoding="utf-8")
    Path("plain.txt").write_text("the cat sat.\n", encoding="utf-8")
    Path("texts").mkdir()


@pytest.fixture(scope="module")
def rare(
    tiny_settings: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory, corpus_text: str
) -> tuple[Run, Path]:
    """Return a run that has an unknown symbol, and its own text."""
    folder = tmp_path_factory.mktemp("rare")
    text = folder / "rare.txt"
    text.write_text(corpus_text + "é.\n", encoding="utf-8")
    options = ("vocabulary.min_count=5", "train.max_steps=2", f"corpus.path='{text}'")
    return charlm.train(tiny_settings(*options), name="rare", runs_dir=folder / "runs"), text


def records(output: str) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in output.splitlines())


@pytest.mark.usefixtures("_in_folder")
@pytest.mark.parametrize(
    ("typed", "code", "words"),
    [
        (
            ["score", "log.txt"],
            2,
            "log.txt is a file: --file log.txt scores its content, --text scores the name itself",
        ),
        (["score", "log.txt", "plain.txt"], 2, "--file log.txt --file plain.txt scores"),
        (["score", "--file", "log.txt", "plain.txt"], 2, "plain.txt is a file: --file log.txt --file plain.txt"),
        (["score", "texts"], 2, "texts is a file: --file texts"),
        (["score", "the", "cat"], 2, "put it in quotes, as in charlm score 'the cat'"),
        (["score", "the cat", "--text=a"], 2, "give either a text or --file"),
        (["score"], 2, "give either a text or --file"),
        (["score", "-"], 3, "the text is empty"),
        (["score", "--file="], 2, "--file is empty"),
        (["score", "--top=3", "the"], 2, "--top applies to --next"),
        (["score", "--next", "--odd=3", "the"], 2, "--next predicts one character"),
        (["score", "--next", ""], 2, "TEXT is empty"),
        (["score", "the £ é"], 3, "'£' (U+00A3) at position 4, 'é' (U+00E9) at position 6; --unknown skip leaves"),
        (["score", "--file=log.txt"], 3, "'£' (U+00A3) at position 21 (log.txt, line 2); --unknown skip"),
        (["score", "--file=plain.txt", "--file=more.txt"], 3, "at position 8 (more.txt, line 2)"),
        (["score", "--file=log.txt", "--unknown=replace"], 3, "cannot be replaced: the model was trained without"),
        (["score", "--file=log.txt", "--odd=1", "--unknown=error"], 3, "(log.txt, line 2)"),
        (["score", "££", "--unknown=skip"], 3, "the text has no character that the model knows"),
        (["eval", "log.txt"], 3, "(log.txt, line 2); --unknown skip leaves such characters out"),
        (["eval", "test"], 2, "--split test measures that split"),
        (["eval", "trained"], 2, "--run trained measures the run of that name"),
        (["eval", "plain.txt", "--split=val"], 2, "give either FILE or --split"),
        (["eval", "--corpus="], 2, "--corpus is empty"),
        (["eval", "absent.txt"], 3, "absent.txt"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_with_what_to_type(
    trained: Run, charlm_command: Charlm, typed: list[str], code: int, words: str
) -> None:
    result = charlm_command(*typed, f"--runs-dir={trained.path.parent}", text="")
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("charlm: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr


@pytest.mark.usefixtures("_in_folder")
def test_a_text_is_given_in_each_way_that_people_think_of(trained: Run, charlm_command: Charlm) -> None:
    runs = f"--runs-dir={trained.path.parent}"
    expected = charlm_command("score", "the cat sat.\n", runs).stdout
    assert charlm_command("score", "--text=the cat sat.\n", runs).stdout == expected
    assert charlm_command("score", "--file=plain.txt", runs).stdout == expected
    for given in ([], ["-"], ["--file=-"]):
        assert charlm_command("score", *given, runs, text="the cat sat.\n").stdout == expected
    Path("cat").touch()
    assert charlm_command("score", "--text=cat", runs).stdout.count("\n") == 4
    result = charlm_command("score", "saw.txt", "--unknown=skip", runs)
    assert result.exit_code == 0
    assert "'saw.txt' is scored as a text, because there is no file of that name" in result.stderr
    by_name = charlm_command("eval", "plain.txt", "--json", "--no-baselines", runs)
    assert by_name.stdout == charlm_command("eval", "--corpus=plain.txt", "--json", "--no-baselines", runs).stdout


# Characters that the model does not know.


@pytest.mark.usefixtures("_in_folder")
def test_what_is_skipped_is_seen_and_counted(trained: Run, charlm_command: Charlm) -> None:
    command = ("score", "--file=log.txt", "--unknown=skip", f"--run={trained.path}")
    notice = "1 character the model does not know was skipped: '£' (U+00A3) at position 21 (log.txt, line 2)"
    plain = charlm_command(*command)
    assert plain.stderr == f"charlm: {notice}\n"
    header, *rows = (line.split("\t") for line in plain.stdout.splitlines())
    assert header[-1] == "unknown"
    assert rows[21] == ["21", "'£'", *"-----", "skipped"]
    assert rows[22][-1] == "-"

    found = list(records(charlm_command(*command, "--json").stdout))
    assert "".join(each["character"] for each in found) == LOG
    assert [each["position"] for each in found] == list(range(len(LOG)))
    assert [each["position"] for each in found if each["unknown"]] == [21]
    assert all(each["unknown_chars"] == 1 for each in found)
    without = charlm_command("score", LOG.replace("£", ""), f"--run={trained.path}", "--json").stdout
    assert [each["bits"] for each in found if not each["unknown"]] == [each["bits"] for each in records(without)]

    lines = list(records(charlm_command(*command, "--per-line", "--json").stdout))
    assert [(each["file"], each["line"], each["text"], each["unknown"]) for each in lines] == [
        ("log.txt", number, text, "£" * text.count("£")) for number, text in enumerate(LOG.splitlines(), 1)
    ]


@pytest.mark.usefixtures("_in_folder")
def test_eval_counts_what_it_skips(trained: Run, charlm_command: Charlm) -> None:
    command = ("eval", "log.txt", "--unknown=skip", "--no-baselines", f"--run={trained.path}")
    result = charlm_command(*command)
    assert "unknown             1 character the model does not know was skipped\n" in result.stdout
    assert "(log.txt, line 2)" in result.stderr
    record = json.loads(charlm_command(*command, "--json").stdout)
    assert (record["skipped_chars"], record["replaced_chars"]) == (1, 0)
    assert record["chars"] == len(LOG) - 2
    assert "skipped_chars" not in charlm_command("eval", "plain.txt", "--json", f"--run={trained.path}").stdout


@pytest.mark.usefixtures("_in_folder")
def test_odd_lines_with_unseen_characters_come_first_whole_with_file_and_line(
    trained: Run, charlm_command: Charlm
) -> None:
    files = ("--file=log.txt", "--file=more.txt")
    command = ("score", *files, "--odd=3", f"--run={trained.path}")
    found = list(records(charlm_command(*command, "--json").stdout))
    assert [(each["file"], each["line"], each["text"]) for each in found[:2]] == [
        ("more.txt", 2, "££ a £"),
        ("log.txt", 2, "the dog £ ran."),
    ]
    assert [each["unknown"] for each in found] == ["£££", "£", ""]
    header, first, *_ = (line.split("\t") for line in charlm_command(*command).stdout.splitlines())
    assert header == ["line", "bits_per_char", "bits", "chars", "text", "unknown", "file"]
    assert [first[0], *first[4:]] == ["2", "££ a £", "£££", "more.txt"]


@pytest.mark.usefixtures("_in_folder")
@pytest.mark.parametrize("alone", [True, False])
def test_lines_of_several_files_have_their_own_numbers(trained: Run, *, alone: bool) -> None:
    Path("a.txt").write_text("the cat\nsat", encoding="utf-8")
    Path("empty.txt").touch()
    Path("b.txt").write_text(" on a hill\n£££\na mat\n££", encoding="utf-8")
    files = ["a.txt", "empty.txt", "b.txt"]
    with pytest.warns(CharlmWarning, match="5 characters"):
        lines = list(charlm.score_lines(trained, files=files, alone=alone, unknown="skip"))
    # The last line of a file ends with the file.
    assert [(line.file, line.line, line.text) for line in lines] == [
        ("a.txt", 1, "the cat"),
        ("a.txt", 2, "sat"),
        ("b.txt", 1, " on a hill"),
        ("b.txt", 2, "£££"),
        ("b.txt", 3, "a mat"),
        ("b.txt", 4, "££"),
    ]


def test_a_model_with_an_unknown_symbol_reads_its_own_text(rare: tuple[Run, Path], charlm_command: Charlm) -> None:
    run, text = rare
    named = f"--run={run.path}"
    record = json.loads(charlm_command("eval", text, named, "--json", "--no-baselines").stdout)
    assert (record["skipped_chars"], record["replaced_chars"]) == (0, 1)
    result = charlm_command("score", "a é", named, "--json")
    assert [each["unknown"] for each in records(result.stdout)] == [None, None, "replaced"]
    assert "1 character the model does not know was read as its unknown symbol: 'é'" in result.stderr
    assert charlm_command("generate", "--prefix=é", "--length=2", named).exit_code == 0
    refused = charlm_command("score", "a é", named, "--unknown=error")
    assert refused.exit_code == 3
    # The vocabulary keeps no rare characters, so which of the two it was can no longer be known.
    assert "1 character too rare or never seen in this model's training: 'é' (U+00E9) at position 2" in refused.stderr
    assert "--unknown replace reads them as the model's unknown symbol" in refused.stderr
    skipped = charlm_command("score", "a é", named, "--unknown=skip", "--json")
    assert [each["unknown"] for each in records(skipped.stdout)] == [None, None, "skipped"]


# The next character.


def test_the_next_character_has_the_probability_that_its_score_has(trained: Run, charlm_command: Charlm) -> None:
    expected = charlm.next_characters(trained, "the ca", top=999)
    vocabulary = charlm.open_run(trained).checkpoint.vocabulary
    assert len(expected) == len(vocabulary)
    assert math.fsum(each.probability for each in expected) == pytest.approx(1)
    assert [each.rank for each in expected] == list(range(1, len(expected) + 1))
    for each in expected[:5]:
        *_, scored = charlm.score(trained, "the ca" + each.character)
        assert (scored.bits, scored.rank) == (pytest.approx(each.bits, rel=1e-4), each.rank)
    command = ("score", "--next", "the ca", "--top=3", f"--run={trained.path}")
    assert list(records(charlm_command(*command, "--json").stdout)) == [vars(each) for each in expected[:3]]
    header, *rows = (line.split("\t") for line in charlm_command(*command).stdout.splitlines())
    assert header == ["rank", "character", "probability", "bits"]
    assert [row[1] for row in rows] == [shown_name(each) for each in expected[:3]]
    assert len(charlm_command("score", "--next", "the ca", f"--run={trained.path}").stdout.splitlines()) == 11


def test_a_final_newline_added_by_an_editor_is_not_part_of_the_text(trained: Run, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the ca\n", encoding="utf-8")
    assert charlm.next_characters(trained, files=[tmp_path / "a.txt"]) == charlm.next_characters(trained, "the ca")
    assert charlm.next_characters(trained, "the ca\n") != charlm.next_characters(trained, "the ca")


@pytest.mark.parametrize("direction", ["backward", "bidirectional", "leaky"])
def test_each_direction_predicts_what_it_can(
    tiny_settings: Callable[..., Settings], tmp_path: Path, direction: str
) -> None:
    settings = tiny_settings(f"model.direction={direction}", "train.max_steps=2", "eval.baselines=false")
    model: Model = charlm.open_run(charlm.train(settings, name="run", runs_dir=tmp_path))
    if direction == "leaky":
        with pytest.raises(ConfigError, match="the model of run run is leaky"):
            charlm.next_characters(model, "the")
        return
    (first, *_) = charlm.next_characters(model, "the")
    text, place = (first.character + "the", 0) if direction == "backward" else ("the" + first.character, 3)
    assert list(charlm.score(model, text))[place].bits == pytest.approx(first.bits, rel=1e-4)


def test_what_has_no_next_character_is_an_error(trained: Run) -> None:
    with pytest.raises(ConfigError, match="top must be at least 1, got 0"):
        charlm.next_characters(trained, "the", top=0)
    with pytest.raises(TextError, match="the text is empty"):
        charlm.next_characters(trained, "")


@pytest.mark.parametrize(
    ("character", "shown"),
    [
        ("a", "'a'"),
        ("[", "'['"),
        (" ", "' ' space"),
        ("\n", r"'\n' newline"),
        ("\t", r"'\t' tab"),
        ("\u202e", r"'\u202e' right-to-left override"),
        ("\x01", r"'\x01' u+0001"),
        ("\u0301", "'◌\u0301' combining acute accent"),
    ],
)
def test_an_invisible_character_is_named(character: str, shown: str) -> None:
    assert shown_name(NextCharacter(1, character, 0.5, 1.0)) == shown
    assert shown_name(NextCharacter(1, "\ufffd", 0.5, 1.0, is_unknown=True)) == "any unknown character"


# Streams and help.


def test_a_closed_standard_input_counts_as_no_input(trained: Run) -> None:
    code = "import sys; sys.stdin = None\nfrom charlm.cli.standard_input import has_input\n"
    assert run_code(code + "print(has_input('a text'))") == (0, "False\n", "")
    ended = run_process("score", f"--run={trained.path}")
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "give either a text or --file" in ended.stderr

"""What people type to generate text, and what they get."""

from __future__ import annotations

import io
import json
import os
import pty
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import charlm
from charlm.cli import prompts, standard_input
from charlm.console.terminal import escaped, print_json
from charlm.console.training import one_line
from charlm.errors import CharlmWarning, TextError
from charlm.library.stops import possible_stops
from charlm.runs.run import Run

LINES = "the cat sat\non a mat\n" * 60
CORPORA = {
    "lf": (LINES, ()),
    "crlf": (LINES.replace("\n", "\r\n"), ()),
    "cr": (LINES.replace("\n", "\r"), ()),
    "one-line": (LINES.replace("\n", " "), ()),
    "backward": (LINES, ("model.direction=backward",)),
    "backward-one-line": (LINES.replace("\n", " "), ("model.direction=backward",)),
    "unprompted": (LINES.replace("\n", " "), ("sample.prefixes=[]",)),
    "code": (LINES + "\\n" * 9, ()),
    "letters": (LINES, ("corpus.clean=letters",)),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_settings):
    """Return a folder with one run for each kind of corpus; tests must not change it."""
    folder = tmp_path_factory.mktemp("typed")
    for name, (text, overrides) in CORPORA.items():
        corpus = folder / f"{name}.txt"
        corpus.write_bytes(text.encode())
        if "corpus.clean=letters" not in overrides:
            overrides = ("corpus.clean.newline=keep", *overrides)
        kept = ("eval.baselines=false", "train.max_steps=1", "sample.prefixes=null", *overrides)
        charlm.train(tiny_settings(f"corpus.path='{corpus}'", *kept), name=name, runs_dir=folder / "runs")
    return folder / "runs"


@pytest.fixture
def typed(runs: Path, charlm_command: Callable[..., Result]) -> Callable[..., Result]:
    """Return a function that types `charlm generate` with a run's name and further words."""
    return lambda run, *words, text=None: charlm_command(
        "generate", f"--run={runs / run}", "--length=12", *words, text=text
    )


# Run, words, standard input, exit code, and what standard output (for 0) or standard error (else) contains.
ROWS = [
    ("lf", ["the"], None, 0, "the"),
    ("lf", ["--prefix=the"], None, 0, "the"),
    ("lf", ["the", "-n2", "-t", "0.5"], None, 0, "the"),
    ("lf", ["the\\nmat", "--escapes"], None, 0, "the\nmat"),
    ("lf", ["--prefix", "\\x61\\u0061", "--escapes"], None, 0, "aa"),
    ("lf", ["--prefix-file=-"], "a cat", 0, "a cat"),
    ("lf", ["-"], "a cat", 0, "a cat"),
    ("lf", [], "a cat", 0, "a cat"),
    ("lf", ["-", "--escapes"], "a\\ncat", 0, "a\ncat"),
    ("lf", ["thé", "--unknown=skip"], None, 0, "thé"),
    ("code", ["\\n"], None, 0, "\\n"),
    ("code", ["the", "--stop=\\n"], None, 0, "the"),
    ("lf", ["the", "--length=0"], None, 0, "the\n"),
    ("lf", ["--", "the"], None, 0, "the"),
    ("lf", ["the", "cat"], None, 2, "charlm generate 'the cat'"),
    ("lf", ["the", "--prefix=cat"], None, 2, "give either an argument or --prefix"),
    ("lf", ["the", "--prefix-file=-"], None, 2, "give either an argument or --prefix-file"),
    ("lf", [""], None, 3, "the prefix is empty"),
    ("lf", ["--prefix="], "a cat", 3, "the prefix is empty"),
    ("lf", ["--prefix-file="], None, 2, "--prefix-file is empty"),
    ("lf", ["-"], "", 3, "the prefix is empty"),
    ("lf", ["a\\qb", "--escapes"], None, 2, "does not begin an escape at position 1: \\q"),
    ("lf", ["the", "--stop=\\q", "--escapes"], None, 2, "--stop has a backslash that does not begin an escape"),
    ("lf", ["a\\nb"], None, 3, "if \\n was meant as an escape, add --escapes"),
    ("lf", ["the", "--stop=\\n"], None, 3, "if \\n was meant as an escape, add --escapes"),
    ("lf", ["the", "--stop=é"], None, 3, "no text can end before the stop 'é'"),
    ("lf", ["the", "--stop="], None, 2, "--stop is empty"),
    ("one-line", ["the", "--stop-at-newline"], None, 3, "this model does not know line ends"),
    ("lf", ["The"], None, 3, "the nearest it knows: 't' for 'T'"),
    ("lf", ["th€"], None, 3, "add --unknown skip"),
    ("lf", ["€", "--unknown=skip"], None, 3, "has no character that this model knows"),
    ("lf", ["€", "--unknown=replace"], None, 3, "trained without an unknown symbol"),
    ("lf", ["the", "--seed=any"], None, 2, "--seed must be random or a whole number from 0"),
    ("lf", ["the", "--seed=-1"], None, 2, "--seed must be random"),
    ("backward", ["the"], None, 2, "reads backwards: give it --suffix"),
    ("lf", [], b"\xff\xfe\xfd", 3, "standard input is not utf-8: byte 0xff"),
]


@pytest.mark.parametrize(("run", "words", "text", "code", "sentence"), ROWS, ids=lambda value: str(value)[:30])
def test_what_is_typed_is_answered(typed, run, words, text, code, sentence):
    result = typed(run, *words, text=text)
    assert result.exit_code == code
    if code == 0:
        assert result.stdout.startswith(sentence)
        assert result.stderr == ""
    else:
        assert sentence in result.stderr
        assert result.stdout == ""
        assert all(line.startswith("charlm: ") for line in result.stderr.splitlines())


def test_the_same_text_comes_from_argument_option_file_and_pipe(typed, tmp_path):
    (tmp_path / "prefix").write_text("a cat", encoding="utf-8")
    expected = typed("lf", "a cat").stdout
    assert typed("lf", "--prefix", "a cat").stdout == expected
    assert typed("lf", "--prefix-file", tmp_path / "prefix").stdout == expected
    assert typed("lf", text="a cat").stdout == expected


def test_the_name_of_a_file_as_prefix_is_refused(typed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("the cat").write_text("a mat", encoding="utf-8")
    Path("sat").mkdir()
    result = typed("lf", "the cat")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--prefix-file 'the cat' reads the file, --prefix 'the cat' uses the name" in result.stderr
    assert typed("lf", "--prefix", "the cat").stdout.startswith("the cat")
    assert typed("lf", "sat").stdout.startswith("sat")


# No prompt at all.


@pytest.mark.parametrize("run", ["lf", "crlf", "cr"])
def test_without_a_prompt_a_text_begins_as_lines_do(typed, run):
    result = typed(run)
    end = "\r" if run == "cr" else "\n"
    assert f"{end}{result.stdout}" == typed(run, "--prefix", end).stdout
    assert result.stderr.startswith("charlm: no prompt was given, so each text begins as a line of the corpus does")
    first, second = [json.loads(line) for line in typed(run, "--json", "-n2").stdout.splitlines()]
    assert (first["prefix"], first["opening"]) == ("", "line end")
    assert (first["text"] + "\n").encode() == result.stdout_bytes
    assert second["text"] != first["text"]


def test_without_line_ends_a_text_begins_as_the_run_recorded(typed, runs):
    recorded = Run(runs / "one-line").samples()[0].samples[0].prefix
    result = typed("one-line")
    assert recorded
    assert result.stdout == typed("one-line", recorded).stdout
    assert repr(recorded) in result.stderr
    assert json.loads(typed("one-line", "--json").stdout)["opening"] == "sample prefix"


def test_a_backward_models_text_ends_as_lines_do(typed, runs):
    result = typed("backward")
    assert f"{result.stdout}\n" == typed("backward", "--suffix", "\n").stdout
    assert "each text ends where a line of the corpus ends" in result.stderr
    recorded = Run(runs / "backward-one-line").samples()[0].samples[0].suffix
    assert recorded
    assert typed("backward-one-line").stdout.endswith(f"{recorded}\n")


def test_a_run_without_a_recorded_beginning_asks_for_one(typed):
    result = typed("unprompted")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "knows no line ends, and its run has no sample prefix" in result.stderr


def test_texts_begin_in_the_same_way_in_python(typed, runs):
    for run in ("lf", "one-line", "backward"):
        (text,) = charlm.generate(charlm.open_run(runs / run), length=12)
        assert f"{text}\n" == typed(run).stdout


# Standard input: a loop's, a terminal's, a closed one.


class Unread(io.RawIOBase):
    """Standard input that must not be read."""

    @property
    def buffer(self) -> None:
        pytest.fail("standard input was read")

    def fileno(self) -> int:
        pytest.fail("standard input was looked at")


@pytest.mark.parametrize("words", [["--prefix=x"], ["x"], ["--prefix-file=/dev/null"]])
def test_with_a_prompt_standard_input_is_not_read(monkeypatch, words):
    monkeypatch.setattr(sys, "stdin", Unread())
    given = [word for word in words if not word.startswith("--")]
    options = dict(word.removeprefix("--").split("=") for word in words if word.startswith("--"))
    prompt = prompts.read_prompt(
        given, prefix=options.get("prefix"), file=options.get("prefix-file"), suffix=None, escapes=False
    )
    assert prompt.decoded("utf-8").prefix in ("x", "")
    assert prompts.read_prompt([], prefix=None, file=None, suffix="x", escapes=False) == prompts.Prompt(None, "x")


@pytest.mark.parametrize("kind", ["closed", "device", "terminal", "empty pipe", "pipe", "file"])
def test_standard_input_is_a_prompt_only_where_it_gives_one(monkeypatch, tmp_path, kind):
    (tmp_path / "text").write_text("a cat", encoding="utf-8")
    reading, writing = pty.openpty() if kind == "terminal" else os.pipe()
    if kind == "pipe":
        os.write(writing, b"a cat")
    if kind != "terminal":
        os.close(writing)
    streams = {"device": os.devnull, "file": tmp_path / "text"}
    stream = open(streams.get(kind, reading), encoding="utf-8")  # noqa: PTH123, SIM115  it may be a descriptor
    with stream as stdin:
        monkeypatch.setattr(sys, "stdin", None if kind == "closed" else stdin)
        prompt = prompts.read_prompt([], prefix=None, file=None, suffix=None, escapes=False)
        assert prompt.decoded("utf-8").prefix == ("a cat" if kind in ("pipe", "file") else None)
        if kind == "closed":
            with pytest.raises(TextError, match="standard input: it is closed"):
                prompts.read_prompt(["-"], prefix=None, file=None, suffix=None, escapes=False)


def test_a_pipe_that_gives_nothing_yet_is_reported(monkeypatch):
    said = []
    reading, writing = os.pipe()

    def told(sentence: str, *, err: bool) -> None:
        said.append((sentence, err))
        os.write(writing, b"late")
        os.close(writing)

    monkeypatch.setattr(standard_input, "PATIENCE_SECONDS", 0)
    monkeypatch.setattr(standard_input.typer, "echo", told)
    with os.fdopen(reading, encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert prompts.read_prompt([], prefix=None, file=None, suffix=None, escapes=False).content == b"late"
    assert said == [
        ("charlm: waiting for a prefix on standard input; to skip it, give a prefix or add < /dev/null", True)
    ]


def test_a_prompt_without_end_is_refused(typed, monkeypatch):
    monkeypatch.setattr(prompts, "MAX_PREFIX_BYTES", 5)
    result = typed("lf", text="the cat")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "standard input is longer than 5 bytes" in result.stderr


# Seeds and stops.


def test_a_drawn_seed_is_printed_and_repeats_the_text(typed):
    result = typed("lf", "the", "--seed=random", "--json")
    record = json.loads(result.stdout)
    assert f"--seed {record['seed']} writes the same text again" in result.stderr
    assert typed("lf", "the", f"--seed={record['seed']}", "--json").stdout == result.stdout


@pytest.mark.parametrize(
    ("run", "stop", "expected"),
    [
        ("lf", "\n", ["\n"]),
        ("lf", "\r\n", ["\n"]),
        ("crlf", "\n", ["\n", "\r\n"]),
        ("crlf", "\r\n", ["\r\n", "\n"]),
        ("crlf", "sat\n", ["sat\n", "sat\r\n"]),
        ("cr", "\n", ["\r"]),
        ("letters", "T", ["t"]),
        ("lf", "mat", ["mat"]),
    ],
)
def test_a_stop_has_the_models_line_ends(runs, run, stop, expected):
    assert possible_stops(charlm.open_run(runs / run), [stop]) == expected


def test_a_line_ends_before_its_whole_line_end(typed):
    for seed in range(20):
        whole = typed("crlf", "the", f"--seed={seed}", "--length=60", "-t3").stdout_bytes.decode()[:-1]
        if "\r\n" in whole and whole.index("\n") == whole.index("\r\n") + 1:
            break
    else:
        pytest.fail("no seed writes a CRLF")
    for option in ("--stop-at-newline", "--stop=\n"):
        cut = typed("crlf", "the", f"--seed={seed}", "--length=60", "-t3", option).stdout_bytes.decode()
        assert cut == whole[: whole.index("\r\n")] + "\n"


def test_one_useless_stop_among_others_is_reported(runs):
    model = charlm.open_run(runs / "lf")
    with pytest.warns(CharlmWarning, match="no text can end before the stop 'É'"):
        assert possible_stops(model, ["É", "m", "m"]) == ["m"]
    with (
        pytest.raises(TextError, match="'é' for 'É'") if "é" in LINES else pytest.raises(TextError, match="'e' for 'É'")
    ):
        possible_stops(model, ["É"])
    with pytest.raises(TextError, match=r"before the stop '\.'"):
        possible_stops(charlm.open_run(runs / "letters"), ["."])


# What a terminal shows.

OBEYED = {
    "\x1b": "\\x1b",
    "\r": "\\x0d",
    "\x7f": "\\x7f",
    "\x85": "\\x85",
    "\x9b": "\\x9b",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
    "\u202a": "\\u202a",
    "\u202e": "\\u202e",
    "\u2066": "\\u2066",
    "\u2069": "\\u2069",
    "\ud800": "\\ud800",
}
SHOWN = "\n\té\u0301😀👩\u200d👧 می\u200cخواهم \u200e\u200f\u00a0\u00ad"


def test_what_a_terminal_acts_on_is_escaped_and_what_writing_systems_need_stays():
    assert escaped("".join(OBEYED)) == "".join(OBEYED.values())
    assert escaped(SHOWN) == SHOWN
    assert one_line(f"a\n\tb{SHOWN[2:]}\u202e") == f"a↵\\tb{SHOWN[2:]}\\u202e"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_json_on_a_terminal_keeps_its_meaning(monkeypatch):
    text = "".join(OBEYED) + SHOWN
    monkeypatch.setattr(sys, "stdout", stream := Terminal())
    print_json({"text": text})
    assert json.loads(stream.getvalue()) == {"text": text}
    assert escaped(stream.getvalue()) == stream.getvalue()

"""`--temperature 0.3,0.7`: the texts of each temperature, those that each alone would have."""

from __future__ import annotations

import json
import os
import pty
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from charlm.runs.run import Run

Command = Callable[..., Result]


@pytest.fixture
def generate(trained: Run, charlm_command: Command) -> Callable[..., Result]:
    """Return a function that runs `charlm generate` on the trained run."""
    return lambda *options: charlm_command("generate", f"--run={trained.path}", "--length=40", *options, text="")


@pytest.mark.parametrize("options", [["the "], [], ["the ", "-n", "3"], ["the ", "--stop-at-newline", "--seed=7"]])
def test_each_temperature_has_its_own_texts_under_a_heading(
    generate: Callable[..., Result], options: list[str]
) -> None:
    several = generate(*options, "-t", "0.3,1,2.50")
    alone = {each: generate(*options, "-t", each).stdout for each in ("0.3", "1", "2.5")}
    assert len(set(alone.values())) == 3
    assert several.stdout == "\n".join(f"temperature {each}\n{text}" for each, text in alone.items())
    # The notice is printed once, not for each temperature.
    assert several.stderr == generate(*options).stderr


def test_in_json_each_record_has_its_temperature(generate: Callable[..., Result]) -> None:
    several = [json.loads(line) for line in generate("the ", "-n2", "--json", "-t", "0.5,1").stdout.splitlines()]
    assert [record.pop("temperature") for record in several] == [0.5, 0.5, 1.0, 1.0]
    alone = [generate("the ", "-n2", "--json", "-t", each).stdout.splitlines() for each in ("0.5", "1")]
    assert several == [json.loads(line) for lines in alone for line in lines]


def test_new_items_of_each_temperature(charlm_command: Command, listed: Run) -> None:
    new = ("generate", "--new", "-n", "3", f"--run={listed.path}")
    alone = [charlm_command(*new, "-t", each).stdout for each in ("0.8", "1.2")]
    several = charlm_command(*new, "-t", "0.8,1.2")
    assert several.stdout == f"temperature 0.8\n{alone[0]}\ntemperature 1.2\n{alone[1]}"


def test_a_single_temperature_has_no_heading_and_no_field(generate: Callable[..., Result]) -> None:
    assert generate("the ", "-t", "0.8").stdout == generate("the ").stdout
    assert "temperature" not in generate("the ", "-t", "0.8", "--json").stdout


def test_headings_are_bold_on_a_terminal(
    trained: Run, charlm_process: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    master, slave = pty.openpty()
    arguments: list[str | Path] = ["generate", f"--run={trained.path}", "the ", "-t", "0.3,0.7"]
    charlm_process(*arguments, stdout=slave, stderr=slave)
    os.close(slave)
    shown = b""
    while b"temperature 0.7\x1b[0m" not in shown:
        shown += os.read(master, 65536)
    os.close(master)
    assert shown.startswith(b"\x1b[1mtemperature 0.3\x1b[0m\r\nthe ")


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("warm", "--temperature must be a number, got 'warm'"),
        ("0.3,", "--temperature must be numbers with commas between them, as in 0.3,0.7, got '0.3,'"),
        ("0.3;0.7", "--temperature must be a number, got '0.3;0.7'"),
        ("0.3,0.7,x", "--temperature must be numbers with commas between them, as in 0.3,0.7, got '0.3,0.7,x'"),
        ("0.3,-1", "temperature must be 0 or more, got -1.0"),
        ("nan,1", "temperature must be 0 or more, got nan"),
        ("1,0.5,1.0", "--temperature has 1 twice: give each temperature once"),
        (",".join(map(str, range(101))), "--temperature takes at most 100 numbers, got 101"),
    ],
)
def test_what_is_no_temperature_is_one_sentence_and_2(
    generate: Callable[..., Result], typed: str, sentence: str
) -> None:
    result = generate("the ", f"--temperature={typed}")
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"charlm: {sentence}\n")

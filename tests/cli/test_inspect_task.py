"""`charlm inspect --task`: the table, the picture, JSON, and what does not go together."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from typer.testing import Result

import charlm
from charlm.cli.inspect_task import TASKS as WORDS
from charlm.console.memory import show_memory
from charlm.insight.memory_records import CellMemory, LagAccuracy, MemoryFindings, RateTrial
from charlm.insight.memory_tasks import TASKS
from charlm.library import remembering
from charlm.library.remembering import steps_for
from charlm.reports.memory_pictures import memory_picture
from charlm.runs.json_records import to_json
from charlm.training import remembering as training

Charlm = Callable[..., Result]
FOUND = MemoryFindings(
    task="copy",
    question="Symbols are copied.",
    chance=0.125,
    guess="any symbol",
    num_steps=2000,
    batch_size=64,
    longest_trained=2,
    seed=7,
    cells=tuple(
        CellMemory(
            cell=cell,
            hidden_size=size,
            num_parameters=19_000,
            learning_rate=1e-3,
            trials=(RateTrial(1e-3, 0.5), RateTrial(3e-3, None)),
            lags=(LagAccuracy(1, share, (share - 0.02, share + 0.03), 500), LagAccuracy(2, 0.5, (0.46, 0.54), 500)),
            reach=1 if share > 0.9 else None,
        )
        for cell, size, share in (("rnn", 128, 0.25), ("gru", 73, 0.95))
    ),
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Find the same without training; return the task, steps and seed of each request."""
    requests: list[tuple[str, int, int]] = []

    def remember(task, *, num_steps, seed, report):
        requests.append((task.name, num_steps, seed))
        report("RNN at 0.001", 1, 2)
        return FOUND

    monkeypatch.setattr(remembering, "remember", remember)
    return requests


def test_the_table_has_each_cell_and_chance_and_says_what_it_rests_on(
    charlm_command: Charlm, asked: list[tuple[str, int, int]]
) -> None:
    shown = charlm_command("inspect", "--task", "copy", "--seed", "7", "--minutes", "0.5")
    assert (shown.exit_code, shown.stderr, asked) == (0, "", [("copy", steps_for(0.5), 7)])
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert ["cell", "units", "parameters", "rate", "1", "2"] in lines
    assert ["RNN", "128", "19,000", "0.001", "25.0", "50.0"] in lines
    assert ["GRU", "73", "19,000", "0.001", "95.0", "50.0"] in lines
    assert ["chance", "-", "-", "-", "12.5", "12.5"] in lines
    assert "(2 is the longest): RNN none, GRU 1." in shown.stdout
    assert "the 95 % intervals are at most ± 4.0." in shown.stdout
    assert "any symbol" in shown.stdout
    assert "2,000 steps of 64 sequences, on lags up to 2." in shown.stdout
    assert "seed 7" in shown.stdout


def test_a_narrow_terminal_keeps_the_longest_lags_and_has_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    lags = tuple(LagAccuracy(2**place, 0.5, (0.46, 0.54), 500) for place in range(9))
    monkeypatch.setattr(sys, "stdout", Terminal())
    show_memory(replace(FOUND, cells=tuple(replace(cell, lags=lags) for cell in FOUND.cells)))
    lines = re.sub(r"\x1b\[[\d;]*m", "", sys.stdout.getvalue()).splitlines()  # pyright: ignore[reportAttributeAccessIssue]
    (header,) = [line.split() for line in lines if line.startswith("cell")]
    assert (header[0], header[-2:]) == ("cell", ["128", "256"])
    assert "parameters" not in header
    assert any("lag, characters in between" in line for line in lines)


def test_json_has_all_numbers_and_the_verdict(charlm_command: Charlm, asked: list[tuple[str, int, int]]) -> None:
    record = json.loads(charlm_command("inspect", "--task=copy", "--json").stdout)
    assert record == {"task": json.loads(json.dumps(to_json(FOUND))), "verdict": FOUND.verdict}
    assert record["task"]["cells"][0]["trials"][1] == {"learning_rate": 3e-3, "loss": None}
    assert asked == [("copy", steps_for(1), 0)]


@pytest.mark.usefixtures("asked")
def test_a_picture_is_drawn_into_a_file_which_is_not_replaced(charlm_command: Charlm, tmp_path: Path) -> None:
    file = tmp_path / "copy.svg"
    shown = charlm_command("inspect", "--task=copy", "-o", str(file))
    assert shown.exit_code == 0
    assert "GRU" in file.read_text(encoding="utf-8")
    assert f"{file}: " in shown.stdout.replace("\n", "")
    assert charlm_command("inspect", "--task=copy", "-o", str(file)).exit_code == 2
    record = json.loads(charlm_command("inspect", "--task=copy", "--json", "--force", "-o", str(file)).stdout)
    assert record["file"] == str(file)


def test_the_picture_has_a_line_for_each_cell_and_chance_as_a_level() -> None:
    (panel,) = memory_picture(FOUND).panels
    assert [(line.label, [(dot.x, dot.y) for dot in line.dots]) for line in panel.lines] == [
        ("RNN", [(1, 25.0), (2, 50.0)]),
        ("GRU", [(1, 95.0), (2, 50.0)]),
    ]
    assert [(level.label, level.y) for level in panel.levels] == [("chance", 12.5)]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["my-run", "--task=copy"], "--task trains networks of its own and reads no run: give it without a RUN"),
        (["--task=copy", "--show=gates", "--split=test"], "give it without --show and --split"),
        (["--task=copy", "--checkpoint=last"], "give it without --checkpoint"),
        (["--task=copy", "--corpus=a.txt"], "give it without --corpus"),
        (["--task=copy", "--chars=99"], "give it without --chars"),
        (["--task=copy", "--neuron=1:3"], "give it without --neuron"),
        (["--task=bracket"], "--task must be copy, adding or brackets, got 'bracket'; did you mean brackets?"),
        (["--minutes=2"], "--minutes belongs to --task"),
        (["--task=copy", "--minutes=0"], "minutes must be above 0 and at most 1,000, got 0"),
        (["--task=copy", "--minutes=nan"], "minutes must be above 0"),
        (["--task=copy", "--seed=99999999999999999999"], "the random seed must be"),
        (["--task=copy", "--force"], "--force replaces a file that exists, so it needs -o FILE"),
        (["--task=copy", "-o", "picture.txt"], "must be a file that ends in .svg, .png or .pdf"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused_in_a_sentence(
    charlm_command: Charlm, asked: list[tuple[str, int, int]], options: list[str], says: str
) -> None:
    shown = charlm_command("inspect", *options)
    assert (shown.exit_code, shown.stdout, asked) == (2, "", [])
    assert says in " ".join(shown.stderr.split())
    assert "Traceback" not in shown.stderr


def test_the_words_of_the_option_are_the_tasks() -> None:
    assert list(WORDS) == list(TASKS)


def test_a_task_is_trained_and_tested_for_real(charlm_command: Charlm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "NUM_TESTED", 20)
    record = json.loads(charlm_command("inspect", "--task=brackets", "--minutes=0.003", "--json").stdout)
    assert record["task"]["num_steps"] == steps_for(0.003)
    assert [cell["cell"] for cell in record["task"]["cells"]] == ["rnn", "gru", "lstm"]
    assert charlm.memory_task("brackets", minutes=0.003).verdict == record["verdict"]
    with pytest.raises(charlm.errors.ConfigError, match="no memory task 'sums'"):
        charlm.memory_task("sums")

"""Text from unknown sources is shown unchanged on a terminal and in a pipe, including brackets and colons."""

from __future__ import annotations

import ast
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table

import charlm
from charlm.cli.main import app
from charlm.console.benchmarks import benchmark_progress
from charlm.console.corpora import download_progress
from charlm.console.evaluation import evaluation_progress
from charlm.console.sweep_results import show_results
from charlm.console.sweeps import SweepView
from charlm.console.terminal import console_for
from charlm.evaluation.spread import Spread
from charlm.settings.schema import Settings
from charlm.sweeps.events import SweepProgress, TrialEnd, TrialStart
from charlm.sweeps.plan import Trial
from charlm.sweeps.results import Configuration, Results
from charlm.sweeps.tasks import Outcome

MARKUP = "x[a:b:o] :smile: [bold]b[/bold] [/red] [link=y]z\\[u] [red"
SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CONSOLE = Path(charlm.__file__).parent / "console"


class Terminal(io.StringIO):
    """A terminal in this process; what it shows is read without colours."""

    def isatty(self) -> bool:
        """Say that it is one."""
        return True

    @property
    def shown(self) -> str:
        """The text on it, with each run of spaces as one, because tables have margins."""
        return " ".join(SEQUENCE.sub("", self.getvalue()).split())


Seat = Callable[[], Terminal]


@pytest.fixture
def seat(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Terminal]:
    """Return a function that connects both streams to a wide terminal; pytest uses its own until the test begins."""

    def sit_down() -> Terminal:
        for name, value in (("TERM", "xterm-256color"), ("COLUMNS", "400"), ("LINES", "60")):
            monkeypatch.setenv(name, value)
        terminal = Terminal()
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, terminal)
        return terminal

    return sit_down


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """Return options that train on a text full of markup, in a file whose name is markup too."""
    corpus = tmp_path / "[bold]c[x:o] :smile:.txt"
    corpus.write_text(f"{MARKUP}\n" * 60, encoding="utf-8")
    sizes = ("sampling.batch_size=2", "sampling.seq_len=16", "model.hidden_size=4", "train.threads=1")
    settings = (*sizes, "train.max_steps=2", "sample.length=5", f"sample.prefixes={json.dumps([MARKUP])}")
    return [f"--corpus={corpus}", *(f"--set={each}" for each in settings), "--run=r", f"--runs-dir={tmp_path}/:o:[b]"]


def told(run: Callable[..., None], options: list[str], tmp_path: Path) -> None:
    """Run every command that shows something about a run, and check that its text is shown."""
    folder = [f"--runs-dir={tmp_path}/:o:[b]"]
    corpus = str(tmp_path / "[bold]c[x:o] :smile:.txt")
    run([MARKUP, corpus, ":o:[b]"], "train", *options)
    run([Path(corpus).name], "info", *folder)
    run([MARKUP, corpus], "info", "r", *folder)
    run([corpus], "corpus", "info", corpus)
    run([":o:[b]"], "verify", "r", *folder)
    run([MARKUP], "generate", "--run=r", f"--prefix={MARKUP}", "--length=3", *folder)
    run(["r"], "compare", "r", *folder)


def test_every_view_shows_markup_as_text_in_a_pipe(
    charlm_command: Callable[..., Any], options: list[str], tmp_path: Path
) -> None:
    def run(texts: list[str], *arguments: str) -> None:
        outcome = charlm_command(*arguments)
        assert outcome.exit_code == 0, outcome.output
        # Samples are quoted as in Python, a prefix as in a shell and a setting as in YAML.
        shown = outcome.output.replace("\\\\", "\\")
        assert [text for text in texts if text not in shown] == []

    told(run, options, tmp_path)


def test_every_view_shows_markup_as_text_on_a_terminal(seat: Seat, options: list[str], tmp_path: Path) -> None:
    terminal = seat()

    def run(texts: list[str], *arguments: str) -> None:
        terminal.seek(0)
        terminal.truncate(0)
        app(list(arguments), standalone_mode=False)
        shown = terminal.shown.replace("\\\\", "\\")
        assert [text for text in texts if text not in shown] == []

    told(run, options, tmp_path)


@pytest.mark.parametrize("progress", [download_progress, evaluation_progress])
def test_a_bar_shows_its_name_unchanged(seat: Seat, progress: Callable[..., Any]) -> None:
    terminal = seat()
    with progress(MARKUP) as report:
        report(1, 2)
    assert MARKUP in terminal.shown


def test_a_bar_of_benchmarks_shows_its_name_unchanged(seat: Seat) -> None:
    terminal = seat()
    with benchmark_progress() as report:
        report(1, 2, MARKUP)
    assert MARKUP in terminal.shown


def test_a_sweep_shows_its_values_unchanged(seat: Seat, tmp_path: Path) -> None:
    terminal = seat()
    trial = Trial(MARKUP, 0, (), {"corpus.path": MARKUP}, 0, Settings())
    view = SweepView()
    with view.showing():
        view.show(TrialStart(trial, None))
        outcome = Outcome(MARKUP, None, "failed", MARKUP, 3, {}, 1.0)
        view.show(TrialEnd(trial, outcome, SweepProgress(None, 2, 1)))
    assert terminal.shown.count(MARKUP) >= 3
    terminal.seek(0)
    terminal.truncate(0)
    row = Configuration(0, {"corpus.path": MARKUP}, "finished", 1, 1, 1, 9, {"val_bpc": Spread(1.0, None, 1)})
    show_results(Results("s", "val_bpc", "minimize", (row,), (), {MARKUP: 0.5}, {}, (MARKUP,)), tmp_path / MARKUP)
    assert terminal.shown.count(MARKUP) == 3


def test_a_pipe_gets_every_character_and_a_terminal_acts_on_none(seat: Seat) -> None:
    terminal = seat()
    text = "a\tb\rc\x1b[31md\x07"
    pipe = io.StringIO()
    console_for(pipe).print(text)
    assert pipe.getvalue() == f"{text}\n"
    console = console_for(terminal)
    console.print(text)
    table = Table()
    table.add_row(text)
    console.print(table)
    assert "\x1b[31m" not in terminal.getvalue()
    assert "\x07" not in terminal.getvalue()
    assert terminal.getvalue().count("\\x1b[31m") == 2


def test_no_text_can_become_markup() -> None:
    """Check the sources: all consoles come from one place, and text columns interpret no markup."""
    for path in CONSOLE.glob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert "rich.markup" not in source, path.name
        assert "from_markup" not in source, path.name
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.Call):
                continue
            called, options = ast.unparse(node.func), {each.arg: ast.unparse(each.value) for each in node.keywords}
            assert called not in ("Console", "rich.print", "SpinnerColumn"), (path.name, node.lineno)
            assert called != "PlainConsole" or (options["markup"], options["emoji"]) == ("False", "False")
            assert called != "TextColumn" or options.get("markup") == "False", (path.name, node.lineno)
            assert called not in ("Progress", "Bar") or node.args, f"{path.name}:{node.lineno} takes Rich's own columns"

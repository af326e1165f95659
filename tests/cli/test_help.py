"""Help texts: an imperative sentence, and examples that work."""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import typer
from pairs import one_in
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from charlm.benchmarks import timing
from charlm.cli import chat
from charlm.cli.flags import FLAGS, PANEL
from charlm.cli.main import app
from charlm.sweeps import sweeping
from charlm.sweeps.workers import Workers
from charlm.text import download
from charlm.training import remembering

STORIES = Path(__file__).parents[2] / "data" / "stories.txt"
SHORT = ("train.max_steps=2", "model.hidden_size=8", "sampling.batch_size=2", "sampling.seq_len=8", "train.threads=1")
EXAMPLE = re.compile(r"(?:^|Example: )\s*(charlm \S.*?)(?:\s{2,}\(.*\))?$", re.MULTILINE)


def commands(group: typer.Typer = app, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield (words, help) for each command."""
    for command in group.registered_commands:
        assert command.callback is not None
        yield (*words, command.name or command.callback.__name__), inspect.getdoc(command.callback) or ""
    for nested in group.registered_groups:
        assert nested.typer_instance is not None
        yield from commands(nested.typer_instance, (*words, str(nested.name)))


ALL = list(commands())
GROUPS = [(), ("corpus",), ("config",)]
EXAMPLES = [example for _, text in ALL for example in EXAMPLE.findall(text)]
# Notation of Typer and pydantic that only Python programmers know.
FOREIGN = re.compile(r"<\w+|list\[|\bx<=|<=x|>=|range|[╭│╰]|\bNone\b|\.\.\.\.")


@pytest.fixture
def _80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize(("words", "text"), ALL, ids=lambda value: "-".join(value) if isinstance(value, tuple) else "")
def test_each_command_has_a_sentence_and_an_example_of_its_own(words, text):
    assert text.split("\n")[0].rstrip().endswith((".", "all."))
    examples = EXAMPLE.findall(text)
    assert examples
    assert all(example.startswith(" ".join(("charlm", *words))) for example in examples)


@pytest.mark.usefixtures("_80_columns")
@pytest.mark.parametrize(
    "words", [*GROUPS, *(words for words, _ in ALL)], ids=lambda words: "-".join(words) or "charlm"
)
def test_the_first_screen_of_each_help_has_purpose_example_and_options(words, charlm_command):
    shown = charlm_command(*words, "--help")
    assert (shown.exit_code, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith(" ".join(("Usage: charlm", *words)))
    screen = "\n".join(lines[:24])
    purpose, rest = re.fullmatch(r"Usage: .*?\n\n(.*?)\n\nExamples?:\n(.*)", screen, re.DOTALL).groups()
    assert purpose.endswith(".")
    assert rest.startswith(" ".join(("  charlm", *words)))
    # Those of a group are its commands.
    assert re.search(r"^  (-\w, )?--?\w|^Commands:", rest, re.MULTILINE)
    assert FOREIGN.search(shown.stdout) is None


@pytest.mark.usefixtures("_80_columns")
def test_the_common_settings_are_on_the_first_screen(charlm_command):
    lines = charlm_command("train", "--help").stdout.splitlines()[:24]
    at = lines.index(f"{PANEL}:")
    assert [line.split()[0] for line in lines[at + 1 :]] == list(FLAGS.values())


@pytest.mark.parametrize("words", [("help", "train"), ("--help", "train"), ("-h", "train"), ("train", "-h")])
def test_help_is_found_from_either_side(words, charlm_command):
    assert charlm_command(*words).stdout == charlm_command("train", "--help").stdout


def test_help_of_a_narrow_or_wide_terminal_keeps_to_it(monkeypatch, charlm_command):
    for columns, widest in ((40, 40), (60, 60), (100, 100), (300, 100), (5, 40)):
        monkeypatch.setenv("COLUMNS", str(columns))
        shown = charlm_command("train", "--help").stdout
        assert max(len(line) for line in shown.splitlines() if "charlm" not in line) <= widest


def test_examples_that_are_broken_over_lines_are_still_commands(monkeypatch, charlm_command):
    monkeypatch.setenv("COLUMNS", "50")
    shown = charlm_command("train", "--help").stdout.replace(" \\\n", "")
    examples = [line.strip() for line in shown.splitlines() if line.startswith("  charlm")]
    assert [shlex.split(example) for example in examples] == [
        shlex.split(example) for example in EXAMPLES if example.split()[1] == "train"
    ]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, corpus_text, charlm_command):
    """Return a folder with the files and the runs that the examples mention; tests must not change it."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("poems.txt", "other.txt"):
            Path(name).write_text(corpus_text, encoding="utf-8")
        Path("my.yaml").write_text("model: {cell: gru}\n", encoding="utf-8")
        Path("my-sweep.yaml").write_text("space: {model.cell: [rnn, gru]}\n", encoding="utf-8")
        # The beginning of the default corpus, because the examples need its symbols.
        Path("stories.txt").write_text(STORIES.read_text(encoding="utf-8")[:6_000], encoding="utf-8")
        Path("names.txt").write_text(
            "".join(f"{first}{last}\n" for first in "abcde" for last in "xyz"), encoding="utf-8"
        )
        names = ["--run", "names", "names.txt", "--lines", *(f"--set={setting}" for setting in SHORT)]
        assert charlm_command("train", *names).exit_code == 0
        shortened = ["--corpus=stories.txt", *(f"--set={setting}" for setting in SHORT)]
        for name, more in (("my-lyrics", []), ("newest", ["--set", "model.direction=bidirectional"])):
            assert charlm_command("train", "--run", name, *shortened, *more).exit_code == 0
        assert charlm_command("compress", "poems.txt", "--run", "my-lyrics", "-o", "poems.cz").exit_code == 0
    return folder


@pytest.fixture
def _folder_with_runs(tmp_path, monkeypatch, prepared):
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    # Nothing is downloaded here: other tests cover downloads.
    monkeypatch.setattr(download, "fetch_corpus", lambda corpus, **_: Path(corpus.name))
    monkeypatch.setattr(sweeping, "local_workers", lambda _: Workers(lambda: ThreadPoolExecutor(1), 1))
    # A benchmark measures one item per turn.
    for name in ("SECONDS_A_TURN", "SECONDS_TO_WARM_UP"):
        monkeypatch.setattr(timing, name, 0.0)
    # A memory task takes one step.
    monkeypatch.setattr(remembering, "STEPS_PER_MINUTE", 1)


@contextmanager
def typing_at_a_prompt(keys: str, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have a conversation read these keys, as though a terminal were there."""
    patch.setattr(chat, "_is_terminal", lambda _: True)
    with create_pipe_input() as typed, create_app_session(typed, DummyOutput()):
        typed.send_text(keys)
        yield


@pytest.mark.usefixtures("_folder_with_runs")
@pytest.mark.parametrize("example", one_in(2, EXAMPLES))
def test_each_example_works(example, charlm_command, monkeypatch):
    arguments = shlex.split(example)[1:]
    if arguments[0] == "train":
        arguments += [f"--set={setting}" for setting in SHORT]
        # The default corpus takes seconds to be counted for its baselines: once is enough.
        arguments += ["--set=eval.baselines=false", "--set=corpus.max_chars=20000"] if "--seeds" in arguments else []
        if "--resume" not in arguments:
            arguments = ["another" if argument == "my-lyrics" else argument for argument in arguments]
    if arguments[0] == "sweep":
        # A setting that the sweep varies cannot be set as well.
        shorter = (*SHORT, "eval.baselines=false", "corpus.max_chars=20000")
        arguments += [f"--set={setting}" for setting in shorter if "hidden_size" not in setting]
    if arguments[0] == "bench":
        arguments += ["--rounds", "1", "--seq-len", "4", "--batch-size", "2"]
    if arguments[:2] == ["config", "init"]:
        Path("my.yaml").unlink()
    with typing_at_a_prompt("The \r\r:top\r1\r:quit\r", monkeypatch) if arguments[0] == "chat" else nullcontext():
        result = charlm_command(*arguments)
    assert result.exit_code == 0, result.stderr

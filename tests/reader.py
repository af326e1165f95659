"""A reader who tries out the pages: their commands and Python are run, and each training is cut down to a moment."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
from prose import Fence
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command
from typer.testing import CliRunner, Result

import charlm
from charlm.cli import sweep, train
from charlm.cli.main import app
from charlm.errors import ConfigError
from charlm.settings.schema import Settings
from charlm.settings.strict_yaml import parse_yaml

# What every training is cut down to, unless its command says otherwise.
SHORT = {
    "model.hidden_size": "8",
    "sampling.batch_size": "2",
    "sampling.seq_len": "8",
    "train.threads": "1",
    "eval.baselines": "false",
}
NUM_STEPS = 2
# Programs besides charlm that a page may use.
TOOLS = ("cat", "cp", "cut", "echo", "grep", "head", "ls", "mkdir", "mv", "printf", "rm", "shuf", "sort", "tail", "wc")
BETWEEN = ("|", "||", "&&", ";", "&")


def stages(line: str) -> Iterator[tuple[list[str], str]]:
    """Yield the words of each command on a line, and what follows it: `|`, `&&`, `>` or nothing."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if word in (*BETWEEN, ">", ">>", "<"):
            yield words, word
            words = []
        else:
            words.append(word)
    yield words, ""


def charlm_commands(line: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of charlm on a line."""
    for words, _ in stages(line):
        if words and Path(words[0]).name == "charlm":
            yield words[1:]


def command_named(words: Sequence[str]) -> tuple[TyperCommand | TyperGroup, list[str]]:
    """Return the command that some arguments name, and the arguments that are left for it."""
    command, left = get_command(app), list(words)
    while isinstance(command, TyperGroup) and left and left[0] in command.commands:
        command = command.commands[left.pop(0)]
    assert isinstance(command, TyperCommand | TyperGroup)
    return command, left


def options_of(command: TyperCommand | TyperGroup) -> set[str]:
    """Return all options of a command."""
    return {"-h", "--help"} | {
        each for parameter in command.params for each in (*parameter.opts, *parameter.secondary_opts)
    }


def unknown_options(words: Sequence[str]) -> list[str]:
    """Return the options among some arguments that the command does not have."""
    command, left = command_named(words)
    asked = {word.partition("=")[0] for word in left if re.match(r"--?[a-zA-Z]", word)}
    return sorted(asked - options_of(command))


def command_problem(words: Sequence[str]) -> str | None:
    """Return what charlm would say against some arguments, without running anything; None where it takes them.

    Options and arguments are checked; for trainings and sweeps the settings and the bundled files too.
    """
    command, left = command_named(words)
    if isinstance(command, TyperGroup):
        return None if left and set(left) <= options_of(command) else f"there is no command {shlex.join(words)}"
    try:
        given = command.make_context(words[0], left).params
    except (ConfigError, typer.Exit) as error:
        return None if isinstance(error, typer.Exit) else str(error)
    # A file of the reader's own is not here.
    named = [str(name) for name in (*(given.get("config") or ()), *([given["file"]] if words[0] == "sweep" else ()))]
    if words[0] not in ("train", "sweep") or any(name.endswith(".yaml") and not Path(name).exists() for name in named):
        return None
    with pytest.MonkeyPatch.context() as patch:
        for module, name in (
            (train, "train_run"),
            (train, "train_ensemble"),
            (train, "_train_seeds"),
            (sweep, "run_plan"),
        ):
            patch.setattr(module, name, _stop)
        result = CliRunner().invoke(app, list(words))
    return result.stderr if result.exit_code else None


def _stop(*_: object, **__: object) -> None:
    raise typer.Exit


@dataclass
class Reader:
    """Somebody who tries out a page, block by block, in the current folder.

    Args:
        run: runs the command line in this process.
        given_runs: names of runs that are there before; a page that makes one of such a name has it for its own.
        num_trained: how often was trained until now.
        names: what the blocks of Python share.
    """

    run: Callable[..., Result]
    given_runs: set[str]
    num_trained: int = 0
    names: dict[str, object] = field(default_factory=lambda: {"__name__": "__main__"})

    def try_out(self, fence: Fence) -> None:
        """Do what a block says; `parsed` ones are only checked."""
        if fence.language == "yaml":
            parse_yaml(fence.text, fence.place)
            if fence.marker:
                Path(fence.marker).write_text(fence.text, encoding="utf-8")
        elif fence.language == "python":
            code = compile(fence.text, fence.place, "exec")
            if fence.marker != "parsed":
                self._exec(code)
        elif fence.language in ("sh", "text", "bash"):
            for line in fence.commands():
                for words in charlm_commands(line) if fence.marker == "parsed" or fence.language == "text" else ():
                    assert (problem := command_problem(words)) is None, f"{fence.place}: {problem}"
                if (fence.language, fence.marker) == ("sh", ""):
                    self._shell(line, fence.place)

    def _exec(self, code: object) -> None:
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()):
            for name in ("load_settings", "train", "train_reports"):
                patch.setattr(charlm, name, getattr(self, f"_{name}")(getattr(charlm, name)))
            exec(code, self.names)  # pyright: ignore[reportArgumentType]

    def _load_settings(self, load: Callable[..., Settings]) -> Callable[..., Settings]:
        """Return what loads settings that are cut short."""

        def shorter(*files: str, overrides: Sequence[str] = (), **more: Any) -> Settings:
            return load(*files, overrides=[*overrides, *self._cuts(overrides, has_file=bool(files))], **more)

        return shorter

    def _train(self, train: Callable[..., object]) -> Callable[..., object]:
        """Return what trains the quick start cut short, where no settings are given."""

        def shorter(settings: Settings | None = None, **options: Any) -> object:
            if settings is None:
                given = options.get("overrides", ())
                options["overrides"] = [*given, *self._cuts(given, resumes=bool(options.get("resume")))]
            return train(settings, **options)

        return shorter

    _train_reports = _train

    def _cuts(self, settings: Sequence[str], *, has_file: bool = False, resumes: bool = False) -> list[str]:
        """Return the settings that make a training short, besides those that are given.

        Args:
            settings: those, as `section.key=value`.
            has_file: whether a configuration sets the sizes that go together.
            resumes: whether it may have to go further than before.
        """
        self.num_trained += 1
        given = {setting.partition("=")[0] for setting in settings}
        steps = NUM_STEPS * (self.num_trained if resumes else 1)
        cuts = [f"train.max_steps={steps}"]
        if resumes:
            return cuts
        skipped = given | ({"model.hidden_size"} if has_file or "model.embedding_size" in given else set())
        return [*cuts, *(f"{key}={value}" for key, value in SHORT.items() if key not in skipped)]

    def _shell(self, line: str, place: str) -> None:
        """Run a line of shell: pipes, and output into a file."""
        text, parts = "", list(stages(line))
        for number, (words, behind) in enumerate(parts):
            if number and parts[number - 1][1] in (">", ">>"):
                with Path(words[0]).open("a" if parts[number - 1][1] == ">>" else "w", encoding="utf-8") as file:
                    file.write(text)
                continue
            program = Path(words[0]).name
            assert behind in ("", "|", ">", ">>") and program in ("charlm", *TOOLS), (  # noqa: PT018
                f"{place}: {line}\nis not tried out: tests know pipes, > FILE, charlm and {', '.join(TOOLS)}; "
                "mark the block ```sh parsed, and only its options are checked"
            )
            text = self._charlm(words[1:], text, place) if program == "charlm" else _tool(words, text)

    def _charlm(self, words: list[str], text: str, place: str) -> str:
        result = self.run(*self._shortened(words), text=text or None)
        shown = f"{place}: charlm {shlex.join(words)}"
        assert result.exit_code == 0, f"{shown}\nends with {result.exit_code}: {result.stderr}"
        assert result.stdout.strip() or "--quiet" in words, f"{shown}\nprints nothing"
        return result.stdout

    def _shortened(self, words: list[str]) -> list[str]:
        """Return a command that trains for a moment where it would for minutes."""
        if words[:1] == ["sweep"]:
            given = [value for option, value in pairwise(words) if option == "--set"]
            return [*words, *(f"--set={each}" for each in self._cuts(given, has_file=True))]
        if words[:1] != ["train"]:
            return words
        command, left = command_named(words)
        params = command.make_context("train", left).params
        flags = {"hidden_size": "model.hidden_size", "batch_size": "sampling.batch_size"}
        given = [*(params["set_"] or []), *(key for flag, key in flags.items() if params[flag] is not None)]
        before = ["", *words]
        kept = [word for word, former in zip(words, before, strict=False) if "--steps" not in (word, former)]
        name = params["run"]
        if name in self.given_runs and not params["resume"]:
            self.given_runs.remove(name)
            shutil.rmtree(Path("runs") / name)
        has_file = bool(params["config"])
        resumes = params["resume"] and not has_file and not params["texts"]
        return [*kept, *(f"--set={each}" for each in self._cuts(given, has_file=has_file, resumes=resumes))]


def _tool(words: Sequence[str], text: str) -> str:
    return subprocess.run(words, input=text, capture_output=True, text=True, check=True).stdout

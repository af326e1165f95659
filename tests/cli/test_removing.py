"""`charlm rm` and `charlm prune`: what they show and ask, what scripts get, and how they refuse."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from processes import run_code
from typer.testing import Result

from charlm.library.training import train
from charlm.runs import removal
from charlm.runs.ownership import take_ownership
from charlm.runs.run import Run, list_runs
from charlm.settings.schema import Settings

Charlm = Callable[..., Result]
Process = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def runs(trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of two runs, each of the steps 20, 40 and 60, of which 60 is the best; work next to it."""
    for name in ("songs", "poems"):
        run = Run(shutil.copytree(trained.path, tmp_path / "runs" / name))
        shutil.copytree(run.checkpoint_paths()[0], run.checkpoints_folder / "step-00000020")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


@pytest.fixture
def answer(charlm_process: Process) -> Callable[..., tuple[int, str]]:
    """Return a function that runs a command on a terminal, types an answer to its question, and returns its outcome."""

    def run(typed: bytes, *arguments: str) -> tuple[int, str]:
        master, slave = pty.openpty()
        process = charlm_process(*arguments, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        shown, is_answered = b"", False
        with suppress(OSError):
            while block := os.read(master, 65536):
                shown += block
                if b"[y/N] " in shown and not is_answered:
                    is_answered = True
                    # These processes have no terminal of their own, whose driver would send the signal.
                    process.send_signal(signal.SIGINT) if typed == b"\x03" else os.write(master, typed)
        os.close(master)
        return process.wait(timeout=60), shown.decode().replace("\r\n", "\n")

    return run


def size(*paths: Path) -> int:
    """Return the size of all files in some folders."""
    return sum(file.stat().st_size for path in paths for file in path.rglob("*") if file.is_file())


def names(folder: Path) -> list[str]:
    """Return the names of the runs in a folder."""
    return sorted(run.name for run in list_runs(folder))


def num_checkpoints(folder: Path) -> list[int]:
    """Return how many checkpoints each run in a folder has."""
    return [len(run.checkpoint_paths()) for run in list_runs(folder)]


# Asking.


@pytest.mark.parametrize("typed", [b"y\n", b"yes\n", b"Y\n", b" YES \n"])
def test_a_yes_on_a_terminal_removes_what_was_shown(
    runs: Path, answer: Callable[..., tuple[int, str]], typed: bytes
) -> None:
    num_bytes = size(runs / "songs")
    code, shown = answer(typed, "rm", "songs")
    assert (code, names(runs)) == (0, ["poems"])
    assert f"songs  finished run, 3 checkpoints  {num_bytes:,}" in shown
    assert f"Remove 1 run, {num_bytes:,} bytes, for good? [y/N] " in shown
    assert shown.endswith(f"charlm: removed 1 run, {num_bytes:,} bytes\n")


@pytest.mark.parametrize("typed", [b"n\n", b"\n", b"no\n", b"yesterday\n", b"charlm info\n", b"\x04"])
@pytest.mark.parametrize("command", [("rm", "songs"), ("prune",)])
def test_any_other_answer_removes_nothing(
    runs: Path, answer: Callable[..., tuple[int, str]], typed: bytes, command: tuple[str, ...]
) -> None:
    code, shown = answer(typed, *command)
    assert (code, names(runs), num_checkpoints(runs)) == (0, ["poems", "songs"], [3, 3])
    assert shown.endswith("charlm: nothing was removed\n")


@pytest.mark.parametrize("command", [("rm", "songs"), ("prune",)])
def test_an_interrupt_is_no_answer(
    runs: Path, answer: Callable[..., tuple[int, str]], command: tuple[str, ...]
) -> None:
    code, shown = answer(b"\x03", *command)
    assert code == 130
    assert shown.endswith("charlm: interrupted\n")
    assert (names(runs), num_checkpoints(runs)) == (["poems", "songs"], [3, 3])


def test_pruning_asks_too(runs: Path, answer: Callable[..., tuple[int, str]]) -> None:
    num_bytes = sum(size(*Run(runs / name).checkpoint_paths()[:2]) for name in ("songs", "poems"))
    code, shown = answer(b"y\n", "prune", "--keep", "best")
    assert (code, num_checkpoints(runs)) == (0, [1, 1])
    assert "2 checkpoints: 20, 40" in shown
    assert "60 (best, last)" in " ".join(shown.split())
    assert f"Remove 4 checkpoints, {num_bytes:,} bytes, for good? [y/N] " in shown
    code, shown = answer(b"", "prune")
    assert (code, shown) == (0, "there is no checkpoint to remove\n")


def test_yes_answers_beforehand_on_a_terminal_too(runs: Path, answer: Callable[..., tuple[int, str]]) -> None:
    code, shown = answer(b"", "rm", "songs", "-y")
    assert (code, names(runs)) == (0, ["poems"])
    assert "[y/N]" not in shown


@pytest.mark.parametrize("command", [("rm", "songs"), ("prune",), ("prune", "songs"), ("rm", "absent")])
def test_without_a_terminal_and_without_yes_nothing_is_removed(
    runs: Path, charlm_command: Charlm, command: tuple[str, ...]
) -> None:
    for text in (None, "y\n"):
        result = charlm_command(*command, text=text)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == (
            f"charlm: nothing was removed: charlm {command[0]} asks on a terminal, and here there is none, so add "
            "--yes, or --dry-run to look only\n"
        )
        result = charlm_command(*command, "--json", text=text)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "--json does not ask, so add --yes" in result.stderr
    assert (names(runs), num_checkpoints(runs)) == (["poems", "songs"], [3, 3])


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
def test_a_question_that_cannot_be_seen_or_answered_is_not_asked(
    runs: Path, charlm_process: Process, stream: str
) -> None:
    master, slave = pty.openpty()
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), slave) | {stream: subprocess.DEVNULL}
    assert charlm_process("rm", "songs", **streams).wait(timeout=60) == 2
    os.close(slave)
    os.close(master)
    assert names(runs) == ["poems", "songs"]


# Output.


def test_what_was_removed_is_a_table_on_standard_output(runs: Path, charlm_command: Charlm) -> None:
    sizes = [size(runs / name) for name in ("songs", "poems")]
    result = charlm_command("rm", "songs", "poems", "--yes")
    assert (result.exit_code, result.stderr) == (0, f"charlm: removed 2 runs, {sum(sizes):,} bytes\n")
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["run", "what", "goes", "bytes"],
        ["songs", "finished", "run,", "3", "checkpoints", f"{sizes[0]:,}"],
        ["poems", "finished", "run,", "3", "checkpoints", f"{sizes[1]:,}"],
        ["total", f"{sum(sizes):,}"],
    ]
    assert list(runs.iterdir()) == []


@pytest.mark.parametrize("command", [("rm", "songs"), ("prune",)])
@pytest.mark.parametrize("more", [(), ("--yes",)])
def test_a_dry_run_only_shows(runs: Path, charlm_command: Charlm, command: tuple[str, ...], more: tuple[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    result = charlm_command(*command, "--dry-run", *more)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "songs" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before


def test_scripts_get_one_object(runs: Path, charlm_command: Charlm) -> None:
    num_bytes = size(runs / "songs")
    for more in ("--dry-run", "--yes"):
        result = charlm_command("rm", "songs", "--json", more)
        assert (result.exit_code, result.stdout.count("\n")) == (0, 1)
        assert json.loads(result.stdout) == {
            "dry_run": more == "--dry-run",
            "bytes": num_bytes,
            "runs": [
                {
                    "run": "songs",
                    "path": "runs/songs",
                    "state": "finished",
                    "sweep": None,
                    "num_runs": 1,
                    "num_checkpoints": 3,
                    "bytes": num_bytes,
                    "heirs": [],
                    "needed_by": [],
                    "ensembles": [],
                }
            ],
        }
    assert names(runs) == ["poems"]
    num_bytes = size(*Run(runs / "poems").checkpoint_paths()[:2])
    for more in ("--dry-run", "--yes"):
        result = charlm_command("prune", "--json", more)
        assert json.loads(result.stdout) == {
            "dry_run": more == "--dry-run",
            "bytes": num_bytes,
            "runs": [
                {
                    "run": "poems",
                    "path": "runs/poems",
                    "removed_steps": [20, 40],
                    "kept_steps": {"60": ["best", "last", "evaluated"]},
                    "num_leftovers": 0,
                    "bytes": num_bytes,
                }
            ],
            "skipped": {},
        }
    nothing = {"dry_run": False, "bytes": 0, "runs": [], "skipped": {}}
    assert json.loads(charlm_command("prune", "--json", "--yes").stdout) == nothing


def test_heirs_are_told_about(runs: Path, charlm_command: Charlm, tiny_settings: Callable[..., Settings]) -> None:
    settings = tiny_settings("start.run=runs/songs", "train.max_steps=2")
    heirs = [train(settings, name=name, runs_dir=runs) for name in ("one", "two")]
    shown = charlm_command("rm", "songs", "--dry-run").stdout
    assert shown.endswith("\none, two started from songs: they keep working\n")
    for path in heirs[1].checkpoint_paths():
        shutil.rmtree(path)
    shown = charlm_command("rm", "songs", "--dry-run").stdout
    assert "\none started from songs: it keeps working\ntwo cannot begin without songs: " in shown


def test_old_and_young_runs(runs: Path, charlm_command: Charlm) -> None:
    for path in (runs / "songs").rglob("*"):
        os.utime(path, (time.time() - 8 * 86_400,) * 2)
    result = charlm_command("prune", "--keep", "best", "--older", "7d", "--yes")
    assert result.exit_code == 0
    assert result.stdout.endswith("\nleft as they are, because they were written too recently for --older: poems\n")
    assert num_checkpoints(runs) in ([1, 3], [3, 1])
    assert len(Run(runs / "poems").checkpoint_paths()) == 3


def test_no_terminal_acts_on_a_name(runs: Path, answer: Callable[..., tuple[int, str]]) -> None:
    (runs / "songs").rename(runs / "\x1b[2J\x07songs")
    code, shown = answer(b"y\n", "rm", "\x1b[2J\x07songs")
    assert code == 0
    assert r"\x1b[2J\x07songs" in shown
    assert "\x1b[2J" not in shown


# Refusals.


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("rm", 2, "charlm rm needs RUN, as in: charlm rm my-lyrics --dry-run"),
        ("rm ''", 2, "RUN is empty"),
        ("rm songs '' --yes", 2, "RUN is empty"),
        ("rm songs absent --yes", 4, "there is no run absent in runs"),
        ("rm song --yes", 4, "there is no run song in runs; did you mean songs?"),
        ("rm runs --yes", 4, "runs is the folder of the runs and not a run: name the runs in it, as in runs/*"),
        ("rm . --yes", 4, "there is no run . in runs"),
        ("rm .. --yes", 4, "there is no run .. in runs"),
        ("rm runs/songs/checkpoints/.. --yes", 2, "does not say which run is meant: give its name (songs)"),
        ("rm songs/../../runs --yes", 4, "there is no run songs/../../runs in runs"),
        ("rm link --yes", 4, "runs/link is a link to songs, and links are not followed"),
        ("rm songs --force", 2, "charlm rm has no option --force; did you mean --yes?"),
        ("prune --older 7x --yes", 2, "--older must be a number and a unit (s, m, h, d or w), as in 7d, got '7x'"),
        ("prune --older -1d --yes", 2, "--older must be a number and a unit (s, m, h, d or w), as in 7d, got '-1d'"),
        ("prune --older --yes", 2, "--older must be a number and a unit"),
        ("prune --older '' --yes", 2, "--older is empty"),
        ("prune --keep all --yes", 2, "--keep must be best or last, got 'all'"),
        ("prune link --yes", 4, "runs/link is a link to songs, and links are not followed"),
        ("prune runs --yes", 4, "runs is the folder of the runs and not a run"),
        ("prune absent songs --yes", 4, "there is no run absent in runs"),
        ("delete songs", 2, "there is no command charlm delete; did you mean charlm rm?"),
        ("remove songs", 2, "there is no command charlm remove; did you mean charlm rm?"),
        ("clean", 2, "there is no command charlm clean; did you mean charlm prune?"),
        ("gc", 2, "there is no command charlm gc; did you mean charlm prune?"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(
    runs: Path, charlm_command: Charlm, command: str, code: int, words: str
) -> None:
    (runs / "link").symlink_to("songs")
    result = charlm_command(*(word.strip("'") for word in command.split()))
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("charlm: ")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert (names(runs), num_checkpoints(runs)) == (["link", "poems", "songs"], [3, 3, 3])


def test_a_run_in_use_is_7_as_for_a_resume(runs: Path, charlm_command: Charlm) -> None:
    mine = take_ownership(runs / "songs")
    try:
        resumed = charlm_command("train", "--resume", "--run", "songs")
        for command in (("rm", "poems", "songs"), ("prune", "poems", "songs")):
            refused = charlm_command(*command, "--yes")
            assert (refused.exit_code, refused.stdout, refused.stderr) == (7, "", resumed.stderr)
        pruned = charlm_command("prune", "--yes")
        assert pruned.exit_code == 0
        assert pruned.stderr.startswith(f"{resumed.stderr[:-1]}: it is left as it is\n")
    finally:
        mine.release()
    assert resumed.exit_code == 7
    assert len(Run(runs / "poems").checkpoint_paths()) == 1
    assert len(Run(runs / "songs").checkpoint_paths()) == 3


def test_an_error_half_way_says_what_is_gone(
    runs: Path, charlm_command: Charlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = removal.set_aside

    def set_aside(folder: Path) -> Path:
        if folder.name == "poems":
            raise PermissionError(13, "Permission denied", str(folder))
        return first(folder)

    num_bytes = size(runs / "songs")
    monkeypatch.setattr(removal, "set_aside", set_aside)
    result = charlm_command("rm", "songs", "poems", "--yes")
    assert result.exit_code == 6
    assert result.stderr == (
        f"charlm: removed 1 run, {num_bytes:,} bytes\ncharlm: cannot use runs/poems: permission denied\n"
    )
    assert names(runs) == ["poems"]


def test_neither_command_imports_torch(runs: Path) -> None:
    done = run_code(
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from charlm.cli.main import app\n"
        "for words in (['prune', '--yes'], ['prune', '--json', '--yes'], ['rm', 'songs', '--yes']):\n"
        "    assert CliRunner().invoke(app, words).exit_code == 0\n"
        "print('torch' in sys.modules)\n",
        is_cold=True,
    )
    assert (done.stdout, names(runs)) == ("False\n", ["poems"])

"""Full, closed, lost or limited standard streams, and what happens to a command's work then."""

from __future__ import annotations

import io
import os
import pty
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import CLOSED, Ended, Process, finish, run, run_code, start
from typer.testing import Result

from charlm.cli import streams
from charlm.runs.run import Run

Start = Callable[..., Process]


@contextmanager
def opened(path: str, mode: str) -> Iterator[int]:
    """Yield the descriptor of a file."""
    with Path(path).open(mode) as file:
        yield file.fileno()


@pytest.fixture
def train(tmp_path: Path, tiny_options: list[str]) -> Callable[..., Ended]:
    """Return a function that trains the run `run` to its end with given streams."""

    def train(*arguments: str, **options: int) -> Ended:
        return run("train", *tiny_options, "--run=run", f"--runs-dir={tmp_path}", *arguments, **options)

    return train


def is_whole(run: Run) -> bool:
    """Return whether a run has reached its end, with its closing line."""
    summary = run.summary()
    return summary is not None and summary.steps == 12


# Messages: those that cannot be written are dropped.


def test_a_full_disk_under_the_messages_ends_no_training(tmp_path: Path, train: Callable[..., Ended]) -> None:
    with opened("/dev/full", "wb") as full:
        done = train(stderr=full)
    assert done.exit_code == 0
    assert "perplexity" in done.stdout
    assert is_whole(Run(tmp_path / "run"))


def test_messages_that_nobody_reads_any_more_end_no_training(
    tmp_path: Path, charlm_process: Start, tiny_options: list[str]
) -> None:
    process = charlm_process("train", *tiny_options, "--run=run", f"--runs-dir={tmp_path}")
    assert process.stderr is not None
    process.stderr.close()
    process.stderr = None
    code, stdout, _ = finish(process)
    assert (code, "perplexity" in stdout) == (0, True)
    assert is_whole(Run(tmp_path / "run"))


def test_a_terminal_that_is_gone_ends_no_training(
    tmp_path: Path, charlm_process: Start, tiny_options: list[str]
) -> None:
    master, slave = pty.openpty()
    process = charlm_process(
        "train",
        *tiny_options,
        "--set=train.max_steps=400",
        "--run=run",
        f"--runs-dir={tmp_path}",
        "--json",
        stderr=slave,
    )
    os.close(slave)
    os.read(master, 1)
    os.close(master)
    code, stdout, _ = finish(process)
    assert (code, '"steps": 400' in stdout) == (0, True)


@pytest.mark.parametrize("streams", [("stderr",), ("stdin", "stderr")], ids=str)
def test_closed_messages_end_no_training_and_no_file_takes_their_place(
    tmp_path: Path, train: Callable[..., Ended], streams: tuple[str, ...]
) -> None:
    done = train(**dict.fromkeys(streams, CLOSED))
    assert (done.exit_code, "perplexity" in done.stdout) == (0, True)
    assert is_whole(Run(tmp_path / "run"))
    assert run("verify", "run", f"--runs-dir={tmp_path}").exit_code == 0


def test_a_terminal_is_told_once_that_messages_stay_away(train: Callable[..., Ended]) -> None:
    master, slave = pty.openpty()
    with opened("/dev/full", "wb") as full:
        assert train(stdout=slave, stderr=full).exit_code == 0
    os.close(slave)
    shown = os.read(master, 65536).decode()
    os.close(master)
    assert shown.count("charlm: messages are left out from here on: no space left on device") == 1
    assert "perplexity" in shown


def test_messages_come_back_with_the_space_and_say_that_some_are_missing() -> None:
    code = (
        "import os, sys\nfrom charlm.cli.streams import open_streams\nopen_streams()\nkept = os.dup(2)\n"
        "full = os.open('/dev/full', os.O_WRONLY)\nos.dup2(full, 2)\nprint('lost', file=sys.stderr)\n"
        "os.dup2(kept, 2)\nprint('here', file=sys.stderr)\nprint('again', file=sys.stderr)\n"
    )
    assert run_code(code) == (0, "", "charlm: messages are missing here: no space left on device\nhere\nagain\n")


def test_a_refusal_that_a_full_disk_keeps_back_is_6_and_one_that_is_not_wanted_keeps_its_code() -> None:
    with opened("/dev/full", "wb") as full:
        assert run("config", "show", "--set=x", stderr=full)[:2] == (6, "")
    assert run("config", "show", "--set=x", stderr=CLOSED)[:2] == (2, "")


# Results: those that cannot be written are an error, after everything is saved.

UNWRITTEN = "charlm: cannot write the output: "


@pytest.mark.parametrize(
    ("path", "mode", "reason"),
    [
        ("/dev/full", "wb", "no space left on device"),
        ("/dev/null", "rb", "standard output is not open for writing"),
        (None, "", "standard output is not open for writing"),
    ],
    ids=["full", "read only", "closed"],
)
@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["train", "--help"], ["config", "show"], ["info", "--json"]], ids=" ".join
)
def test_results_that_cannot_be_written_are_6_in_one_sentence(
    path: str | None, mode: str, reason: str, arguments: list[str]
) -> None:
    if path is None:
        done = run(*arguments, stdout=CLOSED)
    else:
        with opened(path, mode) as stream:
            done = run(*arguments, stdout=stream)
    assert done == (6, "", f"{UNWRITTEN}{reason}\n")


@pytest.mark.parametrize("more", [(), ("--json", "--quiet")], ids=" ".join)
def test_a_run_is_saved_before_its_closing_figures_cannot_be_written(
    tmp_path: Path, train: Callable[..., Ended], more: tuple[str, ...]
) -> None:
    done = train(*more, stdout=CLOSED)
    assert done.exit_code == 6
    assert done.stderr.endswith(f"{UNWRITTEN}standard output is not open for writing\n")
    assert is_whole(Run(tmp_path / "run"))


def test_with_all_three_closed_a_run_is_saved_and_none_of_its_files_is_taken_for_a_stream(
    tmp_path: Path, train: Callable[..., Ended]
) -> None:
    assert train(stdin=CLOSED, stdout=CLOSED, stderr=CLOSED).exit_code == 6
    assert is_whole(Run(tmp_path / "run"))
    assert run("verify", "run", f"--runs-dir={tmp_path}").exit_code == 0


def test_a_closed_pipe_behind_the_closing_figures_is_141_after_the_run_is_saved(
    tmp_path: Path, charlm_process: Start, tiny_options: list[str]
) -> None:
    process = charlm_process("train", *tiny_options, "--run=run", f"--runs-dir={tmp_path}", "--quiet")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    assert finish(process)[::2] == (141, "")
    assert is_whole(Run(tmp_path / "run"))


def test_standard_input_that_is_closed_is_called_so(tmp_path: Path, tiny_options: list[str]) -> None:
    done = run("train", "--corpus=-", *tiny_options[1:], f"--runs-dir={tmp_path}", stdin=CLOSED)
    assert (done.exit_code, done.stdout) == (6, "")
    assert done.stderr.endswith("standard input is not open for reading\n")


def test_a_process_started_without_streams_has_them_all_the_same() -> None:
    process = start("config", "show", is_cold=True, preexec_fn=lambda: [os.close(number) for number in (0, 1, 2)])
    assert finish(process) == (6, "", "")


def test_a_pipe_that_does_not_wait_gets_all_of_the_output() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    process = start("config", "show", "--set=sample.prefixes=" + str(["x" * 900] * 200), stdout=writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        shown = pipe.read()
    assert finish(process)[::2] == (0, "")
    assert shown.count(b"x" * 900) == 200


# Limits of the shell.


@contextmanager
def longest_file(num_bytes: int) -> Iterator[None]:
    """Limit the files of this process to a number of bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("limit", [0, 1024, 20_000])
def test_a_limit_of_file_sizes_is_called_by_its_name(
    tmp_path: Path, charlm_command: Callable[..., Result], tiny_options: list[str], limit: int
) -> None:
    with longest_file(limit):
        done = charlm_command(
            "train", *tiny_options, "--run=run", f"--runs-dir={tmp_path / 'runs'}", "--set=model.hidden_size=40"
        )
    assert done.exit_code == 6
    last = done.stderr.splitlines()[-1]
    assert f": file too large: the shell allows a file {limit:,} bytes (ulimit -f)" in last
    assert limit == 0 or last.endswith(" bytes are needed")
    # A run that could not start leaves nothing that would block the next attempt.
    assert Run(tmp_path / "runs" / "run").exists or not (tmp_path / "runs" / "run").exists()


# The pieces.


def test_no_file_becomes_a_stream(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfor number in (0, 1, 2): os.close(number)\n"
        "from charlm.cli.streams import hold_descriptors\nhold_descriptors()\n"
        "descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)\n"
        "os.write(descriptor, repr([descriptor > 2, *map(os.get_inheritable, range(3))]).encode())\n"
    )
    run_code(code, tmp_path / "told")
    assert (tmp_path / "told").read_text() == "[True, True, True, True]"


def test_a_console_of_another_kind_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    console = io.TextIOWrapper(io.BytesIO(), "ascii")
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, console)
    streams.open_streams()
    assert sys.stdout is console
    assert (console.encoding, console.errors) == ("utf-8", "backslashreplace")

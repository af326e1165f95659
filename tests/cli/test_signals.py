"""SIGINT, SIGTERM, SIGUSR1 and SIGHUP: their effect before a run, during a run, and the second time."""

from __future__ import annotations

import os
import pty
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from processes import Ended, Process, finish, run_code, run_command
from typer.testing import Result

import charlm
from charlm.runs.checkpoints import load_checkpoint
from charlm.runs.run import Run

Charlm = Callable[..., Result]
Start = Callable[..., Process]
SIGNALS = [
    (signal.SIGINT, 130, "interrupted"),
    (signal.SIGTERM, 143, "terminated"),
    (signal.SIGUSR1, 143, "terminated"),
    (signal.SIGHUP, 129, "hung up"),
]
ENDLESS = ("--set=train.max_steps=10000000", "--set=train.eval_every=20")


def name_of(value: object) -> str | None:
    """Return a signal's name; None for any other parameter of a test."""
    return getattr(value, "name", None)


def wait_for_handlers(process: Process) -> None:
    """Wait until a process handles signals; before that, the interpreter handles them."""
    last = signal.SIGHUP
    while process.poll() is None:
        found = re.search(r"^SigCgt:\s*([0-9a-f]+)$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
        if found and int(found[1], 16) >> (last - 1) & 1:
            return
        time.sleep(0.001)


def wait_until_stopped(process: Process) -> None:
    """Wait until each thread of a process stands still: what is sent then is pending until it goes on."""
    tasks = Path(f"/proc/{process.pid}/task")
    while any("\nState:\tT" not in (task / "status").read_text() for task in tasks.iterdir()):
        assert process.poll() is None
        time.sleep(0.001)


def script(*lines: str) -> Ended:
    """Run lines of Python in a separate interpreter, because these tests are about how it ends."""
    code = "\n".join(("import os, signal, sys", "from charlm.cli.signals import Signals", *lines))
    # Standard output is buffered, whatever the environment says.
    return run_code(code, is_cold=True, env={**os.environ, "PYTHONUNBUFFERED": ""})


# Before there is a run.


def test_signals_are_listened_to_before_anything_slow_is_imported() -> None:
    slow = "{'torch', 'numpy', 'typer', 'rich', 'pydantic', 'yaml'}"
    done = script(
        f"Signals.listen = lambda _: (print({slow} & set(sys.modules), flush=True), os._exit(0))",
        "from charlm.__main__ import main",
        "main()",
    )
    assert done == (0, "set()\n", "")


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS, ids=name_of)
def test_a_signal_while_the_program_starts_leaves_one_line_and_no_run(
    tmp_path: Path, charlm_process: Start, tiny_options: list[str], number: signal.Signals, code: int, word: str
) -> None:
    process = charlm_process("train", *tiny_options, f"--runs-dir={tmp_path / 'runs'}", is_cold=True)
    wait_for_handlers(process)
    process.send_signal(number)
    assert finish(process) == (code, "", f"charlm: {word}\n")
    assert not (tmp_path / "runs").exists()


def test_a_signal_ends_a_program_whose_messages_nobody_reads(charlm_process: Start) -> None:
    process = charlm_process("info", is_cold=True)
    assert process.stderr is not None
    process.stderr.close()
    process.stderr = None
    wait_for_handlers(process)
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 143


@pytest.mark.parametrize("stream", ["sys.stdout", "sys.stderr"])
def test_a_signal_ends_a_program_without_one_of_the_streams(stream: str) -> None:
    code, _, said = script("Signals().listen()", f"{stream} = None", "signal.raise_signal(signal.SIGINT)")
    assert (code, said) == (130, "charlm: interrupted\n")


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS, ids=name_of)
def test_a_signal_ends_other_commands_at_once(
    trained: Run, charlm_process: Start, number: signal.Signals, code: int, word: str
) -> None:
    process = charlm_process("generate", f"--run={trained.path}", "--prefix=the ", "--length=1000000")
    assert process.stdout is not None
    assert process.stdout.read(10).startswith(b"the ")
    process.send_signal(number)
    returncode, _, stderr = finish(process)
    assert (returncode, stderr) == (code, f"charlm: {word}\n")


def test_a_hangup_that_is_ignored_from_the_start_stays_ignored() -> None:
    done = script(
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)",
        "(signals := Signals()).listen()",
        "signal.raise_signal(signal.SIGHUP)",
        "print(signals.requested())",
        "signal.raise_signal(signal.SIGHUP)",
        "print(signals.requested())",
    )
    assert done == (0, "None\nNone\n", "")


# A request, and an order.


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS, ids=name_of)
def test_the_first_signal_is_a_request_and_the_second_an_order(number: signal.Signals, code: int, word: str) -> None:
    done = script(
        "signals = Signals()",
        "signals.listen()",
        "print(signals.requested())",
        f"signal.raise_signal({int(number)})",
        "print(signals.requested(), signals.requested())",
        "print('written before', end='')",
        f"signal.raise_signal({int(number)})",
        "print('never')",
    )
    asked = {130: "interrupt", 143: "terminate", 129: "hangup"}[code]
    said = f"charlm: {word} at once; what was already saved is kept\n"
    assert done == (code, f"None\n{asked} {asked}\nwritten before", said)


def test_the_second_of_two_different_signals_says_how_it_ends() -> None:
    for first, (second, code, word) in zip(SIGNALS, [*SIGNALS[1:], SIGNALS[0]], strict=True):
        done = script(
            "(signals := Signals()).listen()",
            "signals.requested()",
            f"signal.raise_signal({int(first[0])})",
            f"signal.raise_signal({int(second)})",
        )
        assert done == (code, "", f"charlm: {word} at once; what was already saved is kept\n")


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS, ids=name_of)
def test_until_somebody_asks_a_signal_is_an_order(number: signal.Signals, code: int, word: str) -> None:
    done = script("Signals().listen()", f"signal.raise_signal({int(number)})", "print('never')")
    assert done == (code, "", f"charlm: {word}\n")


def test_within_a_conversation_an_interrupt_is_only_recorded() -> None:
    done = script(
        "(signals := Signals()).listen()",
        "with signals.hold_interrupts() as has_arrived:",
        "    for _ in range(3): signal.raise_signal(signal.SIGINT)",
        "    print(has_arrived(), has_arrived())",
        "signal.raise_signal(signal.SIGINT)",
        "print('never')",
    )
    assert done == (130, "True False\n", "charlm: interrupted\n")


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS[1:], ids=name_of)
def test_within_a_conversation_other_signals_are_orders(number: signal.Signals, code: int, word: str) -> None:
    done = script(
        "(signals := Signals()).listen()",
        "with signals.hold_interrupts():",
        f"    signal.raise_signal({int(number)})",
        "print('never')",
    )
    assert done == (code, "", f"charlm: {word}\n")


def test_a_signal_no_longer_changes_how_a_process_ends_that_is_through() -> None:
    # This class is among the last that Python destroys.
    done = script(
        "class Late:",
        "    def __del__(self, kill=os.kill, pid=os.getpid()): [kill(pid, number) for number in (2, 15, 10, 1)]",
        "sys.late = Late()",
        "sys.argv = ['charlm', '--version']",
        "from charlm.__main__ import main",
        "main()",
    )
    assert (done[0], done[2]) == (0, "")
    assert done[1].startswith("charlm ")


# During a run.


@pytest.mark.parametrize(("number", "code"), [each[:2] for each in SIGNALS], ids=name_of)
def test_a_signal_ends_training_with_a_checkpoint_that_loads_and_the_command_to_go_on(
    tmp_path: Path, charlm_process: Start, tiny_options: list[str], number: signal.Signals, code: int
) -> None:
    process = charlm_process("train", *tiny_options, *ENDLESS, f"--runs-dir={tmp_path}", "--run=run", "--quiet")
    run = Run(tmp_path / "run")
    while len(run.checkpoint_paths()) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    returncode, stdout, stderr = finish(process)
    assert (returncode, stdout) == (code, "")
    last = load_checkpoint(run, "last")
    assert run.summary() is None
    (text,) = charlm.generate(charlm.open_run(run, checkpoint="last"), "the ", length=5)
    assert len(text) == 9
    stopped, _, command = stderr.partition("; resume with: ")
    assert stopped == f"charlm: stopped at step {last.step:,} and saved in {run.path}"
    # Where `charlm` is not on the path, the command names it as it was called here.
    enough = f"--set=train.max_steps={last.step + 3}"
    done = run_command(command, "--quiet", "--json", enough)
    assert (done.exit_code, done.stderr) == (0, "")
    assert f'"steps": {last.step + 3}' in done.stdout
    assert f'"step": {last.step}'.encode() in (run.path / "resumes.jsonl").read_bytes()


def test_a_closed_terminal_saves_though_nobody_can_be_told(
    tmp_path: Path, charlm_process: Start, tiny_options: list[str], charlm_command: Charlm
) -> None:
    master, slave = pty.openpty()
    options = (*tiny_options, *ENDLESS, f"--runs-dir={tmp_path}", "--run=run")
    process = charlm_process("train", *options, stdout=slave, stderr=slave)
    os.close(slave)
    run = Run(tmp_path / "run")
    while len(run.checkpoint_paths()) < 2:
        os.read(master, 65536)
    os.close(master)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == 129
    last = load_checkpoint(run, "last").step
    assert charlm_command("verify", run.path).exit_code == 0
    enough = (f"--set=train.max_steps={last + 3}", "--quiet")
    assert charlm_command("train", "--resume", "--run=run", f"--runs-dir={tmp_path}", *enough).exit_code == 0


@pytest.mark.parametrize("has_second", [False, True], ids=["one signal", "two signals"])
def test_the_cursor_comes_back_and_what_was_saved_stays(
    tmp_path: Path,
    charlm_process: Start,
    charlm_command: Charlm,
    tiny_options: list[str],
    monkeypatch: pytest.MonkeyPatch,
    has_second: bool,
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    master, slave = pty.openpty()
    options = (*tiny_options, *ENDLESS, f"--runs-dir={tmp_path}", "--run=run")
    process = charlm_process("train", *options, stdout=slave, stderr=slave)
    os.close(slave)
    shown = b""
    while b"\x1b[?25l" not in shown or b"val bpc" not in shown:
        shown += os.read(master, 65536)
    # Both are pending when it goes on. Any of its threads may take either, so that nobody knows which comes first.
    process.send_signal(signal.SIGSTOP)
    wait_until_stopped(process)
    process.send_signal(signal.SIGINT)
    if has_second:
        process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    with suppress(OSError):
        while block := os.read(master, 65536):
            shown += block
    os.close(master)
    code = process.wait(timeout=60)
    assert code in ((130, 143) if has_second else (130,))
    assert shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l") >= 0
    word = {130: "interrupted", 143: "terminated"}[code]
    said = f"charlm: {word} at once; what was already saved is kept" if has_second else "; resume with: "
    assert said in shown.decode().splitlines()[-1]
    assert charlm_command("verify", tmp_path / "run").exit_code == 0
    assert Run(tmp_path / "run").summary() is None

"""Processes of charlm, forked from a warm one or started cold, and what to show about each if a test fails."""

from __future__ import annotations

import array
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

# Read when torch is imported, which is later: idle threads sleep, and leave the cores to other tests.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

SERVER = Path(__file__).with_name("fork_server.py")
# Only a process that hangs takes this long.
TIMEOUT = 300.0
# A standard stream that the shell has closed: `>&-`.
CLOSED = -100
MAX_LISTED = 60
MAX_SHOWN_CHARS = 10_000


class Ended(NamedTuple):
    """The outcome of a command; it equals a tuple of its three fields."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass
class Ran:
    """A command and its outcome, to be shown if a test fails.

    Args:
        command: the command as a shell would have it.
        folder: the folder that it worked in.
        process: its process, if it has one.
        ended: its outcome; None if nobody waited for it.
    """

    command: str
    folder: Path
    process: object = None
    ended: Ended | None = None

    def told(self) -> str:
        """Return all of it as lines."""
        head = f"$ {self.command}\nin {self.folder}"
        if self.ended is None:
            return f"{head}; nobody waited for its end"
        streams = (f"--- {name}:\n{getattr(self.ended, name)[-MAX_SHOWN_CHARS:]}" for name in ("stdout", "stderr"))
        return "\n".join((f"{head}; exit code {self.ended.exit_code}", *streams))


# What the current test has run.
RAN: list[Ran] = []


def listing(folder: Path) -> str:
    """Return the contents of a folder, with a line for each file."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{path.stat().st_size:>9,} {path.relative_to(folder)}" for path in paths[:MAX_LISTED]]
    more = [f"and {len(paths) - MAX_LISTED} more"] if len(paths) > MAX_LISTED else []
    return "\n".join((f"{folder}:", *lines, *more))


class ForkServer:
    """The warm process, which starts when the first child is requested."""

    def __init__(self) -> None:
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()

    def start(self) -> socket.socket:
        """Return the socket that takes orders."""
        with self._starting:
            if self._control is not None:
                return self._control
            self._control, theirs = socket.socketpair()
            with theirs:
                command = [sys.executable, "-P", str(SERVER), str(theirs.fileno())]
                # NumPy's BLAS starts its threads when it is imported.
                environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
                # A terminal's interrupt is the tests' business, not the server's.
                self._process = subprocess.Popen(
                    command,
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    env=environment,
                    start_new_session=True,
                )
            # A fork copies one thread: of others, locks would stay behind.
            assert _read_line(self._control) == 1
            return self._control

    def fork(self, order: dict[str, Any], streams: Sequence[int]) -> tuple[int, socket.socket]:
        """Have a child forked; return its number and the socket that will report its exit code."""
        control = self.start()
        listening, told = socket.socketpair()
        content = json.dumps(order).encode()
        descriptors = array.array("i", [*streams, told.fileno()])
        with told, self._starting:
            head = len(content).to_bytes(4, "big")
            control.sendmsg([head], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
            control.sendall(content)
        return _read_line(listening), listening

    def close(self) -> None:
        """End the process."""
        if self._control is not None and self._process is not None:
            self._control.close()
            self._process.wait()
            self._control = self._process = None


FORKS = ForkServer()


def _read_line(listening: socket.socket) -> int:
    """Read a number from the server."""
    line = b""
    while not line.endswith(b"\n"):
        block = listening.recv(1)
        assert block, "the fork server is gone"
        line += block
    return int(line)


class Forked:
    """A child of the fork server, to be treated as a `subprocess.Popen`.

    Args:
        order: its module or code, and its arguments.
        streams: its stdin, stdout and stderr: a descriptor, PIPE, DEVNULL, CLOSED or, for stderr, STDOUT.
        environment: of this process where none is given.
        folder: that it works in; of this process where none is given.
    """

    def __init__(
        self,
        order: dict[str, Any],
        *,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
        env: dict[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> None:
        self.args = order["arguments"]
        self.returncode: int | None = None
        self.stdin: IO[bytes] | None = None
        self.stdout: IO[bytes] | None = None
        self.stderr: IO[bytes] | None = None
        ours: dict[str, int] = {}
        theirs: list[int] = []
        opened: list[int] = []
        for name, asked in (("stdin", stdin), ("stdout", stdout), ("stderr", stderr)):
            if asked == subprocess.PIPE:
                reading, writing = os.pipe()
                ours[name], end = (writing, reading) if name == "stdin" else (reading, writing)
                opened.append(end)
            elif asked in (subprocess.DEVNULL, CLOSED):
                opened.append(end := os.open(os.devnull, os.O_RDWR))
            else:
                end = theirs[1] if asked == subprocess.STDOUT else asked
            theirs.append(end)
        folder = os.fspath(cwd) if cwd is not None else str(Path.cwd())
        environment = dict(os.environ if env is None else env)
        closed = [number for number, asked in enumerate((stdin, stdout, stderr)) if asked == CLOSED]
        order = order | {"environment": environment, "folder": folder, "closed": closed}
        try:
            self.pid, self._listening = FORKS.fork(order, theirs)
        finally:
            for descriptor in opened:
                os.close(descriptor)
        for name, descriptor in ours.items():
            setattr(self, name, os.fdopen(descriptor, "wb" if name == "stdin" else "rb", 0 if name == "stdin" else -1))

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait()

    def poll(self) -> int | None:
        """Return the exit code, None while there is none."""
        if self.returncode is None and select.select([self._listening], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code.

        Raises:
            subprocess.TimeoutExpired: where it does not come.
        """
        if self.returncode is None:
            if not select.select([self._listening], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            self.returncode = _read_line(self._listening)
            self._listening.close()
        return self.returncode

    def communicate(self, input: bytes | None = None, timeout: float | None = None) -> tuple[bytes, bytes]:  # noqa: A002
        """Write to the process, read all that it says, and wait for its end.

        Raises:
            subprocess.TimeoutExpired: where it does not come.
        """
        said: dict[str, bytes] = {}

        def read(name: str, stream: IO[bytes]) -> None:
            with stream:
                said[name] = stream.read()

        began = time.monotonic()
        streams = {"stdout": self.stdout, "stderr": self.stderr}
        readers = [
            threading.Thread(target=read, args=item, daemon=True)
            for item in streams.items()
            if item[1] is not None and not item[1].closed
        ]
        for reader in readers:
            reader.start()
        if self.stdin is not None:
            self.stdin.write(input or b"")
            self.stdin.close()
        for reader in readers:
            reader.join(None if timeout is None else max(0.0, began + timeout - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        self.wait(None if timeout is None else max(0.0, began + timeout - time.monotonic()))
        return said.get("stdout", b""), said.get("stderr", b"")

    def send_signal(self, number: int) -> None:
        """Send a signal; nothing where the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask the process to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process."""
        self.send_signal(signal.SIGKILL)


Process = Forked | subprocess.Popen[bytes]


def start(*arguments: str | os.PathLike[str], is_cold: bool = False, **options: Any) -> Process:
    """Start `charlm` with some arguments as a process of its own, each of its streams a pipe unless given.

    Args:
        arguments: of the command.
        is_cold: as an interpreter of its own, for what is claimed of the start itself.
        options: those of `subprocess.Popen` that name streams, folder and environment.
    """
    return start_module("charlm", *arguments, is_cold=is_cold, **options)


def start_module(module: str, *arguments: str | os.PathLike[str], is_cold: bool = False, **options: Any) -> Process:
    """Start a module, as `python -m` does; the rest as `start`."""
    return _start({"module": module}, ["-m", module], arguments, is_cold, options)


def start_code(code: str, *arguments: str | os.PathLike[str], is_cold: bool = False, **options: Any) -> Process:
    """Start lines of Python, as `python -c` does; the rest as `start`."""
    return _start({"code": code}, ["-c", code], arguments, is_cold, options)


def run(*arguments: str | os.PathLike[str], timeout: float = TIMEOUT, **options: Any) -> Ended:
    """Run `charlm` to its end; the options are those of `start`."""
    return finish(start(*arguments, **options), timeout=timeout)


def run_command(line: str, *more: str, **options: Any) -> Ended:
    """Run a command that charlm printed for its user to its end, with more arguments; it must use this very Python."""
    words = shlex.split(line)
    assert words[:3] == [sys.executable, "-m", "charlm"], line
    return run(*words[3:], *more, **options)


def run_code(code: str, *arguments: str | os.PathLike[str], timeout: float = TIMEOUT, **options: Any) -> Ended:
    """Run lines of Python to their end; the options are those of `start`."""
    return finish(start_code(code, *arguments, **options), timeout=timeout)


def finish(process: Process, *, timeout: float = TIMEOUT) -> Ended:
    """Wait for a process and return its outcome."""
    stdout, stderr = process.communicate(timeout=timeout)
    assert process.returncode is not None
    ended = Ended(process.returncode, *((said or b"").decode(errors="backslashreplace") for said in (stdout, stderr)))
    for ran in RAN:
        if ran.process is process:
            ran.ended = ended
    return ended


def wait_until_stopped(process: Process) -> None:
    """Wait until a process that was sent SIGSTOP has stopped."""
    command = ["ps", "-o", "stat=", "-p", str(process.pid)]
    while not subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("T"):
        time.sleep(0.01)


def _start(
    order: dict[str, Any],
    python_options: Sequence[str],
    arguments: Sequence[str | os.PathLike[str]],
    is_cold: bool,
    options: dict[str, Any],
) -> Process:
    words = [os.fspath(argument) for argument in arguments]
    if is_cold or not hasattr(os, "fork"):
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen([sys.executable, *python_options, *words], **(pipes | options))
    else:
        process = Forked(order | {"arguments": words}, **options)
    command = shlex.join(["python", *python_options, *words])
    RAN.append(Ran(command, Path(options.get("cwd") or Path.cwd()), process))
    return process

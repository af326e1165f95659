"""A process that has imported everything and forks a child for each order, which saves a second for each command.

A child has its own arguments, environment, folder, standard streams and signals, and ends as an interpreter does. What
it shares with a process started cold is everything but the start: what is claimed of that has to be started cold.

It computes with one thread and has no other: a fork is safe. An order comes through the socket whose number is the
first argument: the length of a JSON object, the object, and with it the descriptors of its three streams and of a
socket that hears the child's number and, once it has ended, its exit code.
"""

from __future__ import annotations

import array
import atexit
import gc
import io
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import types
from collections.abc import Sequence
from concurrent.futures import process as futures
from contextlib import suppress
from multiprocessing import util
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

NUM_DESCRIPTORS = 4
LENGTH_BYTES = 4
spawn_passing = util.spawnv_passfds


def warm_up() -> None:
    """Import what commands need, and train and write a little, so that what is imported at first use is there too."""
    import torch

    from charlm.library.measuring import evaluate
    from charlm.library.training import train
    from charlm.library.writing import generate
    from charlm.settings.loading import load_settings

    before, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(1)
    with TemporaryDirectory() as name:
        corpus = Path(name) / "corpus.txt"
        corpus.write_text("a warm process is a quick one.\n" * 60, encoding="utf-8")
        short = ("train.max_steps=2", "model.hidden_size=4", "sampling.batch_size=2", "sampling.seq_len=8")
        settings = load_settings(overrides=[f"corpus.path='{corpus}'", "train.threads=1", *short])
        run = train(settings, runs_dir=Path(name))
        evaluate(run)
        list(generate(run, "a ", length=4))
    torch.set_num_threads(before)
    torch.set_rng_state(state)
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(5)


def num_threads() -> int:
    """Return how many threads this process has."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.exists() else threading.active_count()


def receive(control: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Read the next order and its descriptors; None once there will be no more."""
    room = socket.CMSG_LEN(NUM_DESCRIPTORS * array.array("i").itemsize)
    head, extra, _, _ = control.recvmsg(LENGTH_BYTES, room)
    if len(head) < LENGTH_BYTES:
        return None
    descriptors = array.array("i", extra[0][2])
    content = b""
    length = int.from_bytes(head, "big")
    while len(content) < length:
        content += control.recv(length - len(content))
    return json.loads(content), list(descriptors)


def become(order: dict[str, Any], streams: Sequence[int]) -> None:
    """Make this forked process what the order asks for."""
    signal.set_wakeup_fd(-1)
    forget_handlers()
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    os.closerange(3, max(streams) + 64)
    for number in order["closed"]:
        os.close(number)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    open_streams(is_buffered=not os.environ.get("PYTHONUNBUFFERED"))
    util.spawnv_passfds = fork_passing  # pyright: ignore[reportAttributeAccessIssue]


def forget_handlers() -> None:
    """Handle signals as an interpreter does that has just started."""
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def open_streams(*, is_buffered: bool) -> None:
    """Give Python the standard streams that the descriptors are now, opened as it does at its start."""
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if not is_open(number):
            setattr(sys, name, None)
            setattr(sys, f"__{name}__", None)
            continue
        raw = io.FileIO(number, mode, closefd=False)
        buffer = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
        errors = "backslashreplace" if name == "stderr" else "strict"
        is_line_buffered = name == "stderr" or raw.isatty()
        stream = io.TextIOWrapper(
            buffer, "utf-8", errors, line_buffering=is_line_buffered, write_through=not is_buffered
        )
        stream.mode = mode  # pyright: ignore[reportAttributeAccessIssue]
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def is_open(number: int) -> bool:
    """Return whether a descriptor is open."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def fork_passing(program: bytes, arguments: Sequence[bytes], kept: Sequence[int]) -> int:
    """Start what `multiprocessing` starts as `python -c CODE`: a worker is forked, with these descriptors alone."""
    if not any(b"spawn_main" in os.fsencode(argument) for argument in arguments):
        return spawn_passing(program, arguments, kept)
    child = os.fork()
    if child:
        return child
    beginning = 3
    for descriptor in sorted(kept):
        os.closerange(beginning, descriptor)
        beginning = descriptor + 1
    os.closerange(beginning, beginning + 256)
    forget_handlers()
    # What is still to be written is the parent's, and so are the threads to be woken at the end.
    parents = sys.stdout, sys.stderr
    open_streams(is_buffered=True)
    futures._threads_wakeups.clear()  # pyright: ignore[reportAttributeAccessIssue]
    words = [os.fsdecode(argument) for argument in arguments]
    code = words.index("-c") + 1
    status = run_to_end({"code": words[code], "arguments": words[code + 1 :]})
    del parents
    os._exit(status)


def run(order: dict[str, Any]) -> None:
    """Do what the order says, as the main module."""
    sys.argv = list(order["arguments"])
    if "module" in order:
        # As `python -m` has it: the path of the module in front.
        sys.argv.insert(0, order["module"])
        runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
        return
    sys.argv.insert(0, "-c")
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(order["code"], "<string>", "exec"), main.__dict__)


def run_to_end(order: dict[str, Any]) -> int:
    """Do it and return the exit code, after what an interpreter does at its end; only its memory is not taken down."""
    status = 0
    try:
        run(order)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    except BaseException as error:
        # The traceback of the code, without the server's.
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename in (__file__, runpy.__file__, "<frozen runpy>"):
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        status = 1
    threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except OSError:
            # As CPython has it where its last words cannot be written.
            status = 120
    return status


def tell(listener: socket.socket, value: int) -> None:
    """Report to whoever asked for a child, if anyone is still there."""
    with suppress(OSError):
        listener.sendall(f"{value}\n".encode())


def reap(listeners: dict[int, socket.socket]) -> None:
    """Report each child that has ended."""
    while listeners:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            return
        with listeners.pop(child) as listener:
            tell(listener, os.waitstatus_to_exitcode(status))


def serve(control: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Fork a child for each order; return its order in a child, and nothing once there are no more."""
    listeners: dict[int, socket.socket] = {}
    woken, waking = os.pipe()
    for end in (woken, waking):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            reap(listeners)
        if control not in ready:
            continue
        received = receive(control)
        if received is None:
            return None
        order, descriptors = received
        child = os.fork()
        if child == 0:
            return order, descriptors[:-1]
        listeners[child] = socket.socket(fileno=descriptors[-1])
        for descriptor in descriptors[:-1]:
            os.close(descriptor)
        tell(listeners[child], child)


def main() -> None:
    """Warm up, say how many threads there are, and serve."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warm_up()
    gc.collect()
    gc.freeze()
    control = socket.socket(fileno=int(sys.argv[1]))
    tell(control, num_threads())
    child = serve(control)
    if child is not None:
        order, streams = child
        control.detach()
        become(order, streams)
        os._exit(run_to_end(order))


if __name__ == "__main__":
    main()

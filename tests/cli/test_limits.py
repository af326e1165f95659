"""Too little memory, more threads than a machine can run, and dangling links each get one sentence."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import Ended, run_code
from typer.testing import Result

from charlm.errors import ConfigError, OutOfMemoryError, out_of_memory
from charlm.runs import memory
from charlm.runs.run import Run
from charlm.runs.tensors import save_tensors
from charlm.settings.schema import Settings
from charlm.training import resume, saving, threads
from charlm.training.events import Unsaved
from charlm.training.launch import train_reports
from charlm.training.resume import available_here
from charlm.training.threads import choose_threads

Charlm = Callable[..., Result]
# Like `ulimit -v` in a shell: what the process uses at its start, plus a given number of bytes.
LIMITED = """
import resource, sys
from pathlib import Path
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from charlm.__main__ import main
main()
"""


def limited(num_bytes: int, *arguments: str) -> Ended:
    """Run a command that may use a given number of bytes beyond those it uses at its start."""
    return run_code(LIMITED, str(num_bytes), *arguments)


# Memory.


def test_a_model_beyond_the_shells_memory_limit_is_refused_with_the_bytes(
    tmp_path: Path, tiny_options: list[str]
) -> None:
    done = limited(200 << 20, "train", *tiny_options, "--set=model.hidden_size=2048", f"--runs-dir={tmp_path / 'runs'}")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("charlm: there is not enough memory: ")
    assert " bytes more are needed, and the shell allows this process " in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_vocabulary_too_large_for_memory_is_refused_with_the_bytes(tmp_path: Path, tiny_options: list[str]) -> None:
    (tmp_path / "wide.txt").write_text("".join(map(chr, range(0x4E00, 0x9E00))) * 2, encoding="utf-8")
    options = (*tiny_options[1:], "--set=sample.prefixes=null", "--set=model.hidden_size=512")
    done = limited(400 << 20, "train", f"--corpus={tmp_path / 'wide.txt'}", *options, f"--runs-dir={tmp_path}")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "bytes more are needed" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["generate", "--prefix=the "], ["eval"], ["score", "the cat"], ["generate", "--prefix=the ", "--json"]],
)
def test_a_command_without_room_for_the_model_is_refused_with_the_bytes(trained: Run, arguments: list[str]) -> None:
    done = limited(16 << 20, *arguments, f"--run={trained.path}")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "bytes more are needed, and the shell allows this process " in done.stderr


CPU = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
GPU = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB"


@pytest.mark.parametrize(
    ("error", "needed"),
    [
        (MemoryError(), "more is needed"),
        (MemoryError("Unable to allocate 7.50 KiB for an array with shape (960,)"), "7,680 bytes more are needed"),
        (RuntimeError(f"{CPU}507904000 bytes. Error code 12"), "507,904,000 bytes more are needed"),
        (torch.OutOfMemoryError(GPU), "2,147,483,648 bytes more are needed"),
        (RuntimeError("std::bad_alloc"), "more is needed"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "the program itself needs more"),
    ],
    ids=str,
)
def test_memory_that_ran_out_is_reported_with_the_bytes_whatever_raised_it(error: Exception, needed: str) -> None:
    told = out_of_memory(error)
    assert told is not None
    assert told.exit_code == 2
    assert str(told).startswith(f"there is not enough memory: {needed}")


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes differ"), ImportError("no module"), ValueError("out of memory")]
)
def test_other_errors_are_not_taken_for_memory_errors(error: Exception) -> None:
    assert out_of_memory(error) is None


def test_numpys_own_error_gives_the_bytes() -> None:
    with pytest.raises(MemoryError) as caught:
        np.empty(1 << 60, dtype=np.uint8)
    assert "bytes more are needed" in str(out_of_memory(caught.value))


def test_memory_that_runs_out_in_a_command_is_one_sentence(
    trained: Run, charlm_command: Charlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(f"{CPU}4000 bytes. Error code 12")

    monkeypatch.setattr("charlm.library.models.load_checkpoint", fail)
    result = charlm_command("generate", f"--run={trained.path}", "--prefix=the ")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("charlm: there is not enough memory: 4,000 bytes more are needed")


def test_training_continues_where_memory_does_not_suffice_for_a_checkpoint(
    tmp_path: Path, tiny_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings("checkpoint.minutes=1e-9")
    monkeypatch.setattr(saving, "RETRY_SECONDS", 0.0)
    reports = train_reports(settings, name="run", runs_dir=tmp_path)
    next(reports), next(reports)
    with monkeypatch.context() as patch:
        patch.setattr(memory, "memory_limit", lambda: 1)
        patch.setattr(memory, "mmap", refuse)
        unsaved = next(report for report in reports if isinstance(report, Unsaved))
    assert "bytes more are needed" in unsaved.sentence
    list(reports)
    assert (Run(tmp_path / "run").summary() or {})["steps"] == 12


def refuse(*_: object) -> None:
    """Pretend to be a system without free memory."""
    raise OSError(12, "Cannot allocate memory")


def test_nothing_is_asked_of_the_system_where_there_is_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_limit", lambda: None)
    monkeypatch.setattr(memory, "mmap", refuse)
    save_tensors({"weight": np.zeros(2, np.float32)})
    monkeypatch.setattr(memory, "memory_limit", lambda: 1)
    with pytest.raises(OutOfMemoryError):
        save_tensors({"weight": np.zeros(2, np.float32)})


# Threads.


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend to be a machine with two cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(2), raising=False)


@pytest.mark.usefixtures("two_cores")
def test_far_too_many_threads_are_refused_and_a_few_more_than_cores_are_not(
    tiny_settings: Callable[..., Settings],
) -> None:
    with pytest.raises(ConfigError, match=r"^train\.threads is 1,000, and with 2 cores it must be 32 at most"):
        choose_threads(tiny_settings("train.threads=1000"), 19, torch.device("cpu"))
    assert choose_threads(tiny_settings("train.threads=32"), 19, torch.device("cpu")) == 32


@pytest.mark.usefixtures("two_cores", "set_threads")
def test_more_threads_than_cores_are_reported_once(
    tmp_path: Path, charlm_command: Charlm, tiny_options: list[str]
) -> None:
    where = (f"--runs-dir={tmp_path}", "--set=train.threads=3")
    result = charlm_command("train", *tiny_options, *where)
    assert result.exit_code == 0
    assert result.stderr.count("warning: 3 threads on 2 cores are slower than train.threads=2\n") == 1
    assert "slower" not in charlm_command("train", *tiny_options, *where, "--quiet").stderr


@pytest.mark.usefixtures("set_threads")
def test_a_strangers_thousand_threads_do_not_hold_up_a_resumed_run(
    tmp_path: Path, charlm_command: Charlm, tiny_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The native kernels would start them.
    where = ("--run=run", f"--runs-dir={tmp_path}", "--set=model.implementation=torch")
    with monkeypatch.context() as patch:
        patch.setattr(threads, "most_threads", lambda: 1000)
        patch.setattr(torch, "set_num_threads", lambda _: None)
        patch.setattr(torch, "get_num_threads", lambda: 1000)
        assert charlm_command("train", *tiny_options, "--set=train.threads=1000", *where).exit_code == 0
    result = charlm_command("train", "--resume", *where, "--set=train.max_steps=14")
    assert result.exit_code == 0
    assert re.search(
        r"warning: threads 1000 then, \d+ now: the bits of an uninterrupted run are not promised", result.stderr
    )
    assert Run(tmp_path / "run").settings().train.threads in threads.thread_counts()


def test_threads_that_can_run_here_stay_as_they_were(
    tiny_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume, "most_threads", lambda: 32)
    assert available_here(tiny_settings("train.threads=32")).train.threads == 32
    assert available_here(tiny_settings("train.threads=33")).train.threads is None


# Dangling links.


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (6, ["train", "--run=run", "--runs-dir=link"]),
        (6, ["train", "--run=run", "--runs-dir=link/deeper"]),
        (2, ["train", "--run=link", "--runs-dir=."]),
        (4, ["generate", "--prefix=a", "--run=link", "--runs-dir=."]),
        (4, ["generate", "--prefix=a", "--runs-dir=link"]),
        (4, ["info", "--runs-dir=link"]),
        (4, ["verify", "link"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_dangling_link_is_named_as_one(
    tmp_path: Path,
    charlm_command: Charlm,
    tiny_options: list[str],
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    arguments: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to("/nowhere/at/all")
    result = charlm_command(*arguments, *(tiny_options if arguments[0] == "train" else []))
    assert (result.exit_code, result.stdout) == (code, "")
    assert "link is a link to /nowhere/at/all, which does not exist" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["link"]

"""Hostile checkpoints: one sentence each, the right exit code, no code of theirs runs, and no memory is taken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import run_code

from charlm.runs.run import Run
from charlm.settings.schema import Settings
from charlm.training.launch import train_reports

PROGRAM = Path(__file__).with_name("hostile_checkpoints.py")
MEMORY_BYTES = 200 * 2**20
STOPPED_AT = 10
Told = dict[str, Any]


@pytest.fixture(scope="module")
def told(tiny_settings: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory, effort: Any) -> list[Told]:
    """Return what each command made of each hostile run, in a process of its own."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the memory of a process is measured with Linux' /proc")
    folder = tmp_path_factory.mktemp("hostile")
    settings = tiny_settings("train.max_steps=14", "train.eval_every=4")
    steps = 0

    def stop() -> str | None:
        return "interrupt" if steps >= STOPPED_AT else None

    for report in train_reports(settings, name="run", runs_dir=folder / "runs", should_stop=stop):
        steps = getattr(report, "step", steps)
    run = Run(folder / "runs" / "run")
    for path in run.checkpoint_paths()[:-1]:
        shutil.rmtree(path)
    (folder / "work").mkdir()
    program = PROGRAM.read_text(encoding="utf-8")
    which = ("12", "small") if effort.is_little else (str(effort.times(12, 4, 1)), "all")
    ended = run_code(program, run.path, folder / "work", *which, PROGRAM.parents[1], timeout=1_000)
    results = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.exit_code == 0, ended.stderr[-3_000:] + str(results[-1:])
    return results


def described(problems: list[Told], *keys: str) -> str:
    """Return what is wrong, one line each."""
    return "\n".join(
        f"{each['name']!r}, {each['command']}: " + ", ".join(f"{key} {str(each[key])[-700:]!r}" for key in keys)
        for each in problems
    )


def test_there_are_enough_of_them_and_each_has_its_own_name(told: list[Told]) -> None:
    names = {each["name"] for each in told}
    assert len(names) * 4 == len(told)
    assert len(names) > 30


def test_no_command_ends_with_a_traceback(told: list[Told]) -> None:
    problems = [each for each in told if each["error"] is not None]
    assert not problems, described(problems, "error")


def test_each_command_ends_with_the_right_exit_code(told: list[Told]) -> None:
    problems = [each for each in told if each["code"] not in each["right"]]
    assert not problems, described(problems, "code", "right", "stderr")


def test_what_is_said_is_one_sentence_fit_for_a_terminal(told: list[Told]) -> None:
    def is_a_sentence(each: Told) -> bool:
        lines = each["stderr"].splitlines()
        if each["command"] == "train" and each["code"] in (0, 5):
            return all(line.isprintable() for line in lines)
        limit = 1 if each["code"] != 0 else 0
        return len(lines) == limit and all(
            line.startswith("charlm: ") and line.isprintable() and len(line) < 2_100 for line in lines
        )

    problems = [each for each in told if not is_a_sentence(each)]
    assert not problems, described(problems, "code", "stderr")


def test_verify_says_what_is_wrong_with_a_checkpoint_without_control_codes(told: list[Told]) -> None:
    verified = [each for each in told if each["command"] == "verify" and each["code"] == 4]
    assert len(verified) > 25
    problems = [each for each in verified if each["says"] not in each["stdout"] + each["stderr"]]
    assert not problems, described(problems, "says", "stdout")
    shown = [
        each
        for each in told
        if each["command"] in ("verify", "info") and not all(line.isprintable() for line in each["stdout"].split("\n"))
    ]
    assert not shown, described(shown, "stdout")
    long = [each for each in verified if len(each["stdout"]) > 3_000]
    assert not long, described(long, "stdout")


def test_no_code_of_a_checkpoint_runs_and_nothing_outside_the_run_changes(told: list[Told]) -> None:
    problems = [each for each in told if not each["is_clean"]]
    assert not problems, described(problems, "code")


def test_none_takes_memory(told: list[Told], endurance: Any) -> None:
    problems = [each for each in told if each["bytes"] > MEMORY_BYTES]
    assert not problems, described(problems, "bytes")
    slowest = max(told, key=lambda each: each["seconds"])
    largest = max(told, key=lambda each: each["bytes"])
    endurance.tell(
        "hostile checkpoints",
        f"{len(told) // 4}, each with 4 commands, no traceback, nothing run; at most {largest['bytes'] / 2**20:.0f} MiB"
        f" ({largest['name']}), {slowest['seconds']:.1f} s ({slowest['name']}, {slowest['command']})",
    )

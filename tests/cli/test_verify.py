"""`charlm verify`: what it reports about good, damaged and missing checkpoints, to people and to programs."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from processes import finish
from typer.testing import Result

from charlm.runs.creation import create_run
from charlm.runs.run import Run
from charlm.settings.schema import Settings

Charlm = Callable[..., Result]
Process = Callable[..., "subprocess.Popen[bytes]"]
FACTS = {"corpus": "stories", "corpus_sha256": "0" * 64, "num_parameters": 10}
DAMAGED = "model.safetensors is damaged: its bytes are not those that were saved"


@pytest.fixture
def copied(tmp_path: Path, trained: Run) -> Run:
    """Return a copy of the trained run."""
    return Run(shutil.copytree(trained.path, tmp_path / "runs" / "trained"))


def flip_last_bit(path: Path) -> None:
    """Change the last bit of a file."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def size(checkpoint: Path) -> int:
    """Return the total size of a checkpoint's files, in bytes."""
    return sum(file.stat().st_size for file in checkpoint.iterdir())


def test_each_good_checkpoint_is_a_line_with_its_size_and_its_result(trained: Run, charlm_command: Charlm) -> None:
    result = charlm_command("verify", trained.path)
    assert (result.exit_code, result.stderr) == (0, "")
    first, *lines = result.stdout.splitlines()
    assert first == str(trained.path)
    figures = {record["step"]: record["val_nats_per_char"] for record in trained.metrics()[:-1]}
    assert [line.split() for line in lines] == [
        ["step", str(int(path.name[5:])), f"{size(path):,}", "bytes", "good", "validation", f"{figure:.3f}", "nats"]
        for path in trained.checkpoint_paths()
        for figure in [figures[int(path.name[5:])]]
    ]
    assert len(lines) == 2


def test_the_same_is_one_json_object_for_programs(trained: Run, charlm_command: Charlm) -> None:
    result = charlm_command("verify", trained.path, "--json")
    assert (result.exit_code, result.stderr, result.stdout.count("\n")) == (0, "", 1)
    assert json.loads(result.stdout) == {
        "run": "trained",
        "checkpoints": [
            {"step": int(path.name[5:]), "bytes": size(path), "damage": None} for path in trained.checkpoint_paths()
        ],
    }


@pytest.mark.parametrize("as_json", [False, True])
def test_a_damaged_checkpoint_is_named_and_the_exit_code_is_4(
    copied: Run, charlm_command: Charlm, as_json: bool
) -> None:
    bad, good = copied.checkpoint_paths()
    flip_last_bit(bad / "model.safetensors")
    result = charlm_command("verify", copied.path, *(["--json"] if as_json else []))
    assert result.exit_code == 4
    assert result.stderr == "charlm: 1 of 2 checkpoints of the run trained cannot be used\n"
    if as_json:
        found = {each["step"]: each["damage"] for each in json.loads(result.stdout)["checkpoints"]}
        assert found == {40: f"{bad / DAMAGED}", 60: None}
    else:
        lines = result.stdout.splitlines()
        assert lines[1].endswith(f"bytes  {bad / DAMAGED}")
        assert "  good  validation " in lines[2]
    assert good.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors", "state.json", "vocabulary.json"])
def test_every_byte_of_every_file_is_checked(copied: Run, charlm_command: Charlm, name: str) -> None:
    file = copied.checkpoint_paths()[-1] / name
    content = file.read_bytes()
    for position in (0, len(content) // 2, len(content) - 1):
        changed = bytearray(content)
        changed[position] ^= 32
        file.write_bytes(changed)
        result = charlm_command("verify", copied.path)
        assert (result.exit_code, result.stdout.count(str(file))) == (4, 1)
    file.write_bytes(content)
    assert charlm_command("verify", copied.path).exit_code == 0


@pytest.mark.parametrize("name", ["manifest.json", "config.yaml"])
def test_a_missing_file_is_damage(copied: Run, charlm_command: Charlm, name: str) -> None:
    for path in copied.checkpoint_paths():
        (path / name).unlink()
    result = charlm_command("verify", copied.path)
    assert result.exit_code == 4
    assert result.stderr == "charlm: 2 of 2 checkpoints of the run trained cannot be used\n"


def test_nothing_is_changed_by_looking(copied: Run, charlm_command: Charlm) -> None:
    flip_last_bit(copied.checkpoint_paths()[0] / "state.json")
    before = {path: path.read_bytes() for path in copied.path.rglob("*") if path.is_file()}
    charlm_command("verify", copied.path)
    assert {path: path.read_bytes() for path in copied.path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("as_json", [False, True])
def test_a_run_without_a_checkpoint_is_4(tmp_path: Path, charlm_command: Charlm, as_json: bool) -> None:
    create_run(Settings(), FACTS, folder=tmp_path, name="run")[1].release()
    result = charlm_command("verify", "run", f"--runs-dir={tmp_path}", *(["--json"] if as_json else []))
    assert (result.exit_code, result.stderr) == (4, f"charlm: the run {tmp_path / 'run'} has no checkpoint yet\n")
    shown = f"{tmp_path / 'run'}\n" if not as_json else '{"run": "run", "checkpoints": []}\n'
    assert result.stdout == shown


def test_an_unknown_run_is_4_and_existing_runs_are_listed(trained: Run, charlm_command: Charlm) -> None:
    folder = trained.path.parent
    result = charlm_command("verify", "absent", f"--runs-dir={folder}")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr == f"charlm: there is no run absent in {folder}; the newest there: trained\n"


def test_without_a_name_the_newest_run_is_checked(
    trained: Run, charlm_command: Charlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARLM_RUNS_DIR", str(trained.path.parent))
    assert charlm_command("verify").stdout == charlm_command("verify", trained.path).stdout


@pytest.mark.parametrize("is_terminal", [True, False])
def test_colours_are_for_terminals(
    copied: Run, charlm_process: Process, monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    flip_last_bit(copied.checkpoint_paths()[0] / "model.safetensors")
    if not is_terminal:
        process = charlm_process("verify", copied.path)
        assert "\x1b" not in "".join(finish(process)[1:])
        return
    master, slave = pty.openpty()
    process = charlm_process("verify", copied.path, stdout=slave, stderr=slave)
    os.close(slave)
    shown = b""
    with suppress(OSError):
        while block := os.read(master, 65536):
            shown += block
    os.close(master)
    assert process.wait(timeout=60) == 4
    assert b"\x1b[32mgood  validation " in shown
    assert b"\x1b[31m" in shown


def test_no_terminal_acts_on_a_runs_name_or_on_a_description_of_damage(
    tmp_path: Path, trained: Run, charlm_command: Charlm
) -> None:
    run = Run(shutil.copytree(trained.path, tmp_path / "\x1b[2J\x07run"))
    for path in run.checkpoint_paths():
        flip_last_bit(path / "model.safetensors")
    result = charlm_command("verify", run.path)
    assert result.exit_code == 4
    assert re.search(r"\\x1b\[2J\\x07run", result.stdout)
    assert all(character.isprintable() or character == "\n" for character in result.output)

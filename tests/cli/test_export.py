"""`charlm export` writes one file, replaces nothing unasked, and its file is taken wherever a run is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from charlm.runs.run import Run

Charlm = Callable[..., Result]


@pytest.fixture
def exported(trained: Run, charlm_command: Charlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an exported model in the present folder."""
    monkeypatch.chdir(tmp_path)
    result = charlm_command("export", str(trained.path), "-o", "my model.charlm")
    assert (result.exit_code, result.stderr) == (0, "")
    size = (tmp_path / "my model.charlm").stat().st_size
    assert result.stdout == (
        f"my model.charlm: {size:,} bytes, step 60 of the run trained\n"
        "use it with: charlm generate --run 'my model.charlm'\n"
    )
    return Path("my model.charlm")


def test_every_command_that_reads_a_model_takes_it(exported: Path, trained: Run, charlm_command: Charlm) -> None:
    Path("text.txt").write_text("the cat\nthe rat\n", encoding="utf-8")
    for command in (
        ["generate", "the ", "--length", "30"],
        ["generate", "the ", "-n", "2", "--json"],
        ["score", "the cat"],
        ["score", "--next", "the "],
        ["eval", "text.txt", "--no-baselines"],
    ):
        of_file, of_run = (charlm_command(*command, "--run", str(run)) for run in (exported, trained.path))
        assert of_file.exit_code == of_run.exit_code == 0, of_file.stderr
        assert of_file.stdout.replace(str(exported), "trained") == of_run.stdout


def test_info_shows_what_it_is(exported: Path, charlm_command: Charlm) -> None:
    shown = charlm_command("info", str(exported)).stdout
    for line in ("run           trained, step 60", "license       not stated", "hidden_size: 8"):
        assert line in shown
    record = json.loads(charlm_command("info", str(exported), "--json").stdout)
    assert (record["file"], record["run"], record["settings"]["model"]["hidden_size"]) == (str(exported), "trained", 8)


def test_nothing_is_replaced_unasked(exported: Path, trained: Run, charlm_command: Charlm) -> None:
    before = exported.read_bytes()
    command = ["export", str(trained.path), "-o", str(exported), "--license", "CC0"]
    result = charlm_command(*command)
    assert (result.exit_code, result.stderr) == (2, "charlm: my model.charlm exists: --force replaces it\n")
    assert exported.read_bytes() == before
    record = json.loads(charlm_command(*command, "--force", "--json").stdout)
    assert record == {"file": str(exported), "run": "trained", "step": 60, "bytes": exported.stat().st_size}
    assert json.loads(charlm_command("info", str(exported), "--json").stdout)["license"] == "CC0"


def test_the_file_is_named_after_the_run(
    trained: Run, charlm_command: Charlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert charlm_command("export", "--runs-dir", str(trained.path.parent)).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["trained.charlm"]


@pytest.mark.parametrize(
    ("output", "code", "said"),
    [
        (".", 2, ". is a folder: name the file to write, such as model.charlm"),
        ("/dev/null", 2, "/dev/null is not a regular file and is not replaced: name another file"),
        ("link", 2, "link is not a regular file and is not replaced: name another file"),
        ("no/such/folder.charlm", 6, "cannot write no/such/folder.charlm: no such file or directory"),
    ],
)
def test_an_output_that_cannot_be_written_is_one_sentence(
    exported: Path, trained: Run, charlm_command: Charlm, output: str, code: int, said: str
) -> None:
    Path("link").symlink_to(exported)
    before = exported.read_bytes()
    result = charlm_command("export", str(trained.path), "--force", "-o", output)
    assert (result.exit_code, result.stderr) == (code, f"charlm: {said}\n")
    assert exported.read_bytes() == before


def test_what_needs_a_run_says_that_a_file_is_none(exported: Path, charlm_command: Charlm) -> None:
    for command in (["export", str(exported)], ["verify", str(exported)], ["compare", str(exported), "x"]):
        result = charlm_command(*command)
        assert result.exit_code == 4
        assert "is a file and not the folder of a run, which this command needs" in result.stderr

"""`charlm page` writes one file, says how large it is, and refuses what cannot write forwards."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from charlm.library.training import train
from charlm.runs.run import Run
from charlm.settings.schema import Settings

Charlm = Callable[..., Result]
BLOCK = re.compile(r'<script type="[a-z/]+" id="(?P<id>[a-z0-9-]+)">(?P<text>.*?)</script>', re.DOTALL)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_it_says_formats_and_sizes(trained: Run, charlm_command: Charlm) -> None:
    result = charlm_command("page", str(trained.path), "-o", "my page.html")
    assert (result.exit_code, result.stderr) == (0, "")
    size = Path("my page.html").stat().st_size
    assert result.stdout == (
        f"trained: step 60, 1,099 weights as float32, 4,396 bytes\nmy page.html: {size:,} bytes; open it in a browser\n"
    )
    command = ["page", str(trained.path), "--no-inspect", "--int8", "-o", "small.html", "--json"]
    record = json.loads(charlm_command(*command).stdout)
    assert (record["file"], record["bytes"]) == ("small.html", Path("small.html").stat().st_size)
    assert record["bytes"] < size
    (run,) = record["runs"]
    assert (run["run"], run["step"], run["weight_format"]) == ("trained", 60, "int8")


def test_the_file_is_named_after_the_run(trained: Run, charlm_command: Charlm) -> None:
    assert charlm_command("page", "--no-inspect", "--runs-dir", str(trained.path.parent)).exit_code == 0
    assert [path.name for path in Path().iterdir()] == ["trained.html"]


def test_an_exported_model_is_the_same_network(trained: Run, charlm_command: Charlm) -> None:
    charlm_command("export", str(trained.path))
    charlm_command("page", str(trained.path), "--no-inspect", "-o", "run.html")
    assert charlm_command("page", "--no-inspect", "trained.charlm").exit_code == 0
    ours, theirs = (page_blocks(Path(name).read_text(encoding="utf-8")) for name in ("run.html", "trained.html"))
    assert ours["weights-0"] == theirs["weights-0"]
    assert json.loads(ours["data"])["models"] == json.loads(theirs["data"])["models"]
    # How it learned is not in the file.
    assert json.loads(ours["data"])["learn"]["curves"]
    assert json.loads(theirs["data"])["learn"]["curves"] == []


def page_blocks(document: str) -> dict[str, str]:
    """Return the data blocks of a page by their names."""
    return {each["id"]: each["text"] for each in BLOCK.finditer(document)}


def test_nothing_is_replaced_unasked(trained: Run, charlm_command: Charlm) -> None:
    Path("page.html").write_text("mine", encoding="utf-8")
    command = ["page", str(trained.path), "-o", "page.html"]
    result = charlm_command(*command)
    assert (result.exit_code, result.stderr) == (2, "charlm: page.html exists: --force replaces it\n")
    assert Path("page.html").read_text(encoding="utf-8") == "mine"
    assert charlm_command(*command, "--force", "--no-inspect").exit_code == 0
    assert charlm_command("page", str(trained.path), "-o", ".").stderr == (
        "charlm: . is a folder: name the file to write, such as page.html\n"
    )


@pytest.mark.parametrize(
    ("direction", "said"),
    [
        ("backward", "reads backwards, and a page writes forwards: give it another run"),
        ("leaky", "is leaky: it reads each character before it predicts it, so a page cannot write with it"),
    ],
)
def test_what_cannot_write_forwards_is_refused(
    tiny_settings: Callable[..., Settings], tmp_path: Path, charlm_command: Charlm, direction: str, said: str
) -> None:
    run = train(tiny_settings(f"model.direction={direction}", "train.max_steps=2"), name="run", runs_dir=tmp_path)
    result = charlm_command("page", str(run.path), "-o", "page.html")
    assert (result.exit_code, result.stderr) == (2, f"charlm: the model of run run {said}\n")
    assert not Path("page.html").exists()


@pytest.mark.slow
def test_of_both_directions_a_page_has_the_half_that_writes(
    tiny_settings: Callable[..., Settings],
    tmp_path: Path,
    charlm_command: Charlm,
    open_page: Callable[..., Any],
) -> None:
    run = train(tiny_settings("model.direction=bidirectional", "train.max_steps=9"), name="both", runs_dir=tmp_path)
    note = "The network reads in both directions; the page has its forward half, which writes."
    result = charlm_command("page", "--no-inspect", str(run.path), "-o", "page.html")
    assert f"both: {note}\n" in result.stdout
    page = open_page(Path("page.html"))
    assert page.locator("#note").text_content() == note
    page.fill("#write-prefix", "the ")
    page.fill("#write-length", "200")
    page.select_option("#write-pace", "full")
    page.click("#write-start")
    page.locator("#write-stop:disabled").wait_for()
    expected = charlm_command("generate", "the ", "--run", str(run.path)).stdout
    assert page.locator("#write-text").text_content() + "\n" == expected

"""`charlm plot`: the terminal, files, JSON, and what is answered to what a tired user types."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import run_code
from typer.testing import Result

from charlm.library.plotting import plot
from charlm.reports import plotting
from charlm.runs.run import Run

Charlm = Callable[..., Result]


@pytest.fixture
def folder(trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the present folder, with the run `my-run`, the same of another cell, and one without records."""
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "runs"
    for name in ("my-run", "other", "fresh"):
        (runs / name).mkdir(parents=True)
        for file in ("config.yaml", "environment.json", "metrics.jsonl"):
            shutil.copy(trained.path / file, runs / name)
    config = (runs / "other" / "config.yaml").read_text(encoding="utf-8")
    (runs / "other" / "config.yaml").write_text(config.replace("cell: lstm", "cell: gru"), encoding="utf-8")
    (runs / "fresh" / "metrics.jsonl").write_text("", encoding="utf-8")
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_the_terminal_shows_the_curves_of_the_runs_by_what_differs(charlm_command: Charlm) -> None:
    shown = charlm_command("plot", "my-run", "other")
    assert (shown.exit_code, shown.stderr) == (0, "")
    for word in ("perplexity", "epoch", "o lstm", "x gru", "training (mean of each epoch)", "validation"):
        assert word in shown.stdout
    assert "\x1b" not in shown.stdout
    assert len(shown.stdout.splitlines()) < 24


@pytest.mark.usefixtures("folder")
def test_without_a_name_the_newest_run_is_drawn(charlm_command: Charlm, trained: Run) -> None:
    shown = charlm_command("plot", f"--runs-dir={trained.path.parent}")
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert " trained" in shown.stdout


@pytest.mark.usefixtures("folder")
def test_json_has_the_points_that_are_drawn_and_the_library_has_the_same(charlm_command: Charlm) -> None:
    record = json.loads(charlm_command("plot", "my-run", "other", "--y=bpc,nats", "--json").stdout)
    assert record == plot("my-run", "other", y=("bpc", "nats")).as_record()
    assert [(panel["x"], panel["y"]) for panel in record["panels"]] == [("epoch", "bpc"), ("epoch", "nats")]
    for line in record["panels"][0]["lines"]:
        assert line["runs"] in (["my-run"], ["other"])
        assert all(point["deviation"] is None for point in line["points"])


@pytest.mark.parametrize("ending", ["svg", "pdf", pytest.param("png", marks=pytest.mark.slow)])
@pytest.mark.usefixtures("folder")
def test_a_file_is_written_with_the_same_bytes_and_replaced_only_if_asked(ending: str, charlm_command: Charlm) -> None:
    path = Path(f"my curves.{ending}")
    shown = charlm_command("plot", "my-run", "-o", path)
    first = path.read_bytes()
    assert (shown.exit_code, shown.stdout, shown.stderr) == (0, f"{path}: {len(first):,} bytes\n", "")
    assert first.startswith({"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[ending])
    again = charlm_command("plot", "other", "-o", path)
    assert (again.exit_code, again.stderr) == (2, f"charlm: {path} exists: --force replaces it\n")
    assert path.read_bytes() == first
    record = json.loads(charlm_command("plot", "my-run", "-o", path, "--force", "--json").stdout)
    assert record["file"] == str(path)
    assert path.read_bytes() == first
    charlm_command("plot", "other", "-o", path, "--force")
    assert path.read_bytes() != first


@pytest.mark.usefixtures("folder")
def test_a_run_without_records_is_refused_by_name_and_among_others_named(charlm_command: Charlm) -> None:
    alone = charlm_command("plot", "fresh")
    sentence = "fresh has no curve: there is no evaluation of fresh yet"
    assert (alone.exit_code, alone.stdout) == (4, "")
    assert alone.stderr == f"charlm: there is nothing to draw: {sentence}\n"
    among = charlm_command("plot", "fresh", "my-run")
    assert among.exit_code == 0
    assert f"charlm: {sentence}\n" in among.stderr
    assert "lstm" in among.stdout or "my-run" in among.stdout


def test_a_damaged_run_is_left_out_and_the_others_are_drawn(folder: Path, charlm_command: Charlm) -> None:
    (folder / "runs" / "other" / "environment.json").unlink()
    shown = charlm_command("plot", "my-run", "other")
    assert shown.exit_code == 4
    assert "perplexity" in shown.stdout
    assert "the run other is left out: " in shown.stderr


TYPED: list[tuple[list[str], int, str]] = [
    (["my-rnu"], 4, "there is no run my-rnu in runs; did you mean my-run?"),
    (["my-run", "--y", "ppl"], 2, "--y must be perplexity, bpc or nats, got ppl; did you mean perplexity?"),
    (["my-run", "--x", "epochs"], 2, "--x must be epoch, step, chars or time, got epochs; did you mean epoch?"),
    (["my-run", "--part", "test"], 2, "--part must be train or val, got test"),
    (["my-run", "--part", "train val"], 2, "--part must be train or val, got train val"),
    (["my-run", "-o", "curves.jpg"], 2, "a picture must be a file that ends in .svg, .png or .pdf, got curves.jpg"),
    (["my-run", "-o", "runs"], 2, "runs is a folder: name the file to write, such as runs/curves.svg"),
    (["my-run", "-o", "no/such.svg"], 2, "a picture no/such.svg: there is no folder no"),
    (["my-run", "-o"], 2, "-o needs a value: -o FILE"),
    (["my-run", "--force"], 2, "--force replaces a file that exists, so it needs -o FILE"),
    (["my-run", "--metric", "bpc"], 2, "charlm plot has no option --metric; did you mean --y?"),
    (["my-run", "--by", "step"], 2, "charlm plot has no option --by; did you mean --x?"),
    (["my-run", "--out", "a.svg"], 2, "charlm plot has no option --out; did you mean --output?"),
    (["--y", ""], 2, "--y is empty: give it a value, or leave it out (perhaps a shell variable is unset)"),
    (["picture.svg"], 4, "picture.svg is a file and not the folder of a run, which this command needs"),
]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "code", "said"), TYPED, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_what_a_tired_user_types_is_answered_in_one_sentence(
    words: list[str], code: int, said: str, charlm_command: Charlm
) -> None:
    Path("picture.svg").write_text("mine", encoding="utf-8")
    shown = charlm_command("plot", *words)
    assert (shown.exit_code, shown.stdout, shown.stderr) == (code, "", f"charlm: {said}\n")
    assert Path("picture.svg").read_text(encoding="utf-8") == "mine"


@pytest.mark.usefixtures("folder")
def test_without_matplotlib_a_file_is_refused_and_the_terminal_drawn(
    charlm_command: Charlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plotting, "find_spec", lambda _: None)
    shown = charlm_command("plot", "my-run", "-o", "a.svg")
    sentence = "a picture needs Matplotlib, which is not installed: pip install 'charlm[plots]'"
    assert (shown.exit_code, shown.stderr) == (2, f"charlm: {sentence}\n")
    assert charlm_command("plot", "my-run").exit_code == 0


def test_neither_torch_nor_matplotlib_is_imported_for_the_terminal(folder: Path) -> None:
    done = run_code(
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from charlm.cli.main import app\n"
        "assert CliRunner().invoke(app, ['plot', 'my-run']).exit_code == 0\n"
        "print([name for name in ('torch', 'matplotlib') if name in sys.modules])\n",
        is_cold=True,
        cwd=folder,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize(("panels", "y"), [(False, "perplexity"), (True, "perplexity,bpc,nats")])
@pytest.mark.usefixtures("folder")
def test_nothing_overlaps_in_a_file_and_everything_is_within_it(panels: bool, y: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure: Any = plotting.draw_picture(plot("my-run", "other", panels=panels, y=y))
    FigureCanvasAgg(figure).draw()
    (legend,), (text,) = figure.legends, figure.texts
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    for number, box in enumerate(boxes):
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width
        assert box.y1 <= figure.bbox.height
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])
    assert min(box.y0 for box in boxes) >= legend.get_window_extent().y1
    assert legend.get_window_extent().y0 >= text.get_window_extent().y1


def test_a_font_is_found_for_each_character_that_some_font_has() -> None:
    from charlm.reports.fonts import FONT, fonts_for

    # Matplotlib's own font has accents and arrows; what no font has is drawn as a box, without a warning.
    assert fonts_for("perplexity, é, →") == (FONT,)
    assert fonts_for("\U000f1234")[0] == FONT

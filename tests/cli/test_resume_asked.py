"""A resumed run is compared with what was typed, and not with settings left to their defaults."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from charlm.runs.run import Run
from charlm.settings.loading import load_settings

Charlm = Callable[..., Result]
OTHER = "nobody knows what the moon is for, and nobody asks the owl. " * 40


@pytest.fixture
def text(tmp_path: Path, corpus_text: str) -> Path:
    """Return a text file that belongs to the test."""
    path = tmp_path / "mine.txt"
    path.write_text(corpus_text, encoding="utf-8")
    return path


@pytest.fixture
def charlm_here(tmp_path: Path, charlm_command: Charlm) -> Charlm:
    """Return a function that runs a command whose runs are in the test's folder."""

    def run(command: str, *arguments: str | Path) -> Result:
        return charlm_command(command, *arguments, f"--runs-dir={tmp_path / 'runs'}", "--quiet", "--json")

    return run


@pytest.fixture
def finished(text: Path, charlm_here: Charlm, tiny_options: list[str]) -> Result:
    """Train a run called mine on the text, with non-default settings only, and return what it printed."""
    options = [option for option in tiny_options if "corpus" not in option]
    result = charlm_here("train", f"--corpus={text}", "--run=mine", *options, "--set=train.epochs=3")
    assert result.exit_code == 0, result.stderr
    return result


def test_a_corpus_alone_compares_no_setting_that_was_not_typed(
    finished: Result, text: Path, charlm_here: Charlm, tmp_path: Path
) -> None:
    same = charlm_here("train", "--resume", "--run=mine", f"--corpus={text}")
    assert (same.exit_code, same.stderr, same.stdout) == (0, "", finished.stdout)
    moved = text.rename(tmp_path / "moved.txt")
    more = charlm_here("train", "--resume", "--run=mine", f"--corpus={moved}", "--set=train.max_steps=14")
    assert (more.exit_code, more.stderr) == (0, "")
    assert json.loads(more.stdout)["steps"] == 14
    settings = Run(tmp_path / "runs" / "mine").settings()
    assert settings.corpus.path == (str(moved),)
    assert settings.model.hidden_size == 8
    # A budget that was not typed is kept.
    assert settings.train.epochs == 3


def test_only_the_keys_written_in_a_configuration_are_compared(
    finished: Result, charlm_here: Charlm, tmp_path: Path
) -> None:
    (tmp_path / "same.yaml").write_text("model: {hidden_size: 8}\ntrain: {max_steps: 12}\n")
    (tmp_path / "other.yaml").write_text("model: {hidden_size: 8, cell: rnn}\nsampling: {seq_len: 8}\n")
    same = charlm_here("train", "--resume", "--run=mine", f"--config={tmp_path / 'same.yaml'}")
    assert (same.exit_code, same.stdout) == (0, finished.stdout)
    other = charlm_here("train", "--resume", "--run=mine", f"--config={tmp_path / 'other.yaml'}")
    assert other.exit_code == 4
    assert "model.cell was 'lstm' and is 'rnn'; sampling.seq_len was 16 and is 8" in other.stderr
    assert "hidden_size" not in other.stderr


@pytest.mark.parametrize("option", ["--corpus={}", "--set=corpus.path={}"])
@pytest.mark.parametrize("is_there", [True, False], ids=["another text", "no file"])
def test_a_finished_run_is_refused_where_another_corpus_is_typed(
    finished: Result, charlm_here: Charlm, tmp_path: Path, option: str, is_there: bool
) -> None:
    path = tmp_path / "other.txt"
    if is_there:
        path.write_text(OTHER, encoding="utf-8")
    result = charlm_here("train", "--resume", "--run=mine", option.format(path))
    assert (result.exit_code, result.stdout) == (4, "")
    assert "other.txt" in result.stderr
    assert "the run mine is finished: leave the corpus out to see its results" in result.stderr
    again = charlm_here("train", "--resume", "--run=mine")
    assert (again.exit_code, again.stdout, again.stderr) == (0, finished.stdout, "")


@pytest.mark.parametrize("become", ["gone", "changed"])
def test_results_of_a_missing_or_changed_text_are_printed_with_one_line_that_says_so(
    finished: Result, text: Path, charlm_here: Charlm, become: str
) -> None:
    text.unlink()
    if become == "changed":
        text.write_text(OTHER, encoding="utf-8")
    result = charlm_here("train", "--resume", "--run=mine")
    assert (result.exit_code, result.stdout) == (0, finished.stdout)
    assert result.stderr.count("\n") == 1
    assert "mine.txt" in result.stderr
    assert result.stderr.endswith("the results below are those of the old text\n")
    # If typed, the same file is refused: the text it names is not that of the run.
    typed = charlm_here("train", "--resume", "--run=mine", f"--corpus={text}")
    assert (typed.exit_code, typed.stdout) == (4, "")


@pytest.mark.parametrize("become", ["gone", "changed"])
@pytest.mark.usefixtures("_in_threads")
def test_seeds_over_a_replaced_text_are_refused(
    text: Path, charlm_here: Charlm, tiny_options: list[str], tmp_path: Path, become: str
) -> None:
    options = [option for option in tiny_options if "corpus" not in option]
    command = ("train", f"--corpus={text}", "--seeds=2", "--run=both", *options)
    first = charlm_here(*command)
    assert first.exit_code == 0, first.stderr
    assert charlm_here(*command).stdout == first.stdout
    before = {path.name for path in (tmp_path / "runs" / "both").iterdir()}
    text.unlink()
    if become == "changed":
        text.write_text(OTHER, encoding="utf-8")
    result = charlm_here(*command)
    assert (result.exit_code, result.stdout) == (4, "")
    assert "mine.txt" in result.stderr
    assert {path.name for path in (tmp_path / "runs" / "both").iterdir()} == before


def test_a_setting_that_was_left_out_does_not_count_as_written() -> None:
    written = load_settings(overrides=["corpus.path=x.txt", "train.max_steps=5"])
    assert (written.corpus.model_fields_set, written.train.model_fields_set) == ({"path"}, {"max_steps"})
    assert (written.corpus.name, written.train.epochs) == (None, None)
    explicit = load_settings(overrides=["corpus.path=x.txt", "train.max_steps=5", "train.epochs=null"])
    assert explicit.train.model_fields_set == {"max_steps", "epochs"}

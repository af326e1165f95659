"""Lists of items on the command line: training, new items, scores, and what is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import charlm
from charlm.errors import TextError
from charlm.library import items
from charlm.library.items import known_items, max_tries
from charlm.runs.run import Run

Command = Callable[..., Result]


@pytest.fixture
def train_list(charlm_command: Command, tmp_path: Path) -> Callable[..., Result]:
    """Return a function that trains a tiny run for two steps."""

    def run(*arguments: str | Path) -> Result:
        tiny = [
            "model.hidden_size=8",
            "train.max_steps=2",
            "train.threads=1",
            "eval.baselines=false",
            "corpus.split=90/5/5",
        ]
        options = [f"--set={setting}" for setting in tiny]
        return charlm_command("train", *arguments, *options, "--runs-dir", tmp_path / "runs", "--run", "run")

    return run


def test_lines_are_trained_on_as_items(train_list: Command, names_file: Path, tmp_path: Path) -> None:
    ended = train_list(names_file, "--lines")
    assert ended.exit_code == 0
    assert "train 135 items, val 7 items, test 8 items" in ended.stderr
    assert "nats per item" in ended.stdout
    assert "--new -n 20" in ended.stdout
    assert Run(tmp_path / "runs" / "run").settings().corpus.items == "lines"


@pytest.mark.parametrize(
    ("options", "kind"), [(["--separator", "<|end|>"], "separated"), (["--items", "files"], "files")]
)
def test_documents_and_files_are_trained_on_as_items(
    train_list: Command, tmp_path: Path, options: list[str], kind: str
) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(20):
        text = f"text {number}\nhas lines" + ("\n<|end|>\n" if kind == "separated" else "")
        (folder / f"{number}.txt").write_text(text, encoding="utf-8")
    ended = train_list(folder, *options)
    assert ended.exit_code == 0
    assert "train 18 items, val 1 items, test 1 items" in ended.stderr
    assert Run(tmp_path / "runs" / "run").settings().corpus.items == kind


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--lines", "--items", "files"], "give either --lines or --items files"),
        (["--lines", "--separator", "x"], "give either --lines or --separator"),
        (["--items", "files", "--separator", "x"], "give either --items files or --separator"),
        (["--lines", "--set", "corpus.items=files"], "give either --lines or --set corpus.items=files"),
        (["--items", "separated"], "corpus.separator must be given"),
        (["--items", "line"], "did you mean lines?"),
        (["--lines", "--set", "model.direction=bidirectional"], "bidirectional reads running text only"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    train_list: Command, names_file: Path, options: list[str], sentence: str
) -> None:
    ended = train_list(names_file, *options)
    assert ended.exit_code == 2
    assert sentence in ended.stderr


def test_new_items_are_not_in_the_list_and_come_once(charlm_command: Command, listed: Run, names_file: Path) -> None:
    ended = charlm_command("generate", "--new", "-n", "12", "--run", listed.path)
    names = ended.stdout.splitlines()
    assert ended.exit_code == 0
    assert len(names) == len(set(names)) == 12
    assert set(names).isdisjoint(names_file.read_text(encoding="utf-8").split())
    # They are those of the items written without --new that are new, in their order.
    known = known_items(charlm.open_run(listed))
    texts = dict.fromkeys(charlm.generate(listed, num_samples=64))
    assert [text for text in texts if text and text not in known][:12] == names
    assert charlm.new_items(listed, num_items=12) == names


def test_the_search_for_new_items_ends(charlm_command: Command, listed: Run) -> None:
    ended = charlm_command("generate", "--new", "-n", "3", "-t", "0", "--run", listed.path)
    assert ended.exit_code == 0
    assert len(ended.stdout.splitlines()) <= 1
    assert f"of {max_tries(3):,} items that were written are new" in ended.stderr


def test_many_tries_are_told(charlm_command: Command, listed: Run) -> None:
    ended = charlm_command("generate", "--new", "-n", "10", "-t", "0.3", "--run", listed.path, "--json")
    assert "tries for 10 new items" in ended.stderr
    assert [json.loads(line)["sample"] for line in ended.stdout.splitlines()] == list(range(10))


def test_whole_items_are_written_one_a_line(charlm_command: Command, listed: Run) -> None:
    several = charlm_command("generate", "-n", "5", "--run", listed.path)
    assert several.stdout.splitlines() == charlm.generate(listed, num_samples=5)
    assert several.stderr == ""
    single = charlm_command("generate", "ba", "--run", listed.path)
    assert single.stdout == charlm.generate(listed, "ba")[0] + "\n"
    assert single.stdout.startswith("ba")


def test_a_prefix_with_a_line_end_is_refused(charlm_command: Command, listed: Run) -> None:
    ended = charlm_command("generate", "ba\\n", "--escapes", "--run", listed.path)
    assert ended.exit_code == 3
    assert "the prefix contains the end of an item" in ended.stderr


def test_a_list_that_is_gone_is_named(charlm_command: Command, listed: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise TextError("there is no corpus file names.txt")

    monkeypatch.setattr(items, "read_split", gone)
    ended = charlm_command("generate", "--new", "--run", listed.path)
    assert ended.exit_code == 3
    assert ended.stderr == (
        "charlm: new items need the list that the run list was trained on: there is no corpus file names.txt\n"
    )
    # Without --new the list is not needed.
    assert charlm_command("generate", "--run", listed.path).exit_code == 0


def test_a_run_of_running_text_has_no_new_items(charlm_command: Command, trained: Run) -> None:
    ended = charlm_command("generate", "--new", "--run", trained.path)
    assert ended.exit_code == 2
    assert "has learned one running text" in ended.stderr


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["eval", "--dynamic"], 2, "dynamic evaluation needs a model of running text"),
        (["eval", "--novelty"], 2, "novelty needs a model of running text"),
        (["eval", "--gaps", "1/3"], 2, "reads in one direction only"),
        (["score", "ba", "--per-line", "--in-context"], 2, "leave --in-context out"),
        (["generate", "--suffix", "ba"], 2, "reads forwards only"),
        (["generate", "--new", "--stop", "x"], 2, "leave --stop and --stop-at-newline out"),
    ],
)
def test_what_items_cannot_do_is_refused_by_name(
    charlm_command: Command, listed: Run, words: list[str], code: int, sentence: str
) -> None:
    ended = charlm_command(*words, "--run", listed.path)
    assert ended.exit_code == code
    assert sentence in ended.stderr


def test_scores_of_an_item_include_its_end(charlm_command: Command, listed: Run) -> None:
    ended = charlm_command("score", "bako", "--json", "--run", listed.path)
    rows = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [row["character"] for row in rows] == ["b", "a", "k", "o", "\n"]
    assert all(row["bits"] > 0 for row in rows)


def test_the_next_character_may_be_the_end(charlm_command: Command, listed: Run) -> None:
    ended = charlm_command("score", "--next", "bako", "--json", "--top", "20", "--run", listed.path)
    rows = [json.loads(line) for line in ended.stdout.splitlines()]
    assert "\n" in {row["character"] for row in rows}
    assert sum(row["probability"] for row in rows) == pytest.approx(1)


def test_info_counts_items(charlm_command: Command, listed: Run) -> None:
    ended = charlm_command("info", listed.path)
    assert "nats per item (15 items)" in ended.stdout

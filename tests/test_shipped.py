"""The bundled corpora and configurations match their descriptions."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from charlm.library.training import train
from charlm.settings.layers import shipped_names
from charlm.settings.loading import load_settings
from charlm.settings.schema import Settings

REPOSITORY = Path(__file__).parent.parent
CONFIGS = sorted((REPOSITORY / "configs").glob("*.yaml"))


def corpus(name: str) -> str:
    return (REPOSITORY / "data" / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["stories", "lyrics"])
def test_the_table_of_corpora_is_true(name):
    table = (REPOSITORY / "data" / "README.md").read_text(encoding="utf-8")
    (row,) = [line for line in table.splitlines() if line.startswith(f"| `{name}.txt`")]
    characters, symbols, sha256 = re.findall(r"\| ([\d,]+) \| ([\d,]+) \| `(\w+)` \|", row)[0]
    text = corpus(name)
    assert int(characters.replace(",", "")) == len(text)
    assert int(symbols.replace(",", "")) == len(set(text))
    assert sha256 == hashlib.sha256(text.encode("utf-8")).hexdigest()


def test_the_stories_are_long_and_not_assembled_from_repetitions():
    text = corpus("stories")
    assert len(text) >= 100_000
    assert text.isascii()
    windows = [text[start : start + 60] for start in range(len(text) - 60)]
    assert len(set(windows)) == len(windows)


def test_the_lyrics_have_lines_that_begin_with_both_prefixes():
    text = corpus("lyrics")
    assert len(text) >= 10_000
    lines = text.splitlines()
    assert sum(line.startswith("分开") for line in lines) == 88
    assert sum(line.startswith("不分开") for line in lines) == 85


def test_the_quick_start_reads_the_default_corpus():
    assert load_settings("quickstart").corpus == Settings().corpus


@pytest.mark.slow
def test_the_quick_start_beats_the_5gram(tmp_path):
    summary = train(load_settings("quickstart"), runs_dir=tmp_path).summary()
    assert summary["val_beats_5gram"]
    assert summary["test_beats_5gram"]
    assert summary["val_perplexity"] < 3.6


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_each_configuration_says_what_it_is_for_and_what_it_reaches(path):
    header = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    text = "\n".join(header)
    assert re.search(r"^# Purpose: ", text, re.MULTILINE)
    command = r"^# Command: charlm train" + ("$" if path.stem == "quickstart" else f" --config {path.stem}$")
    assert re.search(command, text, re.MULTILINE)
    assert re.search(r"^# Minutes on two cores: \d", text, re.MULTILINE)
    assert re.search(r"^# Reaches: .*\d\.\d", text, re.MULTILINE)
    assert path.stem in shipped_names()
    assert load_settings(path) == load_settings(path.stem)

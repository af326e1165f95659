"""The README and the guide tell the truth: their commands and their Python run, their links lead somewhere."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import pytest
from prose import (
    GUIDE,
    LANGUAGES,
    PAGES,
    REPOSITORY,
    TAUGHT,
    all_fences,
    anchors,
    fences,
    inline_code,
    link_problem,
    links,
)
from reader import SHORT, Reader, charlm_commands, command_problem, unknown_options

from charlm.cli.reference import REGENERATE, generated
from charlm.library.models import Model
from charlm.library.training import train
from charlm.settings.diagnosis import known_keys
from charlm.settings.loading import load_settings
from charlm.sweeps import sweeping
from charlm.sweeps.workers import Workers
from charlm.training.events import Step
from charlm.training.launch import train_reports

STORIES = (REPOSITORY / "data" / "stories.txt").read_text(encoding="utf-8")
# Each character that a page may put into a prefix.
PRINTABLE = "".join(map(chr, range(32, 127)))
MODULES = "corpus|vocabulary|sampling|model|optimizer|train|checkpoint|eval|sample"
SETTING = re.compile(rf"(?<![\w./-])(?:{MODULES})(?:\.[a-z_]+)+(?![\w/*(-])")
# Files of such names, and what a model has in Python.
ATTRIBUTES = (*(name for name in dir(Model) if name[0] != "_"), *(field.name for field in fields(Model)))
NOT_SETTINGS = (
    ".py",
    ".safetensors",
    ".json",
    ".jsonl",
    ".yaml",
    ".txt",
    ".csv",
    ".md",
    *map("model.{}".format, ATTRIBUTES),
)


def named(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Return a folder with a text, a run that is done and one that was cut; nobody may change it."""
    folder = tmp_path_factory.mktemp("user")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("poems.txt").write_text(f"{STORIES[:1_000]}{PRINTABLE}\n{STORIES[1_000:4_000]}", encoding="utf-8")
        (folder / "poems").mkdir()
        shutil.copy("poems.txt", "poems/one.txt")
        cuts = [f"{key}={value}" for key, value in SHORT.items()]
        settings = load_settings(overrides=["corpus.path=poems.txt", "train.max_steps=2", *cuts])
        train(settings, name="poems")
        # Leaving the loop leaves a run that can be resumed.
        for report in train_reports(settings, name="cut"):
            if isinstance(report, Step):
                break
    return folder


@pytest.fixture
def _folder_of_a_user(tmp_path, monkeypatch, prepared):
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweeping, "local_workers", lambda _: Workers(lambda: ThreadPoolExecutor(1), 1))


@pytest.mark.usefixtures("_folder_of_a_user")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", TAUGHT, ids=named)
def test_what_a_page_teaches_works_from_top_to_bottom(page, charlm_command):
    reader = Reader(charlm_command, {"poems", "cut"})
    for fence in fences(page):
        reader.try_out(fence)


@pytest.mark.parametrize("page", TAUGHT, ids=named)
def test_every_block_says_what_it_is(page):
    assert [fence.place for fence in fences(page) if fence.language not in LANGUAGES] == []
    assert [
        fence.place
        for fence in fences(page)
        if fence.language in ("sh", "python") and fence.marker not in ("", "parsed")
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page):
    assert [problem for target in links(page) if (problem := link_problem(page, target))] == []


@pytest.mark.parametrize("page", TAUGHT, ids=named)
def test_commands_and_settings_within_sentences_are_there(page):
    keys, missing = known_keys(), []
    for code in inline_code(page):
        # Ellipses and what is cut out of a command are for people.
        for words in charlm_commands(code) if code.startswith("charlm ") and code.count("'") % 2 == 0 else ():
            missing += [f"{code}: {option}" for option in unknown_options(words)]
        missing += [key for key in SETTING.findall(code) if key not in keys and not key.endswith(NOT_SETTINGS)]
    assert missing == []


@pytest.mark.parametrize("name", generated())
def test_what_is_generated_is_current(name):
    path = GUIDE / name
    current = path.exists() and path.read_text(encoding="utf-8") == generated()[name] + "\n"
    assert current, f"{named(path)} is not what the program says now: {REGENERATE}"


def test_pages_begin_with_a_heading_and_a_sentence():
    for page in GUIDE.glob("*.md"):
        lines = page.read_text(encoding="utf-8").splitlines()
        assert re.match(r"# \S", lines[0]), page
        assert lines[1] == "", page
        assert re.match(r"[A-Z`]", lines[2]), page


def test_commands_of_shell_scripts_are_there():
    lines = [line for fence in all_fences("bash") for line in fence.commands()]
    found = [words for line in lines for words in charlm_commands(line.partition(" #")[0])]
    assert found
    assert [option for words in found for option in unknown_options(words)] == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[a](other.md)", "other.md leads nowhere"),
        ("[a](#nothing)", "has no heading #nothing"),
        ("[a](page.md#a-b-1)", None),
        ("[a](page.md#a-b-2)", "has no heading #a-b-2"),
        ("[a](/etc/passwd)", "leads nowhere"),
        ("[a](http://example.org)", "is no https link"),
        ("![a](x.svg)", "x.svg leads nowhere"),
        ('<img src="x.svg">', "x.svg leads nowhere"),
        ("`[a](b)`", None),
    ],
)
def test_a_broken_link_is_found(tmp_path, monkeypatch, text, problem):
    monkeypatch.setattr("prose.REPOSITORY", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(f"# A `b`\n\n## A b\n\n{text}\n\n```text\n# [a](none.md)\n```\n", encoding="utf-8")
    found = [each for target in links(page) if (each := link_problem(page, target))]
    assert [problem in each for each in found] == ([True] if problem else [])
    assert anchors(page) == {"a-b", "a-b-1"}


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("train --config lyrics-gru --minutes 5", None),
        ("train --config lyrics-gruu", "lyrics-gru"),
        ("train --set model.hiden_size=3", "model.hidden_size"),
        ("train --steps 3 --set train.max_steps=4", "same setting"),
        ("sweep cels", "cells"),
        ("generate --temprature 3", "--temperature"),
        ("corpus get timemachine", None),
        ("bench --implementation native", None),
    ],
)
def test_a_command_that_is_only_parsed_is_checked(line, wrong):
    problem = command_problem(line.split())
    assert problem is None if wrong is None else wrong in problem

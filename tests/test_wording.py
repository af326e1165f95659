"""How the README and the guide are written: short where it is short, in plain words, and without gaps."""

from __future__ import annotations

import re

import pytest
from prose import GUIDE, README, REPOSITORY, TAUGHT, prose

from charlm.cli.topics import ALIASES

MAX_README_LINES = 150
# Phrases that are not idiomatic English, or for which there is a plainer word.
WORN = re.compile(
    r"beside it\b|\bcomes? along\b|\bOf the \w+s\.|\blaid over\b|to be gone on with|\bgoes on with\b|as it stands"
    r"|\bwhat \w+ makes? of\b|\bless the\b|\bis told\b|mean and deviation|\bat home in\b"
)


@pytest.mark.parametrize("page", TAUGHT, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_worn_words_do_not_come_back(page):
    assert [found[0] for found in WORN.finditer(" ".join(prose(page).split()))] == []


def test_the_readme_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= MAX_README_LINES


def test_every_topic_has_its_page():
    assert {page.stem for page in GUIDE.glob("*.md")} == {"README", *ALIASES.values()}

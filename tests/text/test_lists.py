"""Lists of lines are recognised, and no prose, verse, code or table is taken for one."""

from __future__ import annotations

import textwrap
from pathlib import Path
from random import Random

import pytest

import charlm
from charlm.settings.corpus import CorpusSettings, VocabularySettings
from charlm.text.corpus import load_corpus
from charlm.text.lists import looks_like_list

ROOT = Path(charlm.__file__).parent
STORIES = Path(__file__).parents[2] / "data" / "stories.txt"
LYRICS = STORIES.with_name("lyrics.txt")


def names(number: int = 60) -> list[str]:
    """Return invented names."""
    random = Random(0)
    return ["".join(random.choice("abeiklmnortu") for _ in range(random.randint(4, 10))).title() for _ in range(number)]


LISTS = {
    "names": names(),
    "sorted sentences": sorted(f"{name.lower()} walks along the bank of the river" for name in names()),
    "titles": [f"The {name}" + f" of the {name} Garden" * (len(name) % 3) for name in names()],
    "molecules": [f"CC(=O)OC1=CC=CC=C1C(=O){'C' * number}N" for number in range(30)],
    "Chinese words": [chr(0x4E00 + 7 * number) + chr(0x5000 + 11 * number) for number in range(40)],
}
PROSE = " ".join(STORIES.read_text(encoding="utf-8").split())[:20_000]
OTHERS = {
    "paragraphs": STORIES.read_text(encoding="utf-8").splitlines(),
    "verse": LYRICS.read_text(encoding="utf-8").splitlines(),
    **{f"wrapped at {width}": textwrap.wrap(PROSE, width) for width in (20, 40, 72)},
    "wrapped without punctuation": textwrap.wrap(PROSE.lower().replace(".", "").replace(",", ""), 40),
    "code": (ROOT / "training" / "step.py").read_text(encoding="utf-8").splitlines(),
    "numbers": [str(1.5 * number) for number in range(50)],
    "a table": [f"{name},{number},{number % 7}" for number, name in enumerate(names())],
    "words of a text": PROSE.split()[:500],
    "too few": names(19),
    "stanzas": [line for name in names() for line in (name, "")],
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_is_recognised(kind: str) -> None:
    assert looks_like_list(LISTS[kind])


@pytest.mark.parametrize("kind", OTHERS)
def test_other_texts_are_not_taken_for_lists(kind: str) -> None:
    assert not looks_like_list(OTHERS[kind])


@pytest.mark.parametrize("ends_in_newline", [True, False])
def test_lines_are_offered_once_and_only_for_a_running_text(tmp_path: Path, ends_in_newline: bool) -> None:
    path = tmp_path / "names.txt"
    path.write_text("\n".join(names()) + "\n" * ends_in_newline, encoding="utf-8")
    for items, expected in ((None, 1), ("lines", 0)):
        corpus = load_corpus(CorpusSettings(name=None, path=(str(path),), items=items), VocabularySettings())
        sentences = [notice.sentence for notice in corpus.notices]
        assert sentences.count("this looks like a list of 60 lines: --lines trains on it as such") == expected

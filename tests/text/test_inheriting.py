"""A text is read with a model's vocabulary: new characters are refused, added or not read, and always counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from charlm.errors import ConfigError, TextError
from charlm.settings.corpus import CorpusSettings, VocabularySettings
from charlm.text.corpus import Corpus, load_corpus
from charlm.text.inheriting import KnownSymbols, added_characters, new_ids, without_characters
from charlm.text.vocabulary import Vocabulary

TEXT = "abba é€€ b\n"


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Corpus]:
    """Return a function that reads the text with a vocabulary of a, b, space and newline."""
    path = tmp_path / "new.txt"
    path.write_text(TEXT, encoding="utf-8")

    def load(new: Any, *, characters: str = "\n ab", has_unknown: bool = False, **vocabulary: int) -> Corpus:
        known = KnownSymbols(Vocabulary(characters, has_unknown), new)
        return load_corpus(CorpusSettings(path=(str(path),)), VocabularySettings(**vocabulary), known=known)

    return load


def decoded(corpus: Corpus) -> str:
    """Return the text as the model reads it."""
    return corpus.vocabulary.decode(corpus.ids)


def test_new_characters_are_refused_with_their_number_and_the_commonest_first(read: Callable[..., Corpus]) -> None:
    with pytest.raises(TextError) as refused:
        read("error")
    assert "has 2 characters this model has never seen: '€' (U+20AC) 2 times, 'é' (U+00E9) 1 time;" in str(
        refused.value
    )
    assert "--new-characters extend adds them" in str(refused.value)


def test_known_characters_need_no_policy(read: Callable[..., Corpus]) -> None:
    corpus = read("error", characters="\n abz\xe9\u20ac")
    assert decoded(corpus) == TEXT
    assert "z" in corpus.vocabulary.characters, "a symbol that the text lacks stays"


def test_dropped_characters_are_left_out_or_read_as_the_unknown_symbol(read: Callable[..., Corpus]) -> None:
    skipped, replaced = read("drop"), read("drop", has_unknown=True)
    assert decoded(skipped) == "abba  b\n"
    assert decoded(replaced) == "abba \ufffd\ufffd\ufffd b\n"
    assert [each.sentence.partition(":")[0] for each in (skipped.notices[-1], replaced.notices[-1])] == [
        "3 characters the model does not know were skipped",
        "3 characters the model does not know were read as its unknown symbol",
    ]


def test_a_text_of_new_characters_only_is_refused(read: Callable[..., Corpus]) -> None:
    with pytest.raises(TextError, match="no character that the model knows"):
        read("drop", characters="xyz")


def test_added_characters_follow_the_rules_of_the_vocabulary(read: Callable[..., Corpus]) -> None:
    everything = read("extend")
    assert decoded(everything) == TEXT
    assert everything.notices[-1].sentence.startswith("2 new characters added to the model's vocabulary: '€'")
    rare = read("extend", has_unknown=True, min_count=2)
    assert decoded(rare) == "abba \ufffd€€ b\n"
    assert decoded(read("extend", has_unknown=True, max_size=6)) == "abba \ufffd€€ b\n"
    with pytest.raises(ConfigError, match=r"would make 6 symbols, and vocabulary.max_size of the model is 5"):
        read("extend", max_size=5)


@pytest.mark.parametrize("has_unknown", [False, True])
def test_old_ids_lead_to_the_same_symbols(has_unknown: bool) -> None:
    old, new = Vocabulary("ace", has_unknown), Vocabulary("abcde", has_unknown)
    ids = new_ids(old, new)
    assert new.decode(ids) == old.decode(range(len(old)))
    assert without_characters(new, added_characters(old, new)) == old

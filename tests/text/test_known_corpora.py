"""The corpora known by name: where they are stored, and what `charlm corpus` says about them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from typer.testing import CliRunner

from charlm.cli.corpus import corpus_app
from charlm.errors import TextError
from charlm.text import known
from charlm.text.known import (
    KNOWN_CORPORA,
    SHIPPED_CORPORA,
    KnownCorpus,
    corpus_entries,
    corpus_file,
    corpus_names,
    data_folder,
    downloaded_file,
    known_corpus,
    standard_split,
)

TEXT = "é1\r\nto be, or not to be\n" * 20


@pytest.fixture(autouse=True)
def _own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARLM_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture
def corpus(monkeypatch: pytest.MonkeyPatch) -> KnownCorpus:
    """Return a small corpus that charlm knows during a test; its server never answers."""
    raw = TEXT.encode("latin-1")
    small = replace(
        KNOWN_CORPORA["tinyshakespeare"],
        name="small",
        url="http://127.0.0.1:1/small.txt",
        sha256=sha256(raw).hexdigest(),
        num_bytes=len(raw),
        encoding="latin-1",
        split=(300, 20, 20),
    )
    monkeypatch.setitem(known.KNOWN_CORPORA, "small", small)
    monkeypatch.setenv("no_proxy", "*")
    return small


def put(path: Path, content: bytes) -> Path:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", list(KNOWN_CORPORA))
def test_the_facts_of_a_known_corpus_are_consistent(name: str) -> None:
    entry = KNOWN_CORPORA[name]
    assert entry.name == name
    assert re.fullmatch("[0-9a-f]{64}", entry.sha256)
    assert entry.url.endswith(".zip") == (entry.member is not None)
    if not isinstance(entry.split, str):
        assert sum(entry.split) == entry.num_bytes


@pytest.mark.parametrize("name", list(SHIPPED_CORPORA))
def test_a_bundled_corpus_is_always_here(name: str) -> None:
    assert corpus_file(name).read_text(encoding="utf-8")
    assert standard_split(name) == "default"


def test_a_downloaded_corpus_is_found_in_the_data_folder(tmp_path: Path) -> None:
    assert data_folder() == tmp_path / "data"
    path = put(tmp_path / "data" / "corpora" / "text8.txt", b"a")
    assert corpus_file("text8") == path == downloaded_file("text8")


def test_without_the_variable_the_data_folder_is_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHARLM_DATA_DIR")
    assert data_folder().name == "charlm"


def test_a_corpus_not_downloaded_yet_says_how_to_get_it() -> None:
    sentence = "is not on this machine yet; run: charlm corpus get tinyshakespeare"
    with pytest.raises(TextError, match=sentence) as caught:
        corpus_file("tinyshakespeare")
    assert caught.value.exit_code == 3


def test_an_unknown_name_gets_the_nearest_known_one() -> None:
    with pytest.raises(TextError, match="no corpus called 'shakespeare'; did you mean tinyshakespeare"):
        corpus_file("shakespeare")


def test_an_unknown_name_without_a_similar_one_gets_the_list() -> None:
    with pytest.raises(TextError, match="'qqqqqq'; the known ones are stories, lyrics, timemachine"):
        corpus_file("qqqqqq")


def test_a_bundled_corpus_needs_no_download() -> None:
    with pytest.raises(TextError, match="nothing to download"):
        known_corpus("stories")


def test_entries_say_what_is_on_this_machine(corpus: KnownCorpus) -> None:
    here = {entry.name: entry.is_here for entry in corpus_entries()}
    assert list(here) == corpus_names()
    assert [name for name, is_here in here.items() if is_here] == list(SHIPPED_CORPORA)
    put(downloaded_file("small"), b"anything")
    assert {entry.name: entry.is_here for entry in corpus_entries()}[corpus.name]


def test_list_prints_one_line_for_each_corpus(corpus: KnownCorpus) -> None:
    lines = CliRunner().invoke(corpus_app, ["list"]).stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["name", *corpus_names()]
    assert lines[-1].split("\t")[:2] == [corpus.name, f"{corpus.num_bytes:,}"]
    assert "90M/5M/5M" in lines[-2]


def test_get_from_a_folder_prints_the_path_and_nothing_else_on_standard_output(
    corpus: KnownCorpus, tmp_path: Path
) -> None:
    put(tmp_path / "copies" / "input.txt", TEXT.encode("latin-1"))
    result = CliRunner().invoke(corpus_app, ["get", corpus.name, "--from", str(tmp_path / "copies")])
    assert result.exit_code == 0
    assert result.stdout == f"{downloaded_file(corpus.name)}\n"
    assert f"{corpus.num_bytes:,} bytes; the SHA-256 is correct" in result.stderr
    assert corpus_file(corpus.name).read_bytes() == TEXT.encode("latin-1")


def test_get_without_a_network_fails_as_storage(corpus: KnownCorpus) -> None:
    result = CliRunner().invoke(corpus_app, ["get", corpus.name])
    assert (result.exit_code, result.stdout) == (6, "")
    assert "charlm corpus get small --from FOLDER" in result.stderr


def test_info_reads_a_known_corpus_in_its_own_encoding(corpus: KnownCorpus) -> None:
    path = put(downloaded_file(corpus.name), TEXT.encode("latin-1"))
    facts = json.loads(CliRunner().invoke(corpus_app, ["info", corpus.name, "--json"]).stdout)
    assert facts["path"] == str(path)
    assert (facts["sha256"], facts["encoding"], facts["split"]) == (corpus.sha256, "latin-1", [300, 20, 20])
    assert (facts["num_chars"], facts["num_bytes"]) == (len(TEXT), len(TEXT.encode()))
    assert ["1", 20] in facts["rarest"]
    assert facts["line_endings"] == {"lf": 20, "crlf": 20, "cr": 0}


def test_info_describes_a_file_in_lines(tmp_path: Path) -> None:
    path = put(tmp_path / "mine.txt", b"abab")
    result = CliRunner().invoke(corpus_app, ["info", str(path)])
    facts = dict(line.split("\t") for line in result.stdout.splitlines())
    assert facts["characters"] == "4"
    assert facts["unigram entropy"] == "1.000 bits per character"
    assert facts["bigram entropy"] == "0.000 bits per character"
    assert facts["rarest symbols"] == "'a' (U+0061) 2, 'b' (U+0062) 2"
    assert facts["sha256"] == sha256(b"abab").hexdigest()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("missing.txt", "no text file missing.txt"),
        ("storys", "did you mean stories"),
        ("text8", "corpus get text8"),
    ],
)
def test_info_on_something_absent_says_what_to_do(target: str, message: str) -> None:
    result = CliRunner().invoke(corpus_app, ["info", target])
    assert (result.exit_code, result.stdout) == (3, "")
    assert message in result.stderr


def test_info_refuses_bytes_that_are_not_in_the_encoding(tmp_path: Path) -> None:
    path = put(tmp_path / "latin.txt", "é".encode("latin-1"))
    assert CliRunner().invoke(corpus_app, ["info", str(path)]).exit_code == 3
    assert CliRunner().invoke(corpus_app, ["info", str(path), "--encoding", "latin-1"]).exit_code == 0

"""Notices about a text before a model learns it, and refusals of texts that are not worth learning."""

from __future__ import annotations

import json
import random
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import Result

from charlm.errors import CharlmWarning, ConfigError, TextError
from charlm.library.models import open_run
from charlm.library.training import train
from charlm.library.writing import generate
from charlm.settings.corpus import CorpusSettings, SamplingSettings, VocabularySettings
from charlm.settings.loading import load_settings
from charlm.settings.schema import Settings
from charlm.text import corpus as corpus_module
from charlm.text import files
from charlm.text.corpus import load_corpus
from charlm.text.decoding import decode_prefix
from charlm.text.forms import match_form
from charlm.text.notices import LineEnds, name_few
from charlm.text.parts import part_notices
from charlm.text.splits import split_corpus
from charlm.text.vocabulary import Vocabulary
from charlm.text.windows import fitting_options, num_windows

Charlm = Callable[..., Result]
WORDS = "one two three four five.\n" * 60


def put(path: Path, content: str | bytes) -> Path:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def notices(*paths: Path, **options: object) -> list[str]:
    """Return the notices on a corpus."""
    settings = CorpusSettings.model_validate({"path": [str(path) for path in paths], **options})
    return [notice.sentence for notice in load_corpus(settings, VocabularySettings()).notices]


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (WORDS, {}, []),
        (WORDS.replace("\n", "\r\n"), {}, ["60 CRLF line ends were read as LF"]),
        (WORDS.replace("\n", "\r"), {}, ["60 CR line ends were read as LF"]),
        (WORDS + "a\r\nb\rc\n\r", {}, ["1 CRLF and 2 CR line ends were read as LF"]),
        (WORDS + "a\r\n", {}, ["1 CRLF line end was read as LF"]),
        (WORDS.replace("\n", "\r\n"), {"clean": "none"}, []),
        (WORDS.replace("\n", "\r\n"), {"clean": "letters"}, []),
        (WORDS.replace("\n", "\r\n"), {"max_chars": 50}, ["CRLF line ends were read as LF"]),
    ],
)
@pytest.mark.parametrize("cached_bytes", [0, 1 << 20])
def test_line_ends_that_are_read_as_lf_are_counted(
    text: str, options: dict[str, object], said: list[str], cached_bytes: int, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(corpus_module, "CACHED_BYTES", cached_bytes)
    monkeypatch.setattr(files, "CHUNK_BYTES", 7)
    file = put(tmp_path / "a.txt", text)
    # The cache gives the same notices.
    assert [notices(file, **options) for _ in range(2)] == [said, said]


@given(chunks=st.lists(st.text("a\r\n", max_size=4), max_size=8))
def test_line_ends_are_counted_however_a_text_is_cut(chunks: list[str]) -> None:
    ends, text = LineEnds(), "".join(chunks)
    assert "".join(ends.counted(chunks)) == text
    assert (ends.crlf, ends.cr) == (text.count("\r\n"), text.count("\r") - text.count("\r\n"))


def test_a_file_without_its_last_line_end_gets_one_before_the_next_file(tmp_path: Path) -> None:
    names = ["a.txt", "empty.txt", "b.txt", "c.txt"]
    paths = [
        put(tmp_path / name, text) for name, text in zip(names, ["one", "", "\ufefftwo\r\n", "three"], strict=True)
    ]
    settings = CorpusSettings(path=tuple(map(str, paths)))
    corpus = load_corpus(settings, VocabularySettings())
    assert corpus.vocabulary.decode(corpus.ids) == "one\ntwo\nthree"
    assert [notice.sentence for notice in corpus.notices][1] == (
        "1 file ends without a line end, and one was put before the next file (--set corpus.between_files=nothing "
        "joins them as they are)"
    )
    glued = settings.model_copy(update={"between_files": "nothing"})
    corpus = load_corpus(glued, VocabularySettings())
    assert corpus.vocabulary.decode(corpus.ids) == "onetwo\nthree"
    assert len(corpus.notices) == 1


def test_the_cache_depends_on_where_files_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_module, "CACHED_BYTES", 0)
    monkeypatch.setenv("CHARLM_DATA_DIR", str(tmp_path / "data"))
    for first, second in (("ab", "cd"), ("abc", "d")):
        paths = [put(tmp_path / "1.txt", first), put(tmp_path / "2.txt", second)]
        corpus = load_corpus(CorpusSettings(path=tuple(map(str, paths))), VocabularySettings())
        assert corpus.vocabulary.decode(corpus.ids) == f"{first}\n{second}"


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        ("\ufffd", "1 replacement character (U+FFFD): an earlier program could not read"),
        ("\x92\x93", "2 C1 control characters (U+0080 to U+009F)"),
        ("\ufeff", "1 byte order mark (U+FEFF) inside"),
    ],
)
def test_characters_that_hardly_belong_in_a_text_are_reported(odd: str, words: str, tmp_path: Path) -> None:
    (sentence,) = notices(put(tmp_path / "a.txt", WORDS + odd))
    assert sentence.startswith(f"the text has {words}")


def test_cp1252_is_suggested_for_latin_1_with_c1_controls(tmp_path: Path) -> None:
    (sentence,) = notices(put(tmp_path / "a.txt", "“oui”\n".encode("cp1252") * 99), encoding="latin-1")
    assert "encoding is probably not latin-1 (try --set corpus.encoding=cp1252)" in sentence


def said_of_parts(path: Path) -> list[str]:
    """Return the notices on the splits of a text."""
    settings = CorpusSettings(path=(str(path),))
    corpus = load_corpus(settings, VocabularySettings())
    return [each.sentence for each in part_notices(split_corpus(corpus, settings), corpus.vocabulary, is_known=False)]


def test_lines_are_suggested_for_a_sorted_list_and_not_for_a_shuffled_one(tmp_path: Path) -> None:
    draw = random.Random(0)
    names = [draw.choice("ABCDEFGHIJKLMNOPRSTVWXYZ") + "".join(draw.choices("aeioumnrstl", k=6)) for _ in range(2000)]
    (sentence,) = said_of_parts(put(tmp_path / "sorted.txt", "\n".join(sorted(names))))
    assert "differs visibly from its beginning" in sentence
    assert "--lines" in sentence
    assert said_of_parts(put(tmp_path / "shuffled.txt", "\n".join(names))) == []


@pytest.mark.parametrize("name", ["stories.txt", "lyrics.txt"])
def test_prose_and_verse_are_homogeneous(name: str) -> None:
    assert said_of_parts(Path(__file__).parents[2] / "data" / name) == []


def test_a_log_over_two_months_is_homogeneous(tmp_path: Path) -> None:
    lines = [f"{month} {day:2} 10:11:{n:02} host daemon[{n * 37}]: message number {n * 7919 % 1000} accepted\n"
             for month in ("Oct", "Nov") for day in range(1, 29) for n in range(20)]  # fmt: skip
    assert said_of_parts(put(tmp_path / "log.txt", "".join(lines))) == []


def test_a_text_of_a_few_lines_and_its_tiny_validation_split_are_reported(tmp_path: Path) -> None:
    by_heart, few = said_of_parts(put(tmp_path / "a.txt", WORDS[:135]))
    assert by_heart == (
        "the training split has 121 characters, so that a network will learn it by heart: give more text"
    )
    assert few.startswith("the validation split has 7 characters, too few for meaningful results")


@given(num_chars=st.integers(2, 3000), batch_size=st.integers(1, 64), seq_len=st.integers(1, 128))
def test_the_options_named_for_a_short_text_fit_it(num_chars: int, batch_size: int, seq_len: int) -> None:
    words = fitting_options(num_chars, SamplingSettings(batch_size=batch_size, seq_len=seq_len)).split()
    batch, length = (int(word.rpartition("=")[2]) for word in words if "=" in word)
    assert num_windows(num_chars, SamplingSettings(batch_size=batch, seq_len=length)) >= 1


def test_a_text_too_short_for_its_splits_is_refused_with_settings_that_fit(
    tmp_path: Path, charlm_command: Charlm
) -> None:
    file = put(tmp_path / "tiny.txt", "hello world\n")
    result = charlm_command("train", "--config=defaults", "--corpus", file, "--runs-dir", tmp_path / "runs")
    assert result.exit_code == 3
    command = result.stderr.partition("train on all of it: ")[2].removesuffix(" fits\n").split()
    options = ["--set=train.max_steps=1", "--set=model.hidden_size=4", "--runs-dir", str(tmp_path / "runs")]
    assert charlm_command("train", "--config=defaults", "--corpus", file, *command, *options).exit_code == 0


def test_many_files_are_named_by_the_first_of_them() -> None:
    assert name_few([f"{n}.txt" for n in range(1500)]) == "0.txt, 1.txt, 2.txt and 1,497 more"
    assert name_few(["a", "b", "c", "d"]) == "a, b, c, d"


@pytest.mark.parametrize("override", ["corpus.path=''", "corpus.path=[a.txt, '']"])
def test_an_empty_name_is_refused(override: str, charlm_command: Charlm) -> None:
    with pytest.raises(ConfigError, match=r"corpus\.path has an empty name: is a shell variable unset\?"):
        load_settings(overrides=[override])
    assert charlm_command("train", "--corpus", "").exit_code == 2


@pytest.mark.parametrize(
    ("content", "encoding", "text"),
    [
        (b"The ", "utf-8", "The "),
        (b"The end\n", "utf-8", "The end"),
        (b"The end\r\n", "utf-8", "The end"),
        (b"The end\r", "utf-8", "The end"),
        (b"The end\n\n", "utf-8", "The end\n"),
        (b"\xef\xbb\xbfa\r\nb", "utf-8", "a\r\nb"),
        ("é\n".encode("utf-16"), "utf-16", "é"),
        (b"\xe9", "latin-1", "é"),
    ],
)
def test_a_prefix_file_is_read_like_the_corpus_without_its_last_line_end(
    content: bytes, encoding: str, text: str
) -> None:
    assert decode_prefix(content, "prefix", encoding) == text


def test_a_prefix_file_that_does_not_decode_says_how_to_convert_it() -> None:
    with pytest.raises(
        TextError, match=r"byte 0xeb at offset 3, line 2; it is likely cp1251, .*iconv -f cp1251 -t utf-8"
    ):
        decode_prefix("ab\nле стоял\n".encode("cp1251"), "prefix")


def test_accents_are_matched_to_the_form_of_a_corpus() -> None:
    nfc, nfd = "café", unicodedata.normalize("NFD", "café")
    for mine, theirs, form in ((nfc, nfd, "NFD"), (nfd, nfc, "NFC")):
        matched = match_form(mine, Vocabulary("".join(sorted(set(theirs)))))
        assert (matched.text, matched.form) == (theirs, form)
        assert matched.told("the prefix") is not None
        assert match_form(mine, Vocabulary("".join(sorted(set(mine))))).form is None
    assert match_form("xyz", Vocabulary("ab")).text == "xyz"


def test_notices_are_shown_at_the_start_of_training_unless_it_is_quiet(tmp_path: Path, charlm_command: Charlm) -> None:
    file = put(tmp_path / "a.txt", WORDS.replace("\n", "\r\n") + "\ufeff")
    options = ["--set=train.max_steps=1", "--set=model.hidden_size=4", "--set=sampling.batch_size=4",
               "--set=sampling.seq_len=16", "--set=sample.prefixes=[one]", "--runs-dir", tmp_path / "runs"]  # fmt: skip
    loud = charlm_command("train", "--corpus", file, *options)
    assert "note: 60 CRLF line ends were read as LF\n" in loud.stderr
    assert "warning: the text has 1 byte order mark (U+FEFF) inside" in loud.stderr
    assert charlm_command("train", "--corpus", file, "--quiet", *options).stderr == ""


def test_corpus_info_reports_odd_characters(tmp_path: Path, charlm_command: Charlm) -> None:
    file = put(tmp_path / "a.txt", WORDS + "\ufffd")
    assert json.loads(charlm_command("corpus", "info", file, "--json").stdout)["notices"][0].startswith(
        "the text has 1 replacement character (U+FFFD)"
    )
    assert "warning: the text has 1 replacement" in charlm_command("corpus", "info", file).stderr


def test_a_run_on_crlf_reads_prefixes_and_stops_like_its_corpus(
    tmp_path: Path, tiny_settings: Callable[..., Settings]
) -> None:
    file = put(tmp_path / "a.txt", WORDS.replace("\n", "\r\n"))
    model = open_run(train(tiny_settings(f"corpus.path='{file}'", "sample.prefixes=[one]"), runs_dir=tmp_path / "runs"))
    assert "\r" not in model.checkpoint.vocabulary.characters
    assert model.encode("one\r\ntwo", "prefix")[0] == "one\ntwo"
    assert model.cleaned("\r\n", "the stop") == "\n"
    texts = [list(generate(model, "one two", stops=[stop], length=60)) for stop in ("\r\n", "\n")]
    assert texts[0] == texts[1]


def test_a_prefix_in_another_unicode_form_is_matched_with_a_warning(
    tmp_path: Path, tiny_settings: Callable[..., Settings]
) -> None:
    text = unicodedata.normalize("NFD", "le café fermé\n" * 100)
    file = put(tmp_path / "a.txt", text)
    run = train(tiny_settings(f"corpus.path='{file}'", "sample.prefixes=['café']"), runs_dir=tmp_path / "runs")
    with pytest.warns(CharlmWarning, match="the prefix was typed in NFC and is read in NFD, like the model's corpus"):
        cleaned, _ = open_run(run).encode("café", "prefix")
    assert cleaned == "cafe\u0301"

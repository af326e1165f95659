"""Whatever is given as a corpus trains, or is refused in one sentence with its exit code; no third thing happens."""

from __future__ import annotations

import codecs
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from pairs import by_pairs, one_in
from typer.testing import Result

from charlm.errors import printable
from charlm.settings.schema import Settings
from charlm.text import corpus as corpus_module
from charlm.text import files as reading
from charlm.training.events import End, Step
from charlm.training.launch import train_reports

Charlm = Callable[..., Result]
WORDS = "one two three four five.\n" * 60
TINY = (
    "sampling.batch_size=4",
    "sampling.seq_len=16",
    "model.hidden_size=8",
    "train.max_steps=2",
    "train.eval_every=2",
    "train.device=cpu",
    "train.threads=1",
    "sample.length=8",
    "eval.max_chars=200",
)
ONE_SYMBOL = "the corpus {file} has only one symbol: there is nothing to predict"
ZERO_BYTES = "{file} contains zero bytes: it is a binary file or has another encoding"
MANY_SYMBOLS = "".join(chr(code) for code in range(0x20, 0x12000) if not 0xD800 <= code < 0xE000)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a command: its exit code, its one sentence if it was refused, else what it recorded."""

    code: int
    sentence: str
    environment: dict[str, Any] = field(default_factory=dict)
    symbols: str = ""


Attempt = Callable[..., Outcome]


@pytest.fixture
def attempt(tmp_path: Path, charlm_command: Charlm) -> Attempt:
    """Return what trains on a corpus and holds every refusal to one printable sentence without a run left behind."""
    runs = tmp_path / "runs"

    def train(corpus: str | Path, *settings: str, text: bytes | None = None) -> Outcome:
        options = [f"--set={setting}" for setting in (*TINY, *settings)]
        result = charlm_command(
            "train", "--config=defaults", "--corpus", corpus, "--quiet", "--runs-dir", runs, *options, text=text
        )
        assert "Traceback" not in result.stderr
        if result.exit_code:
            (line,) = result.stderr.splitlines()
            assert line.startswith("charlm: ")
            assert line.isprintable()
            assert result.stdout == ""
            assert not runs.exists() or not list(runs.iterdir())
            return Outcome(result.exit_code, line.removeprefix("charlm: "))
        (run,) = runs.iterdir()
        vocabulary = json.loads(next(run.glob("checkpoints/*/vocabulary.json")).read_bytes())
        environment = json.loads((run / "environment.json").read_bytes())
        return Outcome(0, "", environment, vocabulary["characters"])

    return train


def put(path: Path, content: str | bytes) -> Path:
    """Write a file."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


@pytest.mark.parametrize(
    ("content", "settings", "text"),
    [
        pytest.param(codecs.BOM_UTF8 + WORDS.encode(), [], WORDS, id="byte order mark and text"),
        pytest.param(WORDS.replace("\n", "\r\n"), [], WORDS, id="CRLF"),
        pytest.param(WORDS.replace("\n", "\r\n"), ["corpus.clean=none"], WORDS.replace("\n", "\r\n"), id="CRLF, kept"),
        pytest.param(WORDS.replace("\n", "\r"), [], WORDS, id="lone CR"),
        pytest.param("a\nb\r\nc\rd\n\r" * 60, [], "a\nb\nc\nd\n\n" * 60, id="mixed line ends"),
        pytest.param("a\nb\r\nc\rd\n\r" * 60, ["corpus.clean.newline=keep"], "a\nb\r\nc\rd\n\r" * 60, id="mixed, kept"),
        pytest.param(WORDS.encode("utf-16"), ["corpus.encoding=utf-16"], WORDS, id="UTF-16 with its mark"),
        pytest.param(WORDS.encode("utf-16-be"), ["corpus.encoding=utf-16-be"], WORDS, id="UTF-16 of a known order"),
        pytest.param(
            "e\u0301e\n" * 400, ["corpus.clean.unicode=nfc"], "\u00e9e\n" * 400, id="combining characters, NFC"
        ),
        pytest.param("e\u0301e\n" * 400, [], "e\u0301e\n" * 400, id="combining characters as they are"),
        pytest.param("\u0301\u0302" * 400, ["corpus.clean.unicode=nfc"], "\u0301\u0302" * 400, id="only accents"),
        pytest.param("\r\n" * 400, ["corpus.clean=none"], "\r\n" * 400, id="only line ends"),
        pytest.param("a\u200bb\u200d\u2060\ufeff" * 200, [], "a\u200bb\u200d\u2060\ufeff" * 200, id="zero width"),
        pytest.param("\u200b\u200d" * 400, [], "\u200b\u200d" * 400, id="only zero width"),
        pytest.param("\u202eשלום \u0645\u0631\n" * 100, [], "\u202eשלום \u0645\u0631\n" * 100, id="right to left"),
        pytest.param("\ue000\uf8ff\U0010fffd" * 300, [], "\ue000\uf8ff\U0010fffd" * 300, id="private use"),
        pytest.param("\x1b[31m\x07\x08\x7f\x85" * 200, [], "\x1b[31m\x07\x08\x7f\x85" * 200, id="control characters"),
        pytest.param("👩‍👩‍👧 \U0001f1f3\U0001f1f1" * 200, [], "👩‍👩‍👧 \U0001f1f3\U0001f1f1" * 200, id="emoji"),
        pytest.param(MANY_SYMBOLS, ["corpus.split=[71520, 50]"], MANY_SYMBOLS, id="more than 65,536 symbols"),
        pytest.param(
            "ab" * 5_000_000,
            ["corpus.split=[9999900, 100]"],
            "ab" * 5_000_000,
            id="one line of ten million",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "aB" * 5_000_000,
            ["corpus.split=[9999900, 100]", "corpus.clean.unicode=nfc", "corpus.clean.lowercase=true"],
            "ab" * 5_000_000,
            id="one line of ten million, cleaned",
            marks=pytest.mark.slow,
        ),
        pytest.param("ab" * 32 + "a", ["corpus.split=none"], "ab" * 32 + "a", id="one window exactly"),
    ],
)
def test_an_odd_text_trains_character_for_character(
    attempt: Attempt, tmp_path: Path, content: str | bytes, settings: list[str], text: str
) -> None:
    outcome = attempt(put(tmp_path / "odd.txt", content), *settings)
    assert (outcome.code, outcome.sentence) == (0, "")
    assert outcome.environment["corpus_chars"] == len(text)
    assert outcome.symbols == "".join(sorted(set(text)))


@pytest.mark.parametrize(
    ("content", "settings", "sentence"),
    [
        pytest.param("", [], "the corpus {file} is empty", id="empty"),
        pytest.param("a", [], ONE_SYMBOL, id="one character"),
        pytest.param("a" * 9999, [], ONE_SYMBOL, id="one symbol"),
        pytest.param("\n" * 9999, [], ONE_SYMBOL, id="newlines"),
        pytest.param(codecs.BOM_UTF8, [], "the corpus {file} is empty after cleaning", id="byte order mark only"),
        pytest.param(
            "1, 2, 3.\n" * 99, ["corpus.clean=letters"], "the corpus {file} is empty after cleaning", id="cleaned away"
        ),
        pytest.param(b"text\0" * 99, [], ZERO_BYTES, id="NUL"),
        pytest.param(bytes(9999), [], ZERO_BYTES, id="only NUL"),
        pytest.param(
            b"text\n\xff" * 99,
            [],
            "{file} is not utf-8: byte 0xff at offset 5, line 2; it is likely cp1252, which reads as",
            id="invalid UTF-8",
        ),
        pytest.param(
            b"abc\xed\xa0\x80" * 99, [], "{file} is not utf-8: byte 0xed at offset 3, line 1; ", id="surrogate in UTF-8"
        ),
        pytest.param(
            b"abc +2AA- \n" * 99,
            ["corpus.encoding=utf-7"],
            "the corpus {file} is not utf-7: it contains halves of surrogate pairs",
            id="surrogate in UTF-7",
        ),
        pytest.param(
            WORDS.encode("utf-16"),
            [],
            "{file} is not utf-8: byte 0xff at offset 0, line 1; it is likely utf-16, ",
            id="UTF-16 as UTF-8",
        ),
        pytest.param(
            WORDS.encode("utf-16-le"),
            [],
            ZERO_BYTES + "; it is likely utf-16-le, which reads as 「one two",
            id="UTF-16 without mark as UTF-8",
        ),
        pytest.param(
            WORDS.encode("utf-16-le"),
            ["corpus.encoding=utf-16"],
            "{file} is not utf-16: UTF-16 stream does not start with BOM",
            id="UTF-16 without mark",
        ),
        pytest.param(
            WORDS.encode("utf-16")[:-1],
            ["corpus.encoding=utf-16"],
            "{file} is not utf-16: byte 0x0a at offset 3,000, line 60",
            id="UTF-16 cut in half",
        ),
        pytest.param(
            "ab" * 32,
            ["corpus.split=none"],
            "the training split has 64 characters, and one window of batch_size 4 x seq_len 16 needs 65",
            id="one less than a window",
        ),
        pytest.param(
            "ab" * 99, ["corpus.clean.newline=crlf"], "corpus.clean.newline must be one of", id="a setting that is none"
        ),
    ],
)
def test_a_text_that_cannot_train_is_refused_in_one_sentence(
    attempt: Attempt, tmp_path: Path, content: str | bytes, settings: list[str], sentence: str
) -> None:
    file = put(tmp_path / "odd.txt", content)
    outcome = attempt(file, *settings)
    assert outcome.sentence.startswith(sentence.format(file=file))
    assert outcome.code == (2 if "must be" in sentence else 3)


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder with one of everything that a path can lead to."""
    root = tmp_path / "places"
    for name in ("full", "empty", "pipes", "dangling"):
        (root / name).mkdir(parents=True)
    put(root / "full" / "a.txt", WORDS)
    put(root / "full" / "locked.txt", WORDS).chmod(0)
    put(root / "locked.txt", WORDS).chmod(0)
    put(root / "line\nend.txt", WORDS)
    put(root / "-", WORDS)
    put(root / os.fsdecode(b"\xff.txt"), WORDS)
    (root / "bytes").mkdir()
    put(root / "bytes" / os.fsdecode(b"\xff.txt"), WORDS)
    os.mkfifo(root / "pipe")
    os.mkfifo(root / "pipes" / "pipe.txt")
    (root / "dangling.txt").symlink_to(root / "nowhere")
    (root / "loop.txt").symlink_to(root / "loop.txt")
    (root / "link.txt").symlink_to(root / "full" / "a.txt")
    with ExitStack() as sockets, pytest.MonkeyPatch.context() as patch:
        # The name of a socket may have 108 bytes: it is given from within the folder.
        patch.chdir(root)
        sockets.enter_context(socket.socket(socket.AF_UNIX)).bind("socket")
        yield root


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("empty", "the folder {} is empty: name a text file"),
        ("pipes", "the folder {} has no .txt, .md or .text files, it has 1 pipe: name the files themselves"),
        ("pipe", "{} is a pipe or a device: name a file, or - to read standard input"),
        ("socket", "{} is a pipe or a device: name a file, or - to read standard input"),
        ("/dev/null", "{} is a pipe or a device: name a file, or - to read standard input"),
        ("/dev/zero", "{} is a pipe or a device: name a file, or - to read standard input"),
        ("dangling.txt", "{} is a link that leads to no file; its target is {folder}/nowhere"),
        ("loop.txt", "{} is a link that leads to no file; its target is {folder}/loop.txt"),
        ("x" * 5000, "cannot read {}: file name too long"),
        ("x/" * 2500, "cannot read {}: file name too long"),
    ],
    ids=lambda value: value[:20],
)
def test_a_path_without_a_text_is_refused_in_one_sentence(
    attempt: Attempt, places: Path, place: str, sentence: str
) -> None:
    outcome = attempt(places / place)
    assert (outcome.code, outcome.sentence) == (
        3,
        sentence.format(printable(str(places / place), 1_000), folder=places),
    )


@pytest.mark.parametrize(
    ("place", "code", "reason"),
    [
        ("\udcff.txt", 2, " is not UTF-8 and cannot be written in a configuration; rename it"),
        ("bytes", 3, " is not UTF-8 and cannot be recorded: rename it"),
    ],
    ids=["given", "in a folder"],
)
def test_a_name_that_no_run_could_record_is_refused(
    attempt: Attempt, places: Path, place: str, code: int, reason: str
) -> None:
    outcome = attempt(places / place)
    assert outcome.code == code
    assert outcome.sentence.endswith("\\udcff.txt" + reason)


def test_a_name_of_two_lines_is_refused_in_one(attempt: Attempt, places: Path) -> None:
    outcome = attempt(places / "no\nfile.txt")
    assert (outcome.code, outcome.sentence[:20]) == (3, "there is no corpus f")
    assert "no\\nfile.txt" in outcome.sentence


@pytest.mark.parametrize("place", ["full", "line\nend.txt", "link.txt"])
def test_a_path_with_a_text_trains(attempt: Attempt, places: Path, place: str) -> None:
    if os.geteuid() != 0:
        (places / "full" / "locked.txt").chmod(0o400)
    outcome = attempt(places / place)
    assert outcome.environment["corpus_chars"] == len(WORDS) * (2 if place == "full" else 1)


@pytest.mark.parametrize("place", ["locked.txt", "full"])
def test_a_locked_file_is_refused_to_all_but_root(attempt: Attempt, places: Path, place: str) -> None:
    outcome = attempt(places / place)
    if os.geteuid() == 0:
        assert outcome.code == 0
    else:
        assert outcome.code == 3
        assert outcome.sentence.endswith("locked.txt: permission denied")


TEXT = WORDS * 20


def replace_text(file: Path) -> None:
    """Put another text of the same length in a file's place, under its old times."""
    times = file.stat()
    put(file.with_suffix(".new"), TEXT.replace("one", "QZX")).replace(file)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def append(content: str) -> Callable[[Path], None]:
    """Return what adds to a file's end."""

    def change(file: Path) -> None:
        with file.open("a", encoding="utf-8") as stream:
            stream.write(content)

    return change


def replace_by_folder(file: Path) -> None:
    """Put a folder in a file's place."""
    file.unlink()
    file.mkdir()


CHANGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda file: os.truncate(file, 700),
    "emptied": lambda file: os.truncate(file, 0),
    "grown": append("больше\n"),
    "grown by what it had": append(TEXT),
    "replaced": replace_text,
    "rewritten in place": lambda file: file.write_text(TEXT.upper(), encoding="utf-8"),
    "damaged": lambda file: file.write_bytes(b"\xff" * len(TEXT)),
    "filled with zeros": lambda file: file.write_bytes(bytes(len(TEXT))),
    "replaced by a folder": replace_by_folder,
    "removed": lambda file: file.unlink(),
}
# A corpus is opened to be hashed, to be counted and to be encoded; the number is that of the opening.
MOMENTS = [(1, "during"), (2, "before"), (2, "during"), (3, "before"), (3, "during")]
OPTIONS = ["corpus.clean.newline=keep", "vocabulary.min_count=2000", "corpus.max_chars=29000"]


WAYS = ("in memory", "cached")


@pytest.fixture(params=WAYS)
def small_blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read every corpus in small blocks, both ways."""
    monkeypatch.setattr(reading, "CHUNK_BYTES", 1024)
    monkeypatch.setattr(corpus_module, "CACHED_BYTES", 0 if request.param == "cached" else 1 << 20)


CASES = (*((change, OPTIONS[0]) for change in CHANGES), *(("replaced", option) for option in OPTIONS[1:]))


@pytest.mark.parametrize(
    ("change", "option", "opening", "moment", "small_blocks"),
    [
        pytest.param(*cell.values[0], *cell.values[1], cell.values[2], marks=cell.marks)
        for cell in by_pairs(CASES, tuple(MOMENTS), WAYS)
    ],
    indirect=["small_blocks"],
)
@pytest.mark.usefixtures("small_blocks")
def test_a_file_that_changes_while_it_is_read_never_trains_as_something_else(
    attempt: Attempt,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    option: str,
    opening: int,
    moment: str,
) -> None:
    file, openings, plain_blocks = put(tmp_path / "odd.txt", TEXT), 0, reading.blocks_of

    def changing_blocks(path: Path) -> Iterator[bytes]:
        nonlocal openings
        openings += 1
        due = {"before": 0, "during": 3}[moment] if openings == opening else None
        if due == 0:
            CHANGES[change](file)
        for number, block in enumerate(plain_blocks(path), 1):
            if number == due:
                CHANGES[change](file)
            yield block

    with monkeypatch.context() as patch:
        patch.setattr(reading, "blocks_of", changing_blocks)
        outcome = attempt(file, option)
    assert openings >= opening
    if outcome.code == 0:
        # A file that is replaced or removed lives on for who has it open.
        assert moment == "during"
        text = TEXT if outcome.environment["corpus_sha256"] == sha256(TEXT.encode()).hexdigest() else file.read_text()
        assert outcome.environment["corpus_sha256"] == sha256(text.encode()).hexdigest()
        assert outcome.environment["corpus_chars"] == (29_000 if "max_chars" in option else len(text))
        assert set(outcome.symbols) <= set(text)
        return
    assert outcome.code == 3
    changed = f"the corpus {file} changed while it was read: start again when nothing is writing to it"
    unreadable = (f"cannot read {file}: no such file or directory", f"cannot read {file}: is a directory")
    assert outcome.sentence == changed or "removed" in change or "folder" in change or opening == 1
    assert outcome.sentence == changed or outcome.sentence in unreadable or opening == 1
    # Nothing of the other text is kept: the one that was hashed trains as ever.
    if file.is_dir():
        file.rmdir()
    put(file, TEXT)
    assert attempt(file, option).environment["corpus_chars"] == (29_000 if "max_chars" in option else len(TEXT))


@pytest.mark.parametrize("opening", [2, 3])
@pytest.mark.usefixtures("small_blocks")
def test_a_file_that_grows_faster_than_it_is_read_is_given_up(
    attempt: Attempt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opening: int
) -> None:
    file, openings, plain_blocks = put(tmp_path / "odd.txt", TEXT), 0, reading.blocks_of

    def growing_blocks(path: Path) -> Iterator[bytes]:
        nonlocal openings
        openings += 1
        for number, block in enumerate(plain_blocks(path)):
            if openings == opening:
                assert number < 100, "the reading goes on and on"
                append(TEXT)(file)
            yield block

    monkeypatch.setattr(reading, "blocks_of", growing_blocks)
    outcome = attempt(file)
    assert outcome.sentence == f"the corpus {file} changed while it was read: start again when nothing is writing to it"


@pytest.mark.parametrize("change", one_in(3, CHANGES))
@pytest.mark.usefixtures("small_blocks")
def test_a_file_that_changes_under_a_run_changes_nothing_of_it(
    tmp_path: Path, tiny_settings: Callable[..., Settings], change: str
) -> None:
    final: list[list[Any]] = []
    for name in ("undisturbed", "disturbed"):
        file = put(tmp_path / "odd.txt", TEXT)
        settings = tiny_settings(f"corpus.path='{file}'", "train.max_steps=6", "train.eval_every=3")
        for report in train_reports(settings, name=name, runs_dir=tmp_path / "runs"):
            if isinstance(report, Step) and report.step == 2 and name == "disturbed":
                CHANGES[change](file)
            if isinstance(report, End):
                final.append([report.record[key] for key in ("steps", "train_bpc", "val_bpc", "test_bpc")])
    assert final[0] == final[1]
    assert final[0][0] == 6

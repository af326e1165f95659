"""Downloads and imports are tried with a local server that can misbehave in every way we know of."""

from __future__ import annotations

import fcntl
import io
import re
import resource
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random

import pytest

from charlm.errors import StorageError
from charlm.text import download
from charlm.text.download import fetch_corpus, import_corpus
from charlm.text.known import KNOWN_CORPORA, KnownCorpus, downloaded_file

TEXT = bytes(Random(0).choices(b"abcdefgh \n", k=700_000))  # This takes more than two reads.


@dataclass
class Behaviour:
    """How the server answers; a test can change it between two requests.

    Args:
        body: of the file.
        honours_range: answers a range with 206 or 416.
        states_length: sends Content-Length.
        dies_after: closes the connection after so many bytes of a body.
        status: answers every request with this error.
        shift: begins that many bytes after the position asked for.
    """

    body: bytes = TEXT
    honours_range: bool = True
    states_length: bool = True
    dies_after: int | None = None
    status: int | None = None
    shift: int = 0
    ranges: list[str | None] = field(default_factory=list)
    bytes_sent: int = 0


class Handler(BaseHTTPRequestHandler):
    """Serve the one file of a behaviour under every path."""

    behaviour: Behaviour

    def do_GET(self) -> None:
        behaviour = self.behaviour
        asked = self.headers.get("Range")
        behaviour.ranges.append(asked)
        if behaviour.status is not None:
            self.send_error(behaviour.status)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and behaviour.honours_range else 0
        if start >= len(behaviour.body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(behaviour.body)}")
            self.end_headers()
            return
        self._send_from(start + (behaviour.shift if start else 0), is_part=start > 0)

    def _send_from(self, start: int, *, is_part: bool) -> None:
        behaviour = self.behaviour
        body = behaviour.body[start:]
        self.send_response(206 if is_part else 200)
        if is_part:
            end, whole = len(behaviour.body) - 1, len(behaviour.body)
            self.send_header("Content-Range", f"bytes {start}-{end}/{whole}")
        if behaviour.states_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        sent = body[: behaviour.dies_after]
        behaviour.bytes_sent += len(sent)
        self.wfile.write(sent)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


class Progress:
    """Record what was reported."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int | None]] = []

    def __call__(self, done: int, total: int | None) -> None:
        self.calls.append((done, total))


@pytest.fixture(autouse=True)
def _own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARLM_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def behaviour() -> Behaviour:
    return Behaviour()


@pytest.fixture
def url(behaviour: Behaviour) -> Iterator[str]:
    handler = type("OwnHandler", (Handler,), {"behaviour": behaviour})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/input.txt"
        server.shutdown()
        thread.join()


@pytest.fixture
def progress() -> Progress:
    return Progress()


@pytest.fixture
def corpus(url: str) -> KnownCorpus:
    return replace(
        KNOWN_CORPORA["tinyshakespeare"],
        name="small",
        url=url,
        sha256=sha256(TEXT).hexdigest(),
        num_bytes=len(TEXT),
        aliases=("input.txt",),
    )


@pytest.fixture
def zipped(corpus: KnownCorpus, behaviour: Behaviour) -> KnownCorpus:
    """Return the corpus as a member of an archive, which the server then offers."""
    behaviour.body = archive_of(TEXT)
    url = corpus.url.replace("input.txt", "small.zip")
    return replace(corpus, url=url, member="small", aliases=("small", "small.zip"))


def archive_of(text: bytes, *, member: str = "small") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, text)
    return packed.getvalue()


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def part_of(corpus: KnownCorpus) -> Path:
    suffix = ".txt.part" if corpus.member is None else ".zip.part"
    return downloaded_file(corpus.name).with_suffix(suffix)


def assert_only_the_text_is_there(corpus: KnownCorpus) -> None:
    target = downloaded_file(corpus.name)
    assert target.read_bytes() == TEXT
    assert list(target.parent.iterdir()) == [target]


def test_a_download_is_complete_and_reported(corpus: KnownCorpus, progress: Progress) -> None:
    assert fetch_corpus(corpus, report=progress) == downloaded_file("small")
    assert_only_the_text_is_there(corpus)
    assert progress.calls[0] == (0, len(TEXT))
    assert progress.calls[-1] == (len(TEXT), len(TEXT))
    assert progress.calls == sorted(progress.calls)


def test_a_downloaded_corpus_needs_no_network(corpus: KnownCorpus, behaviour: Behaviour, progress: Progress) -> None:
    put(downloaded_file("small"), TEXT)
    assert fetch_corpus(corpus, report=progress) == downloaded_file("small")
    assert behaviour.ranges == progress.calls == []


def test_a_damaged_corpus_is_downloaded_again(corpus: KnownCorpus, progress: Progress) -> None:
    put(downloaded_file("small"), b"x" + TEXT[1:])
    fetch_corpus(corpus, report=progress)
    assert_only_the_text_is_there(corpus)


def test_another_url_is_used_instead(corpus: KnownCorpus, progress: Progress) -> None:
    elsewhere = replace(corpus, url="http://127.0.0.1:1/input.txt")
    fetch_corpus(elsewhere, report=progress, url=corpus.url)
    assert_only_the_text_is_there(corpus)


def test_a_download_continues_where_it_stopped(corpus: KnownCorpus, behaviour: Behaviour, progress: Progress) -> None:
    put(part_of(corpus), TEXT[:100_000])
    fetch_corpus(corpus, report=progress)
    assert behaviour.ranges == ["bytes=100000-"]
    assert behaviour.bytes_sent == len(TEXT) - 100_000
    assert progress.calls[0] == (100_000, len(TEXT))
    assert_only_the_text_is_there(corpus)


def test_a_server_that_ignores_the_range_starts_over(
    corpus: KnownCorpus, behaviour: Behaviour, progress: Progress
) -> None:
    behaviour.honours_range = False
    put(part_of(corpus), TEXT[:100_000])
    fetch_corpus(corpus, report=progress)
    assert behaviour.ranges == ["bytes=100000-"]
    assert progress.calls[0] == (0, len(TEXT))
    assert_only_the_text_is_there(corpus)


def test_a_refused_range_starts_over_once(corpus: KnownCorpus, behaviour: Behaviour, progress: Progress) -> None:
    put(part_of(corpus), TEXT + b"too much")
    fetch_corpus(corpus, report=progress)
    assert behaviour.ranges == [f"bytes={len(TEXT) + 8}-", None]
    assert_only_the_text_is_there(corpus)


def test_a_complete_unfinished_file_is_not_downloaded_again(
    corpus: KnownCorpus, behaviour: Behaviour, progress: Progress
) -> None:
    put(part_of(corpus), TEXT)
    fetch_corpus(corpus, report=progress)
    assert behaviour.ranges == [f"bytes={len(TEXT)}-"]
    assert behaviour.bytes_sent == 0
    assert_only_the_text_is_there(corpus)


def test_an_answer_with_a_wrong_range_starts_over(
    corpus: KnownCorpus, behaviour: Behaviour, progress: Progress
) -> None:
    behaviour.shift = 7
    put(part_of(corpus), TEXT[:100_000])
    fetch_corpus(corpus, report=progress)
    assert behaviour.ranges == ["bytes=100000-", None]
    assert_only_the_text_is_there(corpus)


def test_a_wrong_hash_names_both_and_leaves_nothing(
    corpus: KnownCorpus, behaviour: Behaviour, progress: Progress
) -> None:
    behaviour.body = b"<html>please log in</html>"
    with pytest.raises(StorageError) as caught:
        fetch_corpus(corpus, report=progress)
    assert sha256(behaviour.body).hexdigest() in str(caught.value)
    assert corpus.sha256 in str(caught.value)
    assert caught.value.exit_code == 6
    assert list(downloaded_file("small").parent.iterdir()) == []


@pytest.mark.parametrize("states_length", [True, False])
def test_a_download_broken_off_by_the_server_is_completed_by_the_next_try(
    corpus: KnownCorpus, behaviour: Behaviour, progress: Progress, states_length: bool
) -> None:
    behaviour.dies_after, behaviour.states_length = 300_000, states_length
    sentence = "stopped after 300,000 of 700,000 bytes .*they are kept.* continues .*charlm corpus get small$"
    with pytest.raises(StorageError, match=sentence):
        fetch_corpus(corpus, report=progress)
    assert part_of(corpus).read_bytes() == TEXT[:300_000]
    assert not downloaded_file("small").exists()

    behaviour.dies_after = None
    fetch_corpus(corpus, report=progress)
    assert behaviour.ranges == [None, "bytes=300000-"]
    assert behaviour.bytes_sent == len(TEXT)
    assert_only_the_text_is_there(corpus)


def test_a_silent_server_is_given_up_after_the_timeout(
    corpus: KnownCorpus, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def stall(handler: Handler, _start: int, *, is_part: bool) -> None:
        handler.send_response(206 if is_part else 200)
        handler.send_header("Content-Length", str(len(TEXT)))
        handler.end_headers()
        handler.wfile.write(TEXT[:10])
        release.wait(10)

    monkeypatch.setattr(Handler, "_send_from", stall)
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.2)
    try:
        with pytest.raises(StorageError, match=r"stopped after 10 of 700,000 bytes \(no answer for"):
            fetch_corpus(corpus, report=progress)
    finally:
        release.set()
    assert part_of(corpus).read_bytes() == TEXT[:10]


@pytest.mark.parametrize("status", [404, 500])
def test_a_refusal_says_what_to_do(corpus: KnownCorpus, behaviour: Behaviour, progress: Progress, status: int) -> None:
    behaviour.status = status
    with pytest.raises(StorageError, match=f"answers {status} .*run: charlm corpus get small --from FOLDER$"):
        fetch_corpus(corpus, report=progress)


def test_a_missing_server_says_what_to_do(corpus: KnownCorpus, progress: Progress) -> None:
    sentence = "connection refused; without a network, .*charlm corpus get small --from FOLDER$"
    with pytest.raises(StorageError, match=sentence):
        fetch_corpus(corpus, report=progress, url="http://127.0.0.1:1/input.txt")


def test_an_archive_is_unpacked_and_removed(zipped: KnownCorpus, progress: Progress) -> None:
    fetch_corpus(zipped, report=progress)
    assert_only_the_text_is_there(zipped)


def test_the_download_of_an_archive_continues_where_it_stopped(
    zipped: KnownCorpus, behaviour: Behaviour, progress: Progress
) -> None:
    behaviour.dies_after = 1_000
    with pytest.raises(StorageError, match="stopped after 1,000 of"):
        fetch_corpus(zipped, report=progress)
    behaviour.dies_after = None
    fetch_corpus(zipped, report=progress)
    assert behaviour.ranges == [None, "bytes=1000-"]
    assert_only_the_text_is_there(zipped)


def test_an_archive_of_unknown_length_is_complete_when_the_server_closes(
    zipped: KnownCorpus, behaviour: Behaviour, progress: Progress
) -> None:
    behaviour.states_length = False
    fetch_corpus(zipped, report=progress)
    assert {total for _, total in progress.calls} == {None}
    assert_only_the_text_is_there(zipped)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (archive_of(TEXT + b"!"), sha256(TEXT + b"!").hexdigest()),
        (archive_of(TEXT, member="other"), "not an archive that contains small"),
        (archive_of(TEXT)[:1000] + b"????" + archive_of(TEXT)[1004:], "is damaged"),
        (b"<html>please log in</html>", "not an archive"),
    ],
    ids=["wrong hash", "wrong member", "damaged", "no archive"],
)
def test_a_bad_archive_leaves_nothing(
    zipped: KnownCorpus, behaviour: Behaviour, progress: Progress, body: bytes, message: str
) -> None:
    behaviour.body = body
    with pytest.raises(StorageError, match=message):
        fetch_corpus(zipped, report=progress)
    assert list(downloaded_file("small").parent.iterdir()) == []


@pytest.mark.parametrize("name", ["small.txt", "input.txt"])
def test_an_import_finds_the_text_under_its_names(
    corpus: KnownCorpus, behaviour: Behaviour, progress: Progress, tmp_path: Path, name: str
) -> None:
    source = put(tmp_path / "copies" / name, TEXT)
    before = source.stat()
    assert import_corpus(corpus, source.parent, report=progress) == downloaded_file("small")
    assert_only_the_text_is_there(corpus)
    assert progress.calls[-1] == (len(TEXT), len(TEXT))
    assert behaviour.ranges == []
    assert (source.read_bytes(), source.stat().st_mtime_ns) == (TEXT, before.st_mtime_ns)


@pytest.mark.parametrize(("name", "content"), [("small", TEXT), ("small.zip", archive_of(TEXT))])
def test_an_import_takes_the_archive_or_its_member(
    zipped: KnownCorpus, progress: Progress, tmp_path: Path, name: str, content: bytes
) -> None:
    source = put(tmp_path / "copies" / name, content)
    import_corpus(zipped, source.parent, report=progress)
    assert_only_the_text_is_there(zipped)
    assert source.read_bytes() == content


def test_an_import_takes_a_file_under_any_name(corpus: KnownCorpus, progress: Progress, tmp_path: Path) -> None:
    import_corpus(corpus, put(tmp_path / "whatever", TEXT), report=progress)
    assert_only_the_text_is_there(corpus)


def test_an_import_removes_an_unfinished_download(corpus: KnownCorpus, progress: Progress, tmp_path: Path) -> None:
    put(part_of(corpus), TEXT[:100])
    import_corpus(corpus, put(tmp_path / "copies" / "small.txt", TEXT).parent, report=progress)
    assert_only_the_text_is_there(corpus)


def test_an_import_of_something_else_keeps_source_and_unfinished_download(
    corpus: KnownCorpus, progress: Progress, tmp_path: Path
) -> None:
    source = put(tmp_path / "copies" / "small.txt", b"something else")
    put(part_of(corpus), TEXT[:100])
    with pytest.raises(StorageError, match=f"small.txt is not the corpus small: .*{corpus.sha256}"):
        import_corpus(corpus, source.parent, report=progress)
    assert source.read_bytes() == b"something else"
    assert list(downloaded_file("small").parent.iterdir()) == [part_of(corpus)]


def test_an_import_of_a_damaged_archive_is_refused(zipped: KnownCorpus, progress: Progress, tmp_path: Path) -> None:
    source = put(tmp_path / "copies" / "small.zip", archive_of(TEXT)[:-100])
    with pytest.raises(StorageError, match=r"small\.zip is not an archive that contains small, or is damaged"):
        import_corpus(zipped, source.parent, report=progress)
    assert list(downloaded_file("small").parent.iterdir()) == []


def test_an_import_from_a_folder_without_a_copy_says_what_it_looked_for(
    corpus: KnownCorpus, progress: Progress, tmp_path: Path
) -> None:
    with pytest.raises(StorageError, match=r"no copy of small in .*; looked for small\.txt, input\.txt$"):
        import_corpus(corpus, tmp_path, report=progress)


def test_a_folder_that_cannot_be_written_says_what_to_do(
    corpus: KnownCorpus, progress: Progress, tmp_path: Path
) -> None:
    put(tmp_path / "data", b"a file where the folder should be")
    with pytest.raises(StorageError, match=r"cannot store .*not a directory; .*CHARLM_DATA_DIR$"):
        fetch_corpus(corpus, report=progress)


def test_a_write_that_fails_keeps_what_arrived(corpus: KnownCorpus, behaviour: Behaviour, progress: Progress) -> None:
    # A limit on the size of files fails the same write as a full disk would.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        with pytest.raises(StorageError, match=r"cannot store .*file too large; make room"):
            fetch_corpus(corpus, report=progress)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert part_of(corpus).read_bytes() == TEXT[:300_000]
    fetch_corpus(corpus, report=progress)
    assert behaviour.ranges == [None, "bytes=300000-"]
    assert_only_the_text_is_there(corpus)


def test_two_downloads_at_once_do_not_mix(corpus: KnownCorpus, progress: Progress) -> None:
    with put(part_of(corpus), TEXT[:10]).open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        sentence = f"another process is writing {re.escape(str(part_of(corpus)))}"
        with pytest.raises(StorageError, match=sentence):
            fetch_corpus(corpus, report=progress)
    fetch_corpus(corpus, report=progress)
    assert_only_the_text_is_there(corpus)

"""Bring a public corpus to this machine: download it, continuing an earlier attempt, or import a copy.

No file gets its final name before its SHA-256 is right.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from io import BufferedRandom
from pathlib import Path
from typing import IO, cast
from urllib.parse import urlsplit

from charlm.errors import StorageError
from charlm.text.files import hash_files
from charlm.text.known import KnownCorpus, downloaded_file

Report = Callable[[int, int | None], None]

CHUNK_BYTES = 1 << 18
TIMEOUT_SECONDS = 30.0
RANGE_GRANTED, RANGE_REFUSED = 206, 416
DAMAGED_ARCHIVE = (zipfile.BadZipFile, KeyError, EOFError, RuntimeError, zlib.error)


def fetch_corpus(corpus: KnownCorpus, *, report: Report, url: str | None = None) -> Path:
    """Download a corpus and return its text file; if it is here already, no network is needed.

    Args:
        corpus: the corpus.
        report: a function that is called with the bytes done and the total (None while it is unknown).
        url: another place to download it from.
    Raises:
        StorageError: if there is no network, the server refuses, the download breaks off (what arrived is kept), the
            hash is wrong, the disk is full or the folder is read-only.
    """
    target = downloaded_file(corpus.name)
    with _writing(target):
        if _is_genuine(target, corpus):
            return target
        part_path = _part_path(target, corpus)
        with _open_alone(part_path) as part:
            _download(part, corpus, url=url or corpus.url, report=report)
            _settle(part, part_path, target, corpus)
    return target


def import_corpus(corpus: KnownCorpus, folder: Path, *, report: Report) -> Path:
    """Copy a corpus from a folder on this machine and return its text file; the folder is only read.

    Args:
        corpus: the corpus.
        folder: a folder with NAME.txt, one of the aliases, or the archive; or one of these files itself.
        report: a function that is called with the bytes done and the total.
    Raises:
        StorageError: if none of these files exists, the first one found is not the corpus, the disk is full or the
            folder is read-only.
    """
    target = downloaded_file(corpus.name)
    with _writing(target):
        if _is_genuine(target, corpus):
            return target
        source = _find_copy(corpus, folder)
        with _open_source(source) as file, _open_text(file, corpus, source=source) as text:
            _copy_checked(text, target, corpus, source=str(source), report=report)
        _part_path(target, corpus).unlink(missing_ok=True)
    return target


def _is_genuine(path: Path, corpus: KnownCorpus) -> bool:
    return path.is_file() and hash_files([path]) == (corpus.sha256, corpus.num_bytes)


def _part_path(target: Path, corpus: KnownCorpus) -> Path:
    """Return the file that a download is written to: the text itself, or the archive that contains it."""
    return target.with_suffix(".txt.part" if corpus.member is None else ".zip.part")


@contextmanager
def _writing(target: Path) -> Generator[None]:
    """Make the target's folder, and turn failures of the local disk into a sentence."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise StorageError(
            f"cannot store {target}: {_reason(error)}; make room there, or name another folder in the "
            "environment variable CHARLM_DATA_DIR"
        ) from error


@contextmanager
def _open_alone(path: Path) -> Generator[BufferedRandom]:
    """Open a file for appending and reading, and make sure that no other process writes it at the same time."""
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(f"another process is writing {path}; wait until it is done") from error
        # Between opening and locking it, that process may have given the file its final name.
        if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            raise StorageError(f"another process has just moved {path}; run the same command again")
        yield file


def _download(part: BufferedRandom, corpus: KnownCorpus, *, url: str, report: Report) -> None:
    """Complete the file from its end if the server allows it, else from the beginning."""
    for start in (part.seek(0, os.SEEK_END), 0):
        with _ask(corpus, url, start=start) as response:
            if response.status == RANGE_REFUSED and _stated(r"bytes \*/(\d+)$", response) == start:
                return
            beginning = _beginning(response)
            if beginning in (0, start):
                part.truncate(beginning)
                _receive(part, response, corpus, report=report)
                return
    raise StorageError(
        f"cannot download {corpus.name}: {url} answers with a different range of the file than was asked for"
    )


def _ask(corpus: KnownCorpus, url: str, *, start: int) -> http.client.HTTPResponse:
    """Send the request; a refused range counts as an answer, any other failure raises an error."""
    headers = {"User-Agent": "charlm"} | ({"Range": f"bytes={start}-"} if start else {})
    offline = f"without a network, copy the file here and run: charlm corpus get {corpus.name} --from FOLDER"
    try:
        request = urllib.request.Request(url, headers=headers)
        return cast("http.client.HTTPResponse", urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS))
    except urllib.error.HTTPError as error:
        if start and error.code == RANGE_REFUSED:
            return cast("http.client.HTTPResponse", cast("object", error))
        error.close()
        raise StorageError(
            f"cannot download {corpus.name}: {url} answers {error.code} {error.reason}; {offline}"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise StorageError(f"cannot download {corpus.name}: {url}: {_reason(error)}; {offline}") from error


def _beginning(response: http.client.HTTPResponse) -> int | None:
    """Return the position of the first byte in an answer, or None if it has no bytes of the file."""
    if response.status == RANGE_GRANTED:
        return _stated(r"bytes (\d+)-", response)
    return None if response.status == RANGE_REFUSED else 0


def _stated(pattern: str, response: http.client.HTTPResponse) -> int | None:
    match = re.match(pattern, response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _receive(part: BufferedRandom, response: http.client.HTTPResponse, corpus: KnownCorpus, *, report: Report) -> None:
    """Append the body of an answer; all that arrives is kept."""
    done = part.seek(0, os.SEEK_END)
    total = _total_bytes(response, corpus, done)
    report(done, total)
    while done != total:
        wanted = CHUNK_BYTES if total is None else min(CHUNK_BYTES, total - done)
        try:
            chunk = response.read1(wanted)
        except (OSError, http.client.HTTPException) as error:
            raise _broken_off(corpus, done, total, _reason(error)) from error
        if not chunk:
            break
        part.write(chunk)
        done += len(chunk)
        report(done, total)
    if total is not None and done < total:
        raise _broken_off(corpus, done, total, "the server closed the connection")


def _total_bytes(response: http.client.HTTPResponse, corpus: KnownCorpus, done: int) -> int | None:
    """Return how long the file will be, or None for an archive whose server does not say."""
    if response.length is not None:
        return done + response.length
    return corpus.num_bytes if corpus.member is None else None


def _broken_off(corpus: KnownCorpus, done: int, total: int | None, reason: str) -> StorageError:
    goal = "" if total is None else f" of {total:,}"
    return StorageError(
        f"the download of {corpus.name} stopped after {done:,}{goal} bytes ({reason}); they are kept, "
        f"and the same command continues from there: charlm corpus get {corpus.name}"
    )


def _reason(error: Exception) -> str:
    """Say in a few words why the disk or the network failed."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer for {TIMEOUT_SECONDS:.0f} seconds"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return str(cause) or type(cause).__name__


def _settle(part: BufferedRandom, part_path: Path, target: Path, corpus: KnownCorpus) -> None:
    """Give a complete download its final name, or remove it if it is not the corpus."""
    part.seek(0)
    source = "the downloaded file"
    try:
        if corpus.member is None:
            _check_hash(hashlib.file_digest(part, "sha256").hexdigest(), corpus, source=source)
            _publish(part, part_path, target)
            return
        with _open_member(part, corpus.member, source=source) as text:
            _copy_checked(text, target, corpus, source=source, report=_report_nothing)
    except StorageError:
        part_path.unlink()
        raise
    part_path.unlink()


def _report_nothing(_done: int, _total: int | None) -> None:
    """Report nothing while unpacking, which takes a second."""


def _find_copy(corpus: KnownCorpus, folder: Path) -> Path:
    names = dict.fromkeys((f"{corpus.name}.txt", *corpus.aliases, Path(urlsplit(corpus.url).path).name))
    candidates = [folder] if folder.is_file() else [folder / name for name in names]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise StorageError(f"there is no copy of {corpus.name} in {folder}; looked for {', '.join(names)}")


def _open_source(source: Path) -> IO[bytes]:
    try:
        return source.open("rb")
    except OSError as error:
        raise StorageError(f"cannot read {source}: {_reason(error)}") from error


def _open_text(file: IO[bytes], corpus: KnownCorpus, *, source: Path) -> AbstractContextManager[IO[bytes]]:
    """Open the text of a local copy, which may be an archive."""
    if corpus.member is not None and source.suffix == ".zip":
        return _open_member(file, corpus.member, source=str(source))
    return nullcontext(file)


@contextmanager
def _open_member(file: IO[bytes], member: str, *, source: str) -> Generator[IO[bytes]]:
    """Read one member of an archive as a stream."""
    try:
        with zipfile.ZipFile(file) as archive, archive.open(member) as text:
            yield text
    except DAMAGED_ARCHIVE as error:
        raise StorageError(f"{source} is not an archive that contains {member}, or is damaged ({error})") from error


def _copy_checked(text: IO[bytes], target: Path, corpus: KnownCorpus, *, source: str, report: Report) -> None:
    """Copy a text to the target; nothing of it stays if it is not the corpus."""
    copy_path = target.with_suffix(".txt.new")
    digest, done = hashlib.sha256(), 0
    with _open_alone(copy_path) as copy:
        try:
            copy.truncate(0)
            while chunk := text.read(CHUNK_BYTES):
                copy.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                report(done, corpus.num_bytes)
            _check_hash(digest.hexdigest(), corpus, source=source)
            _publish(copy, copy_path, target)
        finally:
            copy_path.unlink(missing_ok=True)


def _check_hash(found: str, corpus: KnownCorpus, *, source: str) -> None:
    if found != corpus.sha256:
        raise StorageError(
            f"{source} is not the corpus {corpus.name}: its SHA-256 is {found}, expected {corpus.sha256}; "
            f"nothing of it was kept; get a good copy with: charlm corpus get {corpus.name}"
        )


def _publish(file: BufferedRandom, path: Path, target: Path) -> None:
    """Make a finished file durable and give it its final name in one step."""
    file.flush()
    os.fsync(file.fileno())
    path.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

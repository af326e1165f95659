"""A folder becomes a list of files: which are read, in which order, and what is said about the others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from charlm.errors import ConfigError, TextError
from charlm.settings.loading import load_settings
from charlm.text.files import locate_corpus
from charlm.text.folders import Found, search_folder
from charlm.text.globs import Globs

DEFAULT = ("*.txt", "*.md", "*.text")


def fill(folder: Path, *names: str, content: bytes = b"text\n") -> Path:
    """Write the same content into files, and make the folders above them."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def names(folder: Path, found: Found) -> list[str]:
    """Return the paths below the folder."""
    return [str(file.relative_to(folder)) for file in found.files]


def refusal(folder: Path, patterns: Sequence[str] | None = DEFAULT, *, is_corpus: bool = True) -> str:
    """Return the sentence about a folder with nothing to read."""
    with pytest.raises(TextError) as caught:
        search_folder(folder, patterns, is_corpus=is_corpus)
    return str(caught.value)


def test_a_folder_is_searched_below_and_sorted_by_path(tmp_path: Path) -> None:
    fill(
        tmp_path,
        "b.txt",
        "a10.txt",
        "a2.md",
        "a/z.text",
        "a/b/c.txt",
        "a-b.txt",
        "é.txt",
        "no.py",
        ".h.txt",
        ".g/x.txt",
    )
    fill(tmp_path, "b.txt.gz", "c.txt.xz", "a.TXT")
    found = search_folder(tmp_path, DEFAULT)
    # Path by path, so that what is in a folder stays together.
    assert names(tmp_path, found) == [
        *("a/b/c.txt", "a/z.text", "a-b.txt", "a10.txt", "a2.md", "b.txt", "c.txt.xz", "é.txt"),
    ]
    assert [(notice.sentence, notice.is_warning) for notice in found.notices] == [
        (
            f"read 8 files of {tmp_path}/ (5 .txt, 1 .md, 1 .text, 1 .txt.xz); left out: 1 .TXT, 1 .py, "
            "1 compressed copy, 1 hidden file, 1 hidden folder",
            False,
        )
    ]


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ("*.py", ["a.py", "src/a.py", "src/deep/a.py"]),
        ("**/*.py", ["a.py", "src/a.py", "src/deep/a.py"]),
        ("./*.py", ["a.py"]),
        ("src/*.py", ["src/a.py"]),
        ("src/**/*.py", ["src/a.py", "src/deep/a.py"]),
        ("*/*.py", ["src/a.py"]),
        ("deep/", []),
        ("src/", ["src/a.py", "src/deep/a.py", "src/b.txt.gz"]),
        ("src/**", ["src/a.py", "src/deep/a.py", "src/b.txt.gz"]),
        ("*.txt", ["src/b.txt.gz"]),
        ("*.gz", ["src/b.txt.gz"]),
        ("?.[p]y", ["a.py", "src/a.py", "src/deep/a.py"]),
        ("A.py", []),
    ],
)
def test_a_pattern_matches_below_or_begins_at_the_folder(pattern: str, matching: list[str], tmp_path: Path) -> None:
    paths = ["a.py", "src/a.py", "src/deep/a.py", "src/b.txt.gz"]
    assert [path for path in paths if Globs.of([pattern]).match(path)] == matching
    fill(tmp_path, *paths)
    if matching:
        assert names(tmp_path, search_folder(tmp_path, [pattern])) == sorted(matching, key=lambda path: path.split("/"))


def test_null_reads_a_folder_as_an_older_charlm_did(tmp_path: Path) -> None:
    fill(tmp_path, "b.txt", "a.txt", ".h.txt", ".txt", "a.txt.gz", "c.md", "sub/d.txt")
    assert names(tmp_path, search_folder(tmp_path, None)) == [".h.txt", "a.txt", "b.txt"]


@pytest.mark.parametrize(
    ("clean", "path", "glob"),
    [
        ("{newline: keep, unicode: none, lowercase: false, letters: false}", "texts", None),
        ("{newline: keep}", "texts", DEFAULT),
        ("{newline: keep, unicode: none, lowercase: false, letters: false}", None, DEFAULT),
    ],
)
def test_only_the_settings_of_an_older_run_have_no_glob(
    clean: str, path: str | None, glob: tuple[str, ...] | None, tmp_path: Path
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"corpus:\n  between_files: newline\n  path: {path or 'null'}\n  clean: {clean}\n")
    assert load_settings(file).corpus.glob == glob


@pytest.mark.parametrize("pattern", ["", "/", "/etc/*", "../*.txt", "a/../../b", "~/*.txt", "*.{py,js}"])
def test_a_pattern_that_cannot_match_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"corpus\.glob"):
        load_settings(overrides=["corpus.path=.", f"corpus.glob=['{pattern}']"])


def test_links_to_folders_are_counted_and_not_followed(tmp_path: Path) -> None:
    folder = fill(tmp_path / "folder", "a.txt")
    outside = fill(tmp_path / "outside", "b.txt")
    (folder / "circle").symlink_to(folder)
    (folder / "out").symlink_to(outside)
    (folder / "link.txt").symlink_to(outside / "b.txt")
    (folder / "loop.txt").symlink_to(folder / "loop.txt")
    os.mkfifo(folder / "pipe.txt")
    found = search_folder(folder, DEFAULT)
    assert names(folder, found) == ["a.txt", "link.txt"]
    assert found.notices[0].sentence.endswith("; left out: 2 links to folders, 1 broken link, 1 pipe")


def test_more_texts_left_out_than_read_are_a_warning_that_names_the_option(tmp_path: Path) -> None:
    fill(tmp_path, "LICENSE.txt", *(f"src/{number}.py" for number in range(3)))
    (notice,) = search_folder(tmp_path, DEFAULT).notices
    assert notice.is_warning
    assert notice.sentence == (
        f"read 1 .txt file of {tmp_path}/; left out: 3 .py; to read the .py files instead, add --glob '*.py'"
    )
    (evaluated,) = search_folder(tmp_path, DEFAULT, is_corpus=False).notices
    assert "--glob" not in evaluated.sentence


def test_pictures_beside_a_text_are_no_warning(tmp_path: Path) -> None:
    fill(tmp_path, "a.txt")
    fill(tmp_path, *(f"{number}.png" for number in range(3)), content=b"\x89PNG\r\n\x1a\n")
    (notice,) = search_folder(tmp_path, DEFAULT).notices
    assert (notice.is_warning, notice.sentence) == (False, f"read 1 .txt file of {tmp_path}/; left out: 3 .png")


def test_a_folder_with_nothing_to_read_is_refused_with_what_to_type(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"the folder {tmp_path} is empty: name a text file"
    has = f"the folder {tmp_path} has no .txt, .md or .text files, it has"
    fill(tmp_path, "a.bin", content=bytes(9))
    assert refusal(tmp_path) == f"{has} 1 .bin, and none of them is a text: {tmp_path}/a.bin is not a text"
    fill(tmp_path, "a.pdf", "b.pdf", content=b"%PDF-1.7")
    assert refusal(tmp_path).endswith(f"{tmp_path}/a.pdf is a PDF: convert it first, with pdftotext {tmp_path}/a.pdf")
    fill(tmp_path, "sub/a.rs")
    assert refusal(tmp_path) == f"{has} 2 .pdf, 1 .bin, 1 .rs: to read the .rs files, add --glob '*.rs'"
    assert refusal(tmp_path, is_corpus=False).endswith(f"name the files themselves, such as {tmp_path}/sub/a.rs")
    assert "has no files that match ./*.rs, it has 2 .pdf, 1 .bin, 1 folder" in refusal(tmp_path, ["./*.rs"])


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "a.txt", "sub/b.txt")
    scan = os.scandir

    def refuse(path: Path) -> object:
        if path == tmp_path / "sub":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert refusal(tmp_path) == f"cannot read {tmp_path}/sub: permission denied"


def test_a_folder_and_files_come_in_the_given_order(tmp_path: Path) -> None:
    folder, file = fill(tmp_path / "folder", "b.py", "a.py"), fill(tmp_path, "z.txt") / "z.txt"
    corpus = load_settings(overrides=[f"corpus.path=['{file}', '{folder}']", "corpus.glob='*.py'"]).corpus
    assert locate_corpus(corpus) == (file, folder / "a.py", folder / "b.py")

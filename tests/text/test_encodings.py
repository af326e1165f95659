"""A file that does not decode is explained: a likely encoding, another kind of file, or a damaged one."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from pathlib import Path

import pytest

from charlm.errors import TextError
from charlm.text.decoding import Decoding, read_files

CHINESE = "他说今天天气很好，我们一起去公园散步吧。\n孩子们在草地上玩耍，老人们坐在树下聊天。\n"
TAIWANESE = "他說今天天氣很好，我們一起去公園散步吧。\n孩子們在草地上玩耍，老人們坐在樹下聊天。\n"
JAPANESE = "今日はとても良い天気ですね。\n公園まで散歩に行きましょう。子供たちが遊んでいます。\n"
KOREAN = "오늘은 날씨가 아주 좋습니다.\n우리는 공원에 가서 산책을 했다.\n"
RUSSIAN = "Сегодня очень хорошая погода.\nМы пошли гулять в парк, где играли дети.\n"
FRENCH = "Le garçon était déjà là; elle a répondu “oui”.\nC’était l’été.\n"
POLISH = "Dziś jest bardzo ładna pogoda.\nPoszliśmy na spacer, gdzie bawiły się dzieci.\n"
ENGLISH = "The quick brown fox.\nIt was a fine day.\n"


def refusal(path: Path, content: bytes, encoding: str = "utf-8") -> str:
    """Return the sentence that refuses a file."""
    path.write_bytes(content)
    with pytest.raises(TextError) as caught:
        "".join(read_files([path], Decoding(encoding)))
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        *((CHINESE, name) for name in ("gb18030", "utf-16-le", "utf-16-be")),
        *((TAIWANESE, name) for name in ("big5", "utf-16", "utf-32-le")),
        *((JAPANESE, name) for name in ("shift_jis", "euc_jp", "utf-16-le")),
        (KOREAN, "euc_kr"),
        *((RUSSIAN, name) for name in ("cp1251", "koi8_r", "cp866", "utf-16-be")),
        *((FRENCH, name) for name in ("cp1252", "utf-32")),
        *((POLISH, name) for name in ("cp1250", "iso8859_2")),
        *((ENGLISH, name) for name in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")),
    ],
)
@pytest.mark.parametrize("copies", [1, 200])
def test_a_wrong_encoding_is_named_with_how_the_line_reads(
    text: str, encoding: str, copies: int, tmp_path: Path
) -> None:
    sentence = refusal(tmp_path / "a.txt", (text * copies).encode(encoding))
    line = text.split("\n")[0][:40].strip()
    assert f"; it is likely {encoding}, which reads as 「{line}」" in sentence
    assert sentence.endswith(f"(--set corpus.encoding={encoding})")


def test_the_line_that_does_not_decode_is_shown(tmp_path: Path) -> None:
    content = "plain lines\n" * 1000 + "The old café, where we met, is closed.\n" + "more lines\n" * 1000
    sentence = refusal(tmp_path / "a.txt", content.encode("cp1252"))
    assert "line 1,001; it is likely cp1252, which reads as 「The old café, where we met, is closed.」" in sentence


def test_a_long_line_is_shown_around_its_first_odd_byte(tmp_path: Path) -> None:
    sentence = refusal(tmp_path / "a.txt", ("x " * 90_000 + "un café noir" + " y" * 90_000).encode("cp1252"))
    assert "it is likely cp1252, which reads as 「x x x un café noir y y y y y y y y y y y」 (" in sentence


@pytest.mark.parametrize("content", [bytes(range(1, 256)), b"\x01\x02\x00\x90\x81" * 99])
def test_bytes_that_read_as_no_text_get_no_suggestion(content: bytes, tmp_path: Path) -> None:
    assert "likely" not in refusal(tmp_path / "a.txt", content)


def test_damaged_and_cut_files_are_recognised(tmp_path: Path) -> None:
    good = (FRENCH * 9).encode()
    assert "the rest is valid utf-8: the file is damaged" in refusal(tmp_path / "a.txt", good + b"\xff" + good)
    assert "it was cut off" in refusal(tmp_path / "a.txt", good + "字".encode()[:2])


def zipped(folder: Path, name: str) -> bytes:
    """Return a zip archive with a member of that name."""
    with zipfile.ZipFile(folder / "zip", "w") as archive:
        archive.writestr(name, ENGLISH)
    return (folder / "zip").read_bytes()


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "gb18030"])
def test_archives_and_documents_are_named_with_a_command_to_convert_them(encoding: str, tmp_path: Path) -> None:
    text, file = ENGLISH.encode(), tmp_path / "my file"
    for content, said in {
        gzip.compress(text): "is a gzip archive, and is read if its name ends in .gz: mv '{}' '{}'.gz",
        lzma.compress(text): "is an xz archive, and is read if its name ends in .xz: mv '{}' '{}'.xz",
        bz2.compress(text): "is a bzip2 archive, and is read if its name ends in .bz2: mv '{}' '{}'.bz2",
        b"\x28\xb5\x2f\xfd" + text: "is a zstd archive, and is read if its name ends in .zst: mv '{}' '{}'.zst",
        bytes(257) + b"ustar": "is a tar archive: unpack it first, with tar xf '{}', and name the folder that comes "
        "out of it",
        b"%PDF-1.7\n" + text: "is a PDF: convert it first, with pdftotext '{}'",
        b"{\\rtf1 a}": "is a document in RTF: convert it first, with soffice --convert-to txt '{}'",
        b"\x89PNG\r\n\x1a\n": "is a picture, not a text",
        zipped(tmp_path, "a.txt"): "is a zip archive: unpack it first, with unzip '{}'",
        zipped(
            tmp_path, "word/document.xml"
        ): "is a Word document: convert it first, with pandoc '{}' -t plain -o '{}'.txt",
    }.items():
        assert refusal(file, content, encoding) == f"{file} {said.replace('{}', str(file))}"

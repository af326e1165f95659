"""The picture of a terminal shows what a terminal would."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from record_terminal import COLUMNS, MARGIN, PICTURE, Line, Screen, svg

MAX_BYTES = 60_000
SVG = "{http://www.w3.org/2000/svg}"


def shown(*pieces: str, columns: int = 20) -> list[str]:
    screen = Screen(columns)
    for number, piece in enumerate(pieces):
        screen.feed(piece, float(number))
    return ["".join(character for character, _ in row.cells).rstrip() for row in screen.rows]


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        (("one\r\ntwo\r\n",), ["one", "two", ""]),
        (("\x1b[?25lbar 1\r\x1b[2K", "row\r\nbar 2\r\x1b[2K\x1b[1A\x1b[2Klast\r\n"), ["last", ""]),
        (("abc\rX",), ["Xbc"]),
        (("abcdef\r\x1b[K",), [""]),
        (("\x1b[", "1mbold\x1b", "[0m plain"), ["bold plain"]),
        (("x" * 25,), ["x" * 20, "x" * 5]),
    ],
)
def test_a_screen_obeys_what_charlm_writes(pieces, lines):
    assert shown(*pieces) == lines


def test_a_line_keeps_its_colours_and_the_time_of_its_last_change():
    screen = Screen(20)
    screen.feed("\x1b[32mgreen\x1b[0m ", 1.0)
    screen.feed("plain  ", 2.0)
    assert screen.rows[0].ansi == "\x1b[0m\x1b[32mgreen\x1b[0m plain"
    assert screen.rows[0].changed == 2.0


def test_the_picture_has_each_line_in_its_place_and_the_last_ones_in_sight():
    lines = [Line(f"line {number}    \x1b[1;32mx < y\x1b[0m", float(number)) for number in range(6)]
    picture = ET.fromstring(svg(lines, 40, 4, "a & b"))
    assert picture.findtext(f"{SVG}title") == "a & b"
    groups = [group for group in picture.iter(f"{SVG}g") if group.get("class") == "line"]
    assert [[text.text for text in group] for group in groups] == [[f"line {number}", "x < y"] for number in range(6)]
    tops = [float(group[0].get("y", "nan")) for group in groups]
    height = float((picture.get("viewBox") or "").split()[3])
    assert sum(MARGIN < top < height for top in tops) == 4
    assert tops[-1] < height
    assert "translateY(40px)" in (picture.findtext(f"{SVG}style") or "")


def test_the_recorded_picture_is_small_and_of_the_first_run():
    picture = ET.parse(PICTURE).getroot()
    texts = " ".join(text.text or "" for text in picture.iter(f"{SVG}text"))
    assert PICTURE.stat().st_size <= MAX_BYTES
    assert float(picture.get("width", "nan")) <= 920
    assert all(word in texts for word in ("charlm train", 'charlm generate "The "', "validation", "val ppl"))
    assert COLUMNS <= 100

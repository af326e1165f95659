"""The picture of a terminal shows what a terminal would."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from record_terminal import COLUMNS, PICTURE, Line, left_on_screen, svg
from rich.text import Text

MAX_BYTES = 60_000
SVG = "{http://www.w3.org/2000/svg}"


def words(picture: ET.Element) -> str:
    """Return the texts of a picture, whose blanks do not break."""
    return " ".join((text.text or "").replace("\xa0", " ") for text in picture.iter(f"{SVG}text"))


def test_what_is_left_on_the_screen_has_its_colours_and_the_time_of_its_last_change():
    pieces = ["\x1b[?25lbar 1\r\x1b[2K", "row\r\nbar 2\r\x1b[2K\x1b[1A\x1b[2K\x1b[32;1mlast\x1b[0m\r\n", "more\r\n"]
    lines = left_on_screen(((piece, float(number)) for number, piece in enumerate(pieces)), 20)
    assert [(line.text.plain, line.seconds) for line in lines] == [("last", 1.0), ("more", 2.0)]
    styles = {str(span.style) for span in lines[0].text.spans}
    assert styles == {"bold green"}


def test_each_line_of_the_picture_appears_in_its_turn():
    lines = [Line(Text(f"line {number} x < y"), float(number)) for number in range(4)]
    picture = ET.fromstring(svg(lines, 40, "a & b"))
    assert all(f"line {number} x < y" in words(picture) for number in range(4))
    style = picture.findtext(f"{SVG}style") or ""
    assert [f"line-{number})" in style for number in range(4)] == [False, True, True, True]
    assert 'line-3)"] { animation: hidden 3.00s }' in style


def test_the_recorded_picture_is_small_and_of_the_first_run():
    picture = ET.parse(PICTURE).getroot()
    assert PICTURE.stat().st_size <= MAX_BYTES
    assert all(word in words(picture) for word in ("training is done", 'charlm generate "The "', "val ppl", "5-gram"))
    # Nothing is loaded from elsewhere.
    assert PICTURE.read_text(encoding="utf-8").count("http") == 1
    assert COLUMNS <= 100

"""`charlm plot` on a terminal: what is in the picture at several sizes, with colours and without."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from rich.cells import cell_len

from charlm.console.canvas import Canvas
from charlm.console.plots import COLOURS, MARKS, picture_lines, show_picture
from charlm.console.scales import span_of
from charlm.reports.pictures import Bar, Dot, Key, Level, Line, Panel, Picture, Scale

X = Scale("epoch", "epoch", is_whole=True, starts_at_zero=True)
Y = Scale("perplexity", "perplexity")
SIZES = [(40, 10), (40, 24), (79, 24), (100, 50), (120, 24)]


def line(number: int, ys: Sequence[float], label: str = "", **options: Any) -> Line:
    """Return a line with a point for each epoch."""
    dots = tuple(Dot(epoch, y) for epoch, y in enumerate(ys, 1))
    return Line(label or f"run-{number}", number, dots, **options)


def drawn(picture: Picture, width: int = 79, height: int = 24) -> list[str]:
    """Return the lines of a picture without colours."""
    return [text.plain for text in picture_lines(picture, width, height)]


def three(**options: Any) -> Picture:
    """Return a picture of three runs, training and validation, with a level line."""
    cells = ("rnn", "gru", "lstm")
    lines = [line(number, (9 - number, 5, 4 - number / 2), cell) for number, cell in enumerate(cells)]
    lines += [line(number, (12, 6, 3), cell, is_training=True) for number, cell in enumerate(cells)]
    keys = [Key(cell, number) for number, cell in enumerate(cells)]
    keys += [Key("training (mean of each epoch)", None, True), Key("validation"), Key("5-gram", is_level=True)]
    return Picture((Panel(X, Y, tuple(lines), (Level("5-gram", 3.5),), **options),), tuple(keys))


def dotted(canvas: Canvas) -> set[tuple[int, int]]:
    """Return the dots of a canvas as column and row, from its upper left."""
    places = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)]
    rows = [row.plain for row in canvas.rows()]
    return {
        (2 * column + x, 4 * row + y)
        for row, text in enumerate(rows)
        for column, character in enumerate(text)
        if character != " "
        for bit, (x, y) in enumerate(places)
        if ord(character) - 0x2800 >> bit & 1
    }


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_picture_keeps_to_the_terminal_and_has_every_name(width: int, height: int) -> None:
    lines = drawn(three(), width, height)
    assert max(map(cell_len, lines)) <= width
    # Ten rows are too few for anybody: the picture then keeps to its smallest size. The last row is the prompt's.
    assert len(lines) < max(height, 17)
    text = "\n".join(lines)
    for word in ("perplexity", "epoch", "rnn", "gru", "lstm", "5-gram", "training (mean of each epoch)", "validation"):
        assert word in text
    assert all(each == each.rstrip() for each in lines)


def test_names_stand_at_the_ends_of_lines_in_the_order_of_their_values_and_never_on_each_other() -> None:
    lines = drawn(three())
    ends = [each.split()[-2:] for each in lines if each.endswith((" rnn", " gru", " lstm"))]
    assert ends == [["o", "rnn"], ["x", "gru"], ["+", "lstm"]]
    # Where all end at one place, they are below each other.
    same = Picture((Panel(X, Y, tuple(line(number, (2, 1), f"name-{number}") for number in range(9))),))
    named = [each.rsplit("name-")[1] for each in drawn(same) if "name-" in each]
    assert sorted(named) == [str(number) for number in range(9)]
    assert drawn(same)[-4].endswith(("name-8", "name-0"))


def test_long_names_leave_room_for_the_curves_and_are_in_the_legend() -> None:
    label = "hidden_size 128, learning_rate 0.004 (3 seeds, unfinished)"
    picture = Picture((Panel(X, Y, (line(0, (3, 2), label),)),), (Key(label, 0),))
    for width in (40, 79):
        lines = drawn(picture, width)
        assert max(map(cell_len, lines)) <= width
        assert lines[-1].startswith("o hidden_size 128, learning_rate 0.00")
        assert not any("hidden_size" in each for each in lines[:-2])
    assert label in lines[-1]


def test_curves_are_told_apart_without_colours() -> None:
    picture = Picture((Panel(X, Y, tuple(line(number, range(20 - number, 0, -1)) for number in range(8))),))
    text = "\n".join(drawn(picture, 100, 40))
    assert all(mark in text for mark in MARKS)
    looks = {(MARKS[number % len(MARKS)], COLOURS[number % len(COLOURS)]) for number in range(28)}
    assert len(looks) == 28


def test_a_training_line_is_dashed_and_a_validation_line_is_whole() -> None:
    for dash, gap, most in ((3, 0, 1.0), (3, 3, 0.55)):
        canvas = Canvas(40, 4)
        canvas.draw([(0, 0.5), (1, 0.5)], "", dash=dash, gap=gap)
        dots = dotted(canvas)
        assert len(dots) == pytest.approx(80 * most, abs=4)
        assert {row for _, row in dots} == {7}


def test_a_line_runs_through_its_points() -> None:
    canvas = Canvas(10, 5)
    canvas.draw([(0, 0), (0.5, 1), (1, 0)], "")
    dots = dotted(canvas)
    assert {(0, 19), (10, 0), (19, 19)} <= dots
    assert {column for column, _ in dots} == set(range(20))


def test_a_point_beyond_the_edge_is_drawn_at_it_and_one_that_is_no_number_harms_nothing() -> None:
    canvas = Canvas(4, 2)
    canvas.draw([(-3, 9), (float("nan"), 0.5), (float("inf"), 0.5)], "")
    assert (0, 0) in dotted(canvas)


@pytest.mark.parametrize(
    "ys", [(3.0,), (3.0, 3.0), (0.0, 0.0), (1e-9, 2e-9), (1e200, 1e3), (2.0, 1e6)], ids=lambda value: str(value)
)
@pytest.mark.parametrize("is_log", [False, True])
def test_values_of_any_size_have_a_scale_with_numbers(ys: tuple[float, ...], is_log: bool) -> None:
    scale = Scale("y", "y", is_log=is_log and min(ys) > 0)
    span = span_of(ys, scale, has_room=True)
    assert all(0 <= span.share(y) <= 1 for y in ys)
    for most in (2, 5, 10):
        ticks = span.ticks(most)
        assert 1 <= len(ticks) <= 2 * most + 1
        assert all(-1e-9 <= span.share(value) <= 1 + 1e-9 for value, _ in ticks)
    assert drawn(Picture((Panel(X, scale, (line(0, ys),)),)))


def test_numbers_on_a_scale_are_round_and_differ() -> None:
    for values, texts in (
        ((3.2, 12.1), ["4", "6", "8", "10", "12"]),
        ((1.801, 1.95), ["1.85", "1.90", "1.95"]),
        ((0.0, 8.0), ["0", "2", "4", "6", "8"]),
    ):
        assert [text for _, text in span_of(values, Y, has_room=False).ticks(5)] == texts
    short = Scale("step", "step", is_whole=True, is_short=True, starts_at_zero=True)
    assert [text for _, text in span_of((94, 1128), short, has_room=False).ticks(4)] == ["0", "0.5k", "1k"]
    assert [text for _, text in span_of((1,), X, has_room=False).ticks(6)] == ["0", "1"]


def test_bars_are_as_long_as_their_values() -> None:
    bars = (Bar("hidden_size", 0.75), Bar("学习率", 0.25), Bar("[b]dropout[/b]", 0.0))
    share = Scale("share", "importance")
    lines = drawn(Picture((Panel(share, Y, bars=bars, title="importance of settings"),)), 60)
    assert lines[0] == "importance of settings"
    assert [each.split()[-1] for each in lines[1:]] == ["75%", "25%", "0%"]
    assert lines[1].count("█") == pytest.approx(3 * lines[2].count("█"), abs=2)
    assert max(map(cell_len, lines)) <= 60
    assert lines[2].startswith("学习率")


class Terminal(io.StringIO):
    """A terminal in this process."""

    def isatty(self) -> bool:
        """Say that it is one."""
        return True


@pytest.mark.parametrize(
    ("stream", "no_color", "has_colours"), [(Terminal, "", True), (Terminal, "1", False), (io.StringIO, "", False)]
)
def test_there_are_colours_on_a_terminal_unless_they_are_not_wanted_and_plain_text_in_a_pipe(
    stream: type[io.StringIO], no_color: str, has_colours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("TERM", "xterm-256color"), ("COLUMNS", "80"), ("LINES", "24"), ("NO_COLOR", no_color)):
        monkeypatch.setenv(name, value)
    output = stream()
    monkeypatch.setattr(sys, "stdout", output)
    show_picture(three())
    text = output.getvalue()
    assert ("\x1b[36m" in text) is has_colours
    assert ("\x1b" in text) is (stream is Terminal)
    assert "gru" in text
    assert len(text.splitlines()) < 24


def test_a_name_full_of_markup_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "[red]:smile:[/]\x1b[2J"
    monkeypatch.setenv("COLUMNS", "100")
    output = Terminal()
    monkeypatch.setattr(sys, "stdout", output)
    show_picture(Picture((Panel(X, Y, (line(0, (2, 1), name),)),), (Key(name, 0),)))
    assert r"[red]:smile:[/]\x1b[2J" in output.getvalue()
    assert "\x1b[2J" not in output.getvalue()

"""Use Matplotlib quietly, in our own style, and find fonts for the scripts that its own font lacks."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from matplotlib.font_manager import FontEntry

FONT = "DejaVu Sans"
STYLE: dict[str, Any] = {
    "axes.grid": True,
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.alpha": 0.3,
    # This makes the same runs give the same bytes; by default, Matplotlib names the elements of an SVG at random.
    "svg.fonttype": "none",
    "svg.hashsalt": "charlm",
}
# Matplotlib's font of boxes, which claims to have every character.
LAST_RESORT = "Last Resort"
# Of several fonts that have a character, Matplotlib's own and those that are easy to read come first.
PREFERRED = (
    FONT,
    "Noto Sans",
    "Source Han Sans",
    "WenQuanYi",
    "PingFang",
    "Hiragino",
    "Arial Unicode",
    "Droid Sans Fallback",
)


@contextmanager
def quiet_matplotlib(families: Sequence[str] = (FONT,)) -> Generator[None]:
    """Import Matplotlib with its default style, whatever a user's matplotlibrc says, and silence its messages.

    Args:
        families: fonts; a character that the first one lacks is drawn with the next.
    """
    logger = logging.getLogger("matplotlib")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            # These are about characters that no font has, and about the font cache that it builds on first use.
            warnings.simplefilter("ignore")
            import matplotlib.style

            with matplotlib.style.context(["default", STYLE, {"font.family": list(families)}]):
                yield
    finally:
        logger.setLevel(before)


def fonts_for(text: str) -> tuple[str, ...]:
    """Return the fonts that a text needs: Matplotlib's own, then as few as possible that have what it lacks."""
    with quiet_matplotlib():
        families = [FONT]
        missing = {each for each in map(ord, text) if each > 0x7F}
        for family, path in _system_fonts() if missing else ():
            found = missing & _characters(path)
            if found and family != FONT:
                families.append(family)
            missing -= found
            if not missing:
                break
    return tuple(families)


def _system_fonts() -> Iterator[tuple[str, str]]:
    """Yield the name and the file of each upright font of normal weight, the most legible families first.

    Matplotlib remembers the fonts that it found when it was first used; those that came later are last.
    """
    from matplotlib import font_manager

    manager, find_fonts = font_manager.fontManager, cast("Callable[[], list[str]]", font_manager.findSystemFonts)
    known = list(manager.ttflist)
    yield from _upright(known)
    for path in sorted({*find_fonts()} - {font.fname for font in known}):
        # A font that cannot be read has nothing to offer.
        with suppress(OSError, RuntimeError, UnicodeError):
            manager.addfont(path)
    yield from _upright(manager.ttflist[len(known) :])


def _upright(fonts: Iterable[FontEntry]) -> list[tuple[str, str]]:
    """Return the names and files of upright fonts of normal weight, the most legible first."""

    def order(name: str) -> tuple[int, bool, str]:
        place = next((number for number, family in enumerate(PREFERRED) if name.startswith(family)), len(PREFERRED))
        return place, "Mono" in name or "Serif" in name, name

    upright = {font.name: font.fname for font in fonts if font.style == "normal" and font.weight in (400, "normal")}
    return [(name, upright[name]) for name in sorted(upright, key=order) if not name.startswith(LAST_RESORT)]


def _characters(path: str) -> set[int]:
    """Return the characters that a font has; none if it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        return set(FT2Font(path).get_charmap())
    except (OSError, RuntimeError, UnicodeError):
        return set()

"""Find the bundled corpora and configurations."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path


def shipped_folder(name: str) -> Traversable:
    """Return the folder `data` or `configs`.

    An installed package contains them. A Python started in a checkout imports the folder `charlm` there instead, and
    finds them next to it.
    """
    inside = resources.files("charlm") / name
    return inside if inside.is_dir() else Path(__file__).parents[2] / name

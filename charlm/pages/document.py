"""The page itself: one HTML document that makes no requests, and in which only its own script runs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources.abc import Traversable

from charlm import __version__
from charlm.pages.bundling import bundle
from charlm.pages.models import PageModel
from charlm.runs.json_records import Json
from charlm.settings.shipped import shipped_folder

_PLACE = re.compile(r"\{\{(\w+)\}\}")
# What would end a script, or begin what the parser reads differently within one.
_BREAKING = re.compile(r"</script|<!--|</style", re.IGNORECASE)
# A later one wins.
STYLES = ("frame", "texts", "results")
# Nothing may be loaded but the one script, the one style, and the worker that the script makes of itself.
POLICY = (
    "default-src 'none'; script-src {script}; style-src {style}; worker-src blob:; base-uri 'none'; form-action 'none'"
)


def page_document(models: Sequence[PageModel], *, learn: Json | None = None) -> bytes:
    """Return a page with networks.

    Args:
        models: the networks, of which the first is shown first.
        learn: the data of the tab Learn; None hides the tab.
    """
    folder = shipped_folder("pages")
    style = "\n".join(_read(folder / "style" / f"{name}.css") for name in STYLES)
    script = bundle(page_modules())
    assert not _BREAKING.search(style + script)
    data = {"version": __version__, "models": [model.as_json() for model in models], "learn": learn}
    blocks = [_block("data", "application/json", _json(data))]
    blocks += [_block(f"weights-{at}", "text/plain", model.weights.base64) for at, model in enumerate(models)]
    parts = {
        "policy": POLICY.format(script=_hash(script), style=_hash(style)),
        "style": style,
        "blocks": "\n".join(blocks),
        "script": script,
    }
    return _filled(_read(folder / "page.html"), parts).encode("utf-8")


def page_modules() -> dict[str, str]:
    """Return the source of each module of the page's script, by its name without the ending."""
    files = (shipped_folder("pages") / "script").iterdir()
    return {file.name.removesuffix(".js"): _read(file) for file in files if file.name.endswith(".js")}


def _read(file: Traversable) -> str:
    return file.read_text(encoding="utf-8")


def _filled(page: str, parts: Mapping[str, str]) -> str:
    """Put each part into its place; what is put in is not searched for places again."""
    return _PLACE.sub(lambda place: parts[place[1]], page)


def _block(name: str, kind: str, text: str) -> str:
    return f'<script type="{kind}" id="{name}">{text}</script>'


def _json(value: Mapping[str, object]) -> str:
    """Return ASCII JSON in which no tag can begin, whatever text it holds."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _hash(text: str) -> str:
    """Return the source expression of the one script or style that a page may use."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"

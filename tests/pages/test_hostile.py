"""A page is data and one script: nothing that a text or a name holds becomes markup, and nothing is asked for."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import charlm
from charlm.insight.neurons import Neuron
from charlm.library.models import open_run
from charlm.library.paging import page_model
from charlm.library.training import train
from charlm.pages.document import page_document
from charlm.pages.models import PageModel
from charlm.runs.run import Run
from charlm.settings.schema import Settings
from charlm.text.vocabulary import Vocabulary

BREAKING = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>--></style>\"'&amp;{{script}}\\u003c"
HOSTILE = BREAKING + "\u202eabc\u202c שלום عربي 😀👩\u200d💻 e\u0301\t\x07\x1b[31m\u2028\x85\uffff\n"
Write = Callable[[Any, str], str]


def written(page: Any, prefix: str) -> str:
    """Write a text, and return what is shown of it."""
    page.fill("#write-prefix", prefix)
    page.select_option("#write-pace", "full")
    page.fill("#write-length", "300")
    page.click("#write-start")
    page.locator("#write-stop:disabled").wait_for()
    return page.evaluate("""Array.from(document.querySelectorAll("#write-text span"),
        (span) => span.textContent || `<${span.dataset.sign}>`)""")


@pytest.fixture(scope="module")
def hostile(tiny_settings: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run that has learned a text which tries to break out."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "corpus.txt").write_text(HOSTILE * 60, encoding="utf-8")
    settings = tiny_settings(f"corpus.path='{folder / 'corpus.txt'}'", "sample.prefixes=['alert']")
    return train(settings, name="hostile", runs_dir=folder)


def test_a_hostile_text_is_only_a_text(hostile: Run, tmp_path: Path, open_page: Callable[..., Any]) -> None:
    path = tmp_path / "page.html"
    charlm.page(hostile, file=path, inspected=False)
    page = open_page(path)
    elements = page.evaluate("document.querySelectorAll('script, img, style').length")
    expected = charlm.generate(hostile, "</script>", length=300)[0]
    shown = written(page, "</script>")
    signs = {"\x07", "\x1b", "\u2028", "\x85", "\u202e", "\u202c"}
    assert shown == [f"<U+{ord(each):04X}>" if each in signs else each for each in expected]
    assert page.evaluate("document.querySelectorAll('script, img, style').length") == elements
    page.click("#tab-read")
    page.fill("#read-input", HOSTILE)
    page.click("#read-form button")
    page.locator("#read-totals dd").first.wait_for()
    assert page.locator("#read-unknown").is_hidden()
    # Emoji are one character each; the marks of direction are signs, so that they cannot turn the text round.
    assert page.locator("#read-text span").filter(has_text="😀").count() == 1
    assert page.locator("#read-text [data-sign='U+202E']").text_content() == ""


def hostile_model(trained: Run) -> PageModel:
    """Return a model with hostile names and symbols, as a damaged or forged file may have them."""
    model = page_model(open_run(trained))
    characters = model.checkpoint.vocabulary.characters
    forged = Vocabulary(f"{characters[:-3]}\ud800\udc00\uffff")
    checkpoint = replace(model.checkpoint, vocabulary=forged)
    neuron = Neuron(layer=1, unit=1, state="h", feature=BREAKING, correlation=0.5, kept=0.5, accuracy=None, chance=0.5)
    return replace(model, name=BREAKING + "\u202e\ud800", checkpoint=checkpoint, license=BREAKING, neurons=[neuron])


@pytest.mark.slow
def test_hostile_names_are_only_names(trained: Run, tmp_path: Path, open_page: Callable[..., Any]) -> None:
    path = tmp_path / "</script><b>&.html"
    path = tmp_path / path.name.replace("/", "")
    path.write_bytes(page_document([hostile_model(trained), hostile_model(trained)], learn={"title": BREAKING}))
    page = open_page(path)
    # Half of a surrogate pair is not a character: the browser shows its sign for that.
    assert page.locator("#name").text_content() in (f"{BREAKING}\u202e\ud800", f"{BREAKING}\u202e\ufffd")
    assert BREAKING in page.locator("#facts").text_content()
    assert page.locator("#model option").count() == 2
    shown = written(page, "a")
    assert {"<U+D800>", "<U+DC00>"} & set(shown)
    page.click("#tab-look")
    assert BREAKING in page.locator("#look-neurons button").text_content()
    assert page.evaluate("document.querySelectorAll('img, b, style + style').length") == 0


def test_the_policy_allows_one_script_and_one_style(trained: Run) -> None:
    document = page_document([hostile_model(trained)], learn={"title": BREAKING}).decode("utf-8")
    scripts = re.findall(r"<script>(.*?)</script>", document, re.DOTALL)
    styles = re.findall(r"<style>(.*?)</style>", document, re.DOTALL)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', document)
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (*scripts, *styles)]
    assert (len(scripts), len(styles)) == (1, 1)
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; worker-src blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', document, re.DOTALL)
    assert "<" not in data
    assert data.isascii()
    assert not re.search(r"https?://|src=|href=|@import|url\(", document.replace(data, ""))


def test_a_page_is_the_same_every_time(trained: Run) -> None:
    models = [page_model(open_run(trained)) for _ in range(2)]
    assert page_document(models[:1]) == page_document(models[1:])

"""What a person does with a page: writing, going on from a character, reading, looking; by mouse and by keyboard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsers import write, written

import charlm
from charlm.errors import UnknownCharactersWarning
from charlm.generation.filters import Filters
from charlm.generation.session import Session
from charlm.library.models import open_run
from charlm.library.training import train
from charlm.runs.run import Run
from charlm.settings.schema import Settings

OpenPage = Callable[..., Any]
SEEDS = (0, 7, 2**63 - 1)


def test_the_page_writes_what_the_command_writes(pages: Path, trained: Run, open_page: OpenPage) -> None:
    page = open_page(pages)
    assert page.title() == "trained – charlm"
    assert "LSTM, 1 layer of 8" in page.locator("#facts").text_content()
    for seed in SEEDS:
        found = write(page, "the ", seed=seed, temperature=0.8, length=1000)
        assert found == charlm.generate(trained, "the ", seed=seed, length=1000)[0]
    assert (
        write(page, "a c", temperature=1.5, top_k=4)
        == charlm.generate(trained, "a c", seed=SEEDS[-1], length=1000, temperature=1.5, top_k=4)[0]
    )
    assert write(page, temperature=0, length=50, top_k="") == charlm.generate(trained, temperature=0, length=50)[0]
    page.click("#write-another")
    assert page.input_value("#write-seed") == str(2**63)


@pytest.mark.slow
def test_items_are_written_to_their_end(pages: Path, listed: Run, open_page: OpenPage) -> None:
    page = open_page(pages)
    page.select_option("#model", "1")
    assert page.title() == "list – charlm"
    for seed in SEEDS:
        # The end is a sign on its own line, behind which nothing comes.
        assert write(page, seed=seed) == charlm.generate(listed, seed=seed)[0] + "\n"
        assert page.locator("#write-text span").last.get_attribute("data-sign") == "∎"
    assert write(page, "ba") == charlm.generate(listed, "ba", seed=SEEDS[-1])[0] + "\n"


def test_another_character_is_gone_on_from(pages: Path, trained: Run, open_page: OpenPage) -> None:
    page = open_page(pages)
    before = write(page, "the ", length=60)
    page.locator("#write-text span").nth(20).click()
    choices = page.locator("#write-expected button")
    assert choices.count() in (4, 5)
    choices.first.click()
    after = written(page)
    assert (after[:20], len(after)) == (before[:20], 64)
    assert after[20] != before[20]
    assert page.locator("#write-text .chosen").text_content() == after[20]
    # The rest is drawn with the numbers that come next in the sequence of the text.
    model = open_run(trained)
    session = Session(model.writer(), model.checkpoint.vocabulary)
    progress = replace(session.begin(model.encode(after[:21], "prefix")[1]), num_drawn=17)
    pieces = [ids for ids, _ in session.write(progress, length=43, filters=Filters(temperature=0.8))]
    assert after[21:] == model.checkpoint.vocabulary.decode(np.concatenate(pieces)[:, 0])


@pytest.mark.slow
def test_the_expected_characters_are_those_of_score(pages: Path, trained: Run, open_page: OpenPage) -> None:
    page = open_page(pages)
    text = write(page, "the ", length=30)
    page.locator("#write-text span").nth(9).hover()
    expected = charlm.next_characters(trained, text[:9], top=5)
    shown = page.locator("#write-expected .choice")
    assert shown.locator(".symbol").all_text_contents() == [
        {" ": "space", "\n": "line end"}.get(each.character, each.character) for each in expected
    ]
    shares = [float(share.split()[0]) for share in shown.locator(".share").all_text_contents()]
    assert shares == pytest.approx([100 * each.probability for each in expected], abs=0.06)


@pytest.mark.slow
def test_a_text_is_read_as_score_reads_it(pages: Path, trained: Run, open_page: OpenPage) -> None:
    page = open_page(pages)
    page.click("#tab-read")
    page.fill("#read-input", "the dog ran Ω.\nthe mat🙂.")
    page.click("#read-form button")
    page.locator("#read-totals dd").first.wait_for()
    # What is not known is left out.
    scored = [each for each in charlm.score(trained, "the dog ran .\nthe mat.") if each.bits is not None]
    bits = sum(each.bits or 0 for each in scored)
    assert page.locator("#read-totals dd").all_text_contents() == [
        str(len(scored)),
        f"{bits:,.1f}",
        f"{bits / len(scored):.3f}",
        f"{2 ** (bits / len(scored)):.2f}",
    ]
    assert page.locator("#read-unknown").text_content() == (
        "2 characters are not known to the network and left out: Ω (U+03A9, 1 ×), 🙂 (U+1F642, 1 ×)"
    )
    assert page.locator("#read-text .left-out").all_text_contents() == ["Ω", "🙂"]


@pytest.mark.slow
def test_only_several_networks_are_offered_for_choice(
    pages: Path, trained: Run, tmp_path: Path, open_page: OpenPage
) -> None:
    assert open_page(pages).locator("#model").is_visible()
    charlm.page(trained, file=tmp_path / "one.html")
    assert not open_page(tmp_path / "one.html").locator("#model").is_visible()


@pytest.mark.slow
def test_items_are_read_one_by_one(pages: Path, listed: Run, open_page: OpenPage) -> None:
    page = open_page(pages)
    page.select_option("#model", "1")
    page.click("#tab-read")
    page.fill("#read-input", "bako\nlimu\n")
    page.click("#read-form button")
    page.locator("#read-totals dd").first.wait_for()
    bits = [each.bits for each in charlm.score(listed, "bako\nlimu\n")]
    assert page.locator("#read-totals dd").all_text_contents()[:2] == ["10", f"{sum(filter(None, bits)):,.1f}"]


@pytest.mark.slow
def test_the_unknown_symbol_is_read_and_never_written(
    tiny_settings: Callable[..., Settings], tmp_path: Path, open_page: OpenPage
) -> None:
    settings = tiny_settings("vocabulary.max_size=9", "train.max_steps=9", "sample.prefixes=null")
    run = train(settings, name="few", runs_dir=tmp_path)
    charlm.page(run, file=tmp_path / "page.html", inspected=False)
    page = open_page(tmp_path / "page.html")
    prefix = charlm.open_run(run).checkpoint.vocabulary.characters[-3:]
    assert write(page, prefix, length=300) == charlm.generate(run, prefix, length=300)[0]
    page.click("#tab-read")
    page.fill("#read-input", f"{prefix}QQZ{prefix}")
    page.click("#read-form button")
    page.locator("#read-totals dd").first.wait_for()
    assert page.locator("#read-unknown").text_content() == (
        "3 characters are not known to the network and read as its unknown symbol: Q (U+0051, 2 ×), Z (U+005A, 1 ×)"
    )
    with pytest.warns(UnknownCharactersWarning):
        bits = sum(each.bits or 0 for each in charlm.score(run, f"{prefix}QQZ{prefix}"))
    assert page.locator("#read-totals dd").nth(1).text_content() == f"{bits:,.1f}"


@pytest.mark.slow
def test_skipped_characters_are_shown_as_left_out(
    tiny_settings: Callable[..., Settings], tmp_path: Path, open_page: OpenPage
) -> None:
    run = train(tiny_settings("corpus.unknown=skip", "train.max_steps=2"), name="skips", runs_dir=tmp_path)
    charlm.page(run, file=tmp_path / "page.html")
    page = open_page(tmp_path / "page.html")
    page.fill("#write-prefix", "QZ")
    page.click("#write-start")
    assert page.locator("#write-status").text_content() == "The beginning has no character that this network knows."
    text = write(page, "thQe", length=100)
    assert page.locator("#write-text .left-out").all_text_contents() == ["Q"]
    assert text.replace("Q", "") == charlm.generate(run, "the", length=100)[0]


def test_everything_is_done_by_keyboard(pages: Path, open_page: OpenPage) -> None:
    page = open_page(pages)
    page.focus("#tab-write")
    page.keyboard.press("ArrowRight")
    assert page.locator("[role=tab][aria-selected=true]").text_content() == "Read"
    assert page.locator("[role=tabpanel]:visible").get_attribute("id") == "read"
    page.keyboard.press("End")
    assert page.locator("[role=tabpanel]:visible").get_attribute("id") == "learn"
    page.keyboard.press("Home")
    write(page, "the ", length=20)
    page.focus("#write-text")
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    assert page.locator("#write-text .at").count() == 1
    assert "bits of surprise" in page.locator("#write-expected").text_content()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert len(written(page)) == 24
    assert page.evaluate("document.activeElement.id") == "write-text"
    page.keyboard.press("Escape")
    assert page.locator("#write-text .at").count() == 0


def test_every_control_has_a_label_and_every_tab_its_panel(pages: Path, open_page: OpenPage) -> None:
    page = open_page(pages)
    code = (
        "Array.from(document.querySelectorAll('input, select, textarea')).filter((e) => e.labels.length !== 1).length"
    )
    assert page.evaluate(code) == 0
    for tab in page.locator("[role=tab]").all():
        panel = page.locator(f"#{tab.get_attribute('aria-controls')}")
        assert panel.get_attribute("aria-labelledby") == tab.get_attribute("id")


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (390, "dark"), (1280, "light")])
def test_nothing_is_wider_than_the_screen(pages: Path, open_page: OpenPage, width: int, scheme: str) -> None:
    page = open_page(pages, viewport={"width": width, "height": 800}, color_scheme=scheme)
    text = write(page, "the ", length=300)
    page.locator("#write-text span").nth(30).click()
    for tab in ("write", "read", "look", "learn"):
        page.click(f"#tab-{tab}")
        if tab == "read":
            page.fill("#read-input", text)
            page.click("#read-form button")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_what_cannot_be_begun_with_is_a_sentence(pages: Path, open_page: OpenPage) -> None:
    page = open_page(pages)
    page.fill("#write-prefix", "the é\u202e")
    page.click("#write-start")
    status = page.locator("#write-status").text_content()
    assert status == "The beginning has 2 characters this network has never seen: U+00E9, U+202E"
    page.fill("#write-prefix", "")
    page.select_option("#model", "1")
    page.fill("#write-prefix", "ba\nko")
    page.click("#write-start")
    assert page.locator("#write-status").text_content() == "The beginning contains the end of an item: leave it out."


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("delete window.Worker;", "ReferenceError: Worker is not defined"),
        (
            "const parse = JSON.parse;"
            "JSON.parse = (text) => { const data = parse(text); data.models[0].tensors.pop(); return data; };",
            "TypeError: ",
        ),
    ],
)
def test_what_a_browser_cannot_do_is_said(pages: Path, open_page: OpenPage, script: str, reason: str) -> None:
    page = open_page(pages, script=script)
    page.click("#write-start")
    page.locator("#failure:visible").wait_for()
    assert page.locator("#failure").text_content().startswith(f"The network cannot be computed here: {reason}")


@pytest.mark.slow
def test_writing_stops_and_begins_anew(pages: Path, trained: Run, open_page: OpenPage) -> None:
    page = open_page(pages)
    page.fill("#write-length", "20000")
    page.click("#write-start")
    page.locator("#write-text span").nth(5).wait_for()
    page.click("#write-stop")
    assert page.locator("#write-stop").is_disabled()
    number = page.locator("#write-text span").count()
    assert 5 < number < 20_000
    assert page.locator("#write-text").text_content() == charlm.generate(trained, length=number)[0]
    # A text that is begun while another is being written is not mixed with it.
    page.click("#write-start")
    assert write(page, "a ", length=100) == charlm.generate(trained, "a ", length=100)[0]

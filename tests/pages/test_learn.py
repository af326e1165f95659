"""The tab Learn shows its data by mouse, by keyboard and as tables; names, texts and bad numbers cannot harm it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from charlm.library.models import open_run
from charlm.library.page_learning import Learned
from charlm.library.paging import page_model
from charlm.pages.charts import chart_record
from charlm.pages.document import page_document
from charlm.pages.learning import LearnData, sample_stages
from charlm.reports.pictures import Dot, Key, Line, Panel, Picture, Scale
from charlm.runs.records import Sample, SampleTable
from charlm.runs.run import Run

OpenPage = Callable[..., Any]
BREAKING = "</script><img src=x onerror=alert(1)>\"'&\u202eabc שלום"


@pytest.fixture
def show(runs: list[Run], tmp_path: Path, open_page: OpenPage) -> Callable[..., Any]:
    """Return a function that opens a page whose tab Learn shows the data that it is given."""

    def shown(data: LearnData, **options: Any) -> Any:
        path = tmp_path / "page.html"
        path.write_bytes(page_document([page_model(open_run(runs[0]))], learn=data.as_json()))
        page = open_page(path, **options)
        page.click("#tab-learn")
        return page

    return shown


def test_the_tab_shows_all_of_it(found: Learned, runs: list[Run], show: Callable[..., Any]) -> None:
    page = show(found.data, viewport={"width": 1280, "height": 900})
    # Other runs are no other networks of the page.
    assert page.locator("#models").is_hidden()
    titles = ["Learning curves", "What it wrote", "Gradients by lag", "Memory used", "Gates", "The equations"]
    assert page.locator("#learn h2").all_text_contents() == titles
    page.locator(".plot .line").first.wait_for()
    curves = page.locator(".chart").first
    # Each run has a line for training and one for validation, and the n-grams are a level line.
    assert curves.locator(".plot .line").count() == 2 * len(runs)
    assert curves.locator(".plot .line[stroke-dasharray]").count() == len(runs)
    assert curves.locator(".plot .level").count() == 1
    page.select_option("#learn-against", label="steps")
    page.locator("text.title", has_text="step").first.wait_for()
    assert page.locator(".plot .dot").count() == 8 * 7
    assert page.locator(".plot .band").count() >= 2
    assert "perplexity against epoch" not in page.locator(".plot svg").first.get_attribute("aria-label")


@pytest.mark.slow
def test_the_slider_goes_from_the_first_sample_to_the_last(
    found: Learned, runs: list[Run], show: Callable[..., Any]
) -> None:
    page = show(found.data)
    samples = runs[0].samples()
    seen = ["the " + samples[at].samples[0].continuation for at in (-1, 0, 1)]
    assert page.locator(".stage-texts .text").first.text_content() == seen[0]
    page.focus("#learn-stage")
    page.keyboard.press("Home")
    assert page.locator(".stage-texts .text").first.text_content() == seen[1]
    page.keyboard.press("ArrowRight")
    assert page.locator(".stage-texts .text").first.text_content() == seen[2]
    facts = page.locator("#learn-stage-facts").text_content()
    assert facts.startswith(f"step {samples[1].step} · ")
    assert "perplexity" in facts
    assert page.locator("#learn-stage").get_attribute("aria-valuetext") == facts
    page.click(".learned button")
    assert page.locator(".learned button").text_content() == "Stop"
    page.locator("#learn-stage-facts", has_text=f"step {samples[2].step} · ").wait_for()
    page.click(".learned button")
    assert page.locator(".learned button").text_content() == "Play"


def test_who_wants_little_motion_goes_step_by_step(found: Learned, show: Callable[..., Any]) -> None:
    page = show(found.data, reduced_motion="reduce")
    button = page.locator(".learned button")
    assert button.text_content() == "Next"
    for place in (0, 1, 2):
        button.click()
        assert page.input_value("#learn-stage") == str(place)
    assert button.text_content() == "Next"


@pytest.mark.slow
def test_charts_are_read_by_keyboard_and_as_tables(found: Learned, show: Callable[..., Any]) -> None:
    page = show(found.data)
    page.locator(".plot .line").first.wait_for()
    page.locator(".plot").first.focus()
    page.keyboard.press("Home")
    readout = page.locator(".readout").first
    assert readout.is_visible()
    first = readout.text_content()
    assert "epoch: " in first
    page.keyboard.press("ArrowRight")
    assert readout.text_content() != first
    page.keyboard.press("Escape")
    assert readout.is_hidden()
    page.locator(".chart summary").first.click()
    cells = page.locator(".chart table").first.locator("th").all_text_contents()
    assert cells[0] == "epoch"
    assert len(cells) == 5


@pytest.mark.slow
def test_what_has_no_value_is_left_out(show: Callable[..., Any]) -> None:
    bad = [1.0, math.nan, math.inf, -math.inf, 0.0, -2.0, 1e-300, 4.0]
    curves = (
        Line("bad", 0, tuple(Dot(float(at), value, value) for at, value in enumerate(bad)), marked=(1,)),
        Line("none", 9, (Dot(0.0, math.nan),)),
        Line("empty", 1, ()),
    )
    panels = tuple(
        Panel(Scale("x", "x", is_log=is_log), Scale("y", "y", is_log=is_log), curves) for is_log in (False, True)
    )
    chart = Picture(panels, (Key("bad", 0),))
    nothing = Picture((replace(panels[1], lines=curves[1:]),))
    assert json.loads(json.dumps(chart_record(chart), allow_nan=False))["panels"][0]["lines"][0]["y"][1:4] == [None] * 3
    page = show(LearnData(curves={"x": chart}, gradients=nothing))
    page.locator(".plot .line").first.wait_for()
    drawn = page.evaluate(
        "Array.from(document.querySelectorAll('.plot path'), (path) => path.getAttribute('d')).join()"
    )
    assert not re.search("NaN|Infinity|null|undefined", drawn)
    for plot in page.locator(".plot").all():
        plot.hover()
        plot.press("End")


def test_hostile_names_and_texts_are_only_data(found: Learned, show: Callable[..., Any]) -> None:
    curve = Line(BREAKING, 0, (Dot(1.0, 1.0), Dot(2.0, 2.0)))
    scale = Scale(BREAKING, BREAKING)
    chart = Picture((Panel(scale, scale, (curve,), title=BREAKING),), (Key(BREAKING, 0),), notes=(BREAKING,))
    tables = [SampleTable(step=1, epoch=0, samples=(Sample(prefix=BREAKING, continuation=BREAKING, suffix=BREAKING),))]
    equations = {**(found.data.equations or {}), "run": BREAKING, "context": BREAKING, "notes": [BREAKING]}
    data = LearnData(
        notes=[BREAKING],
        curves={BREAKING: chart},
        stages=sample_stages(tables, []),
        num_stages=1,
        gates=chart,
        readings=[BREAKING],
        equations=equations,
    )
    page = show(data)
    page.locator(".plot .line").first.wait_for()
    page.locator(".plot").first.hover()
    for summary in page.locator("#learn summary").all():
        summary.click()
    assert page.locator("#learn .note").text_content() == BREAKING
    assert page.locator(".readout bdi").first.text_content() == f"{BREAKING}, validation"
    assert page.evaluate("document.querySelectorAll('img, #learn script').length") == 0
    # The mark of direction is a sign, so that it cannot turn the text round.
    assert page.locator(".stage-texts [data-sign='U+202E']").count() == 3


def test_without_data_there_is_no_tab(runs: list[Run], tmp_path: Path, open_page: OpenPage) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(page_document([page_model(open_run(runs[0]))]))
    assert open_page(path).locator("#tab-learn").is_hidden()
    assert LearnData().as_json() is None

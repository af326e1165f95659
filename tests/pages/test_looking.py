"""The tab Look colours a text by what one unit does, and shows a whole layer over time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browsers import write

from charlm.insight.neurons import Neuron
from charlm.library.models import open_run
from charlm.library.paging import page_model
from charlm.pages.document import page_document
from charlm.runs.run import Run

OpenPage = Callable[..., Any]


def test_units_are_looked_at(trained: Run, tmp_path: Path, open_page: OpenPage) -> None:
    neuron = Neuron(
        layer=1, unit=3, state="c", feature="inside words", correlation=0.8, kept=0.8, accuracy=0.9, chance=0.1
    )
    path = tmp_path / "page.html"
    path.write_bytes(page_document([replace(page_model(open_run(trained)), neurons=[neuron])]))
    page = open_page(path)
    page.click("#tab-look")
    page.fill("#look-input", "the dog")
    page.click("#look-form button.main")
    page.locator("#look-strip:visible").wait_for()
    # The unit whose meaning was found comes first.
    assert page.locator("#look-neurons button[aria-pressed=true]").all_text_contents() == [
        "inside words (layer 1, unit 3, c)"
    ]
    assert (page.input_value("#look-unit"), page.input_value("#look-part")) == ("3", "c")
    assert "7 characters from left to right" in page.get_attribute("#look-strip", "aria-label")
    page.select_option("#look-part", "h")
    page.locator("#look-text span").nth(6).click()
    model = open_run(trained)
    ids = torch.from_numpy(model.encode("the dog", "prefix")[1].astype(np.int64))
    _, state = model.network(ids[:, None])
    assert page.locator("#look-value").text_content() == f"Unit 3 after ‘g’: {state[0][0, 0, 2]:.3f}"


@pytest.mark.slow
def test_the_liveliest_unit_is_looked_at_first(pages: Path, open_page: OpenPage) -> None:
    page = open_page(pages)
    write(page, "the ", length=50)
    page.click("#tab-look")
    page.locator("#look-strip:visible").wait_for()
    unit = page.input_value("#look-unit")
    assert f"Unit {unit} changes the most." in page.locator("#look-caption").text_content()
    # A click into the strip chooses another unit, and the character at that time.
    box = page.locator("#look-strip").bounding_box()
    page.locator("#look-strip").click(position={"x": box["width"] - 12, "y": box["height"] - 6})
    assert page.input_value("#look-unit") == "8"
    assert page.locator("#look-text .at").count() == 1
    for part in ("c", "i", "f", "g", "o"):
        page.select_option("#look-part", part)
        least = page.locator("#look-least").text_content()
        assert (least == "0") == (part in ("i", "f", "o"))

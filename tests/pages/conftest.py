"""What the tests of pages share: one browser for each worker, and pages that must neither complain nor ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from browsers import one_browser

import charlm
from charlm.library.models import open_run
from charlm.library.page_learning import Learned, learned
from charlm.library.training import train
from charlm.pages.bundling import bundle
from charlm.pages.document import page_modules
from charlm.runs.run import Run
from charlm.settings.schema import Settings

# What the tests call of the script's modules.
TESTED = {
    "random": ["UniformNumbers", "seedWords"],
    "filters": ["drawId", "filterLogits", "likeliestIds", "softmax"],
    "network": ["Network"],
    "weights": ["decodeTensors", "halfFloat"],
    "writer": ["Writer", "readText", "layerRecorder"],
    "vocabulary": ["Vocabulary", "cleaned", "markedText"],
    "glyphs": ["glyphOf", "nameOf"],
}


@dataclass
class Opened:
    """A page in the browser.

    Args:
        page: playwright's page.
        complaints: what it wrote to the console, and its errors.
        requests: the addresses that it asked for, without those of the page itself and of its worker.
    """

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Yield the one browser of this worker; where there is none, tests are skipped."""
    with one_browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def pages(trained: Run, listed: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page of a running text and of items."""
    path = tmp_path_factory.mktemp("pages") / "page.html"
    charlm.page(trained, listed, file=path, all_networks=True, inspected=False)
    return path


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Yield a function that opens a file as a page, which must neither complain nor make requests.

    It can be given a script that runs before the page's own.
    """
    opened: list[Opened] = []

    def open_file(path: Path, script: str = "", **options: Any) -> Any:
        page = browser.new_page(**options)
        page.add_init_script(script)
        page.set_default_timeout(20_000)
        seen = Opened(page)
        opened.append(seen)
        page.on("console", lambda message: seen.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        page.on("request", lambda request: seen.requests.append(request.url))
        page.goto(path.absolute().as_uri())
        return page

    yield open_file
    for each in opened:
        address = each.page.url
        each.page.close()
        assert each.complaints == []
        assert [url for url in each.requests if url != address and not url.startswith("blob:null/")] == []


@pytest.fixture(scope="session")
def engine(browser: Any) -> Iterator[Callable[..., Any]]:
    """Yield a function that calls JavaScript with the names of TESTED, as in `engine("(t, x) => t.name(x)", x)`."""
    imports = "".join(f'import {{ {", ".join(names)} }} from "./{name}.js";\n' for name, names in TESTED.items())
    names = ", ".join(name for group in TESTED.values() for name in group)
    script = bundle({**page_modules(), "tested": f"{imports}globalThis.tested = {{ {names} }};\n"}, "tested")
    page = browser.new_page()
    page.add_script_tag(content=script)

    def call(code: str, value: Any = None) -> Any:
        return page.evaluate(f"(value) => ({code})(globalThis.tested, value)", value)

    yield call
    page.close()


@pytest.fixture(scope="session")
def runs(tiny_settings: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Return runs of an LSTM with two layers and of an RNN."""
    folder = tmp_path_factory.mktemp("learned")
    return [
        train(tiny_settings(*settings, "train.max_steps=24", "sample.every=6"), name=name, runs_dir=folder)
        for name, settings in (("two", ["model.num_layers=2"]), ("plain", ["model.cell=rnn"]))
    ]


@pytest.fixture(scope="session")
def found(runs: list[Run]) -> Learned:
    """Return what the tab shows of both, with the first as the page's network."""
    return learned(open_run(runs[0]), runs[0], runs[1:])

"""One browser, driven from a thread of its own.

Playwright runs an event loop for as long as the browser is open. In the thread of the tests it would keep others from
running one: prompts and clusters have theirs.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


class Driven:
    """Something of playwright's, every use of which happens in the browser's thread.

    Args:
        target: what it stands for.
        thread: the thread.
    """

    def __init__(self, target: Any, thread: ThreadPoolExecutor) -> None:
        self._target, self._thread = target, thread

    def __getattr__(self, name: str) -> Any:
        """Return an attribute; what is called or returned is driven as well."""
        return self._driven(self._thread.submit(getattr, self._target, name).result())

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call it."""
        return self._driven(self._thread.submit(self._target, *arguments, **options).result())

    def _driven(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._driven(each) for each in value]
        is_playwrights = callable(value) or type(value).__module__.startswith("playwright.")
        return Driven(value, self._thread) if is_playwrights else value


@contextmanager
def one_browser() -> Iterator[Any]:
    """Yield a browser; where there is none, the test is skipped."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("there is no Chromium")
    # As root it has no sandbox of its own.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with ThreadPoolExecutor(1) as thread:
        playwright = Driven(thread.submit(sync_api.sync_playwright().start).result(), thread)
        browser = playwright.chromium.launch(executable_path=path, args=options)
        try:
            yield browser
        finally:
            browser.close()
            playwright.stop()


def write(page: Any, prefix: str = "", **fields: object) -> str:
    """Write a text at once, and return it."""
    page.fill("#write-prefix", prefix)
    page.select_option("#write-pace", "full")
    for name, value in fields.items():
        page.fill(f"#write-{name.replace('_', '-')}", str(value))
    page.click("#write-start")
    return written(page)


def written(page: Any) -> str:
    """Return the text when it has been written."""
    page.locator("#write-stop:disabled").wait_for()
    return page.locator("#write-text").text_content()

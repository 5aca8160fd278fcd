"""A headless Chromium for tests, driven by Playwright; nothing is downloaded. Tests skip with the reason if one is missing."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
REASON = (
    "Playwright for Python is not installed"
    if importlib.util.find_spec("playwright") is None
    else ""
    if CHROMIUM
    else "there is no Chromium (Debian's package: apt-get install chromium)"
)
needs_chromium = pytest.mark.skipif(bool(REASON), reason=REASON or "there is one")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser, and end it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's own sandbox does not work for root, as in a container.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()

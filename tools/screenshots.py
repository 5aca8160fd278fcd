"""Make the pictures of the documents: the live page of a network that learns, and a report, as Chromium shows them.

It needs the tools of the tests and Debian's package chromium. A run takes about two minutes.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHECKOUT = Path(__file__).resolve().parents[1]
PICTURES = CHECKOUT / "docs" / "pictures"
COORDINATOR = (sys.executable, "-m", "coordinator")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
WIDTH, HEIGHT = 1280, 720
PATIENCE_MS = 600_000

LIVE = {"page-light.png": "&select=hidden.8"}
"""Each picture of the live page, and what its address says besides the token."""
LIVE_STEP = 400
"""The live page is shown from this step on: the network reads nine of ten digits, and its patterns can be seen."""
LIVE_READY = f"""() => {{ const live = exmachina.get("live");
    return live?.source === "training" && live.step >= {LIVE_STEP} && live.label === live.predicted; }}"""
REPORT = {"report-light.png": "", "report-neuron.png": "#neuron=hidden.8"}
"""Each picture of the report, and the link within it."""
ADDRESS = "page for the operator  "


@contextmanager
def live_page(folder: Path) -> Iterator[str]:
    """Train digits for as long as the page is needed; yield the address for the operator."""
    command = [*COORDINATOR, "learn", "digits", "--epochs", "1000", "--name", "live", "--dashboard"]
    learning = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    assert learning.stderr is not None
    try:
        told = next((line for line in learning.stderr if line.startswith(ADDRESS)), None)
        if told is None:
            raise SystemExit("screenshots: the run ended before its page was there")
        yield told.removeprefix(ADDRESS).strip()
    finally:
        # The few lines that the run has written since then are read here.
        learning.terminate()
        learning.communicate()


def report_in(folder: Path) -> Path:
    """Train digits with three kills, and return its report."""
    for arguments in (["learn", "digits", "--name", "digits", "--chaos", "kill=3"], ["report", "digits"]):
        subprocess.run([*COORDINATOR, *arguments], cwd=folder, env=ENVIRONMENT, check=True)
    return folder / "digits.html"


def shoot(browser: Browser, address: str, name: str, ready: str = "() => true") -> None:
    """Write a picture of the page at `address` when `ready` holds."""
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
    page.set_default_timeout(PATIENCE_MS)
    page.goto(address)
    page.wait_for_selector("#picture canvas")
    page.wait_for_function(ready)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    page.close()
    # 256 colours look the same, and take a third of the space.
    picture.quantize(256, dither=Image.Dither.NONE).save(PICTURES / name, optimize=True)
    print(f"docs/pictures/{name}: {(PICTURES / name).stat().st_size:,} bytes")


def main() -> int:
    """Write all pictures. Return 2 if there is no browser."""
    browser_path = shutil.which("chromium")
    if browser_path is None:
        print("screenshots: there is no Chromium; install Debian's package chromium", file=sys.stderr)
        return 2
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        with live_page(folder) as address:
            for picture, link in LIVE.items():
                shoot(browser, address + link, picture, LIVE_READY)
        report = report_in(folder).as_uri()
        for picture, link in REPORT.items():
            shoot(browser, report + link, picture)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

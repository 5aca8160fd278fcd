"""Make the pictures of the documents: train a network, disturb it, write its report, and open the report in Chromium.

It needs the tools of the tests and Debian's package chromium. A run takes about two minutes.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

CHECKOUT = Path(__file__).resolve().parents[1]
PICTURES = CHECKOUT / "docs" / "pictures"
SHOTS = {
    "report-light.png": ("light", 1280, 720, ""),
    "report-neuron.png": ("light", 1280, 720, "#neuron=hidden.8"),
}
"""Each picture: colours, width and height of the window, and the link within the report."""


def report_in(folder: Path) -> Path:
    """Train digits with three kills, and return its report."""
    command = Path(sys.executable).with_name("coordinator")
    for arguments in (["learn", "digits", "--name", "digits", "--chaos", "kill=3"], ["report", "digits"]):
        subprocess.run([command, *arguments], cwd=folder, check=True)
    return folder / "digits.html"


def main() -> int:
    """Write all pictures. Return 2 if there is no browser."""
    browser_path = shutil.which("chromium")
    if browser_path is None:
        print("screenshots: there is no Chromium; install Debian's package chromium", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        report = report_in(Path(folder))
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        PICTURES.mkdir(exist_ok=True)
        for name, (scheme, width, height, link) in SHOTS.items():
            dark = scheme == "dark"
            page = browser.new_page(
                viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
            )
            page.goto(report.as_uri() + link)
            page.wait_for_selector("#picture canvas")
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            page.close()
            # 256 colours look the same, and take a third of the space.
            picture.quantize(256, dither=Image.Dither.NONE).save(PICTURES / name, optimize=True)
            print(f"docs/pictures/{name}: {(PICTURES / name).stat().st_size:,} bytes")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

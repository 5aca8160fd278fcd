"""`python -m tests.figures.slow_motion`: count the frames per second of the picture in slow motion.

A network of 256-8-10 (2,128 synapses) is traced, and Chromium draws the 2,048 signals from inputs to hidden neurons on their way.
Chromium runs without a graphics card, so all drawing is done by the processor.
"""

from __future__ import annotations

import argparse
import json
import sys

from coordinator.page.resources import resource
from tests.browser import REASON, chromium
from tests.pictures import HOST, SETUP, live_values, pixel_state, traced

LAYERS = (256, 8, 10)
LEAST_FRAMES_PER_SECOND = 30.0
SIGNALS = 5
"""The beat in which they travel: after the inputs and four steps of the input neurons."""
COUNT = """(ms) => new Promise((done) => {
  let frames = 0;
  let [begun, before, longest] = [null, null, 0];
  const frame = (now) => {
    begun ??= now;
    longest = Math.max(longest, now - (before ?? now));
    before = now;
    if (now - begun >= ms) done({ frames_per_second: (frames * 1000) / (now - begun), longest_frame_ms: longest });
    else requestAnimationFrame(frame);
    frames++;
  };
  requestAnimationFrame(frame);
})"""


def main() -> int:
    """Exit 1 if a limit is not kept."""
    parser = argparse.ArgumentParser(prog="slow_motion", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long frames are counted (default 5)")
    options = parser.parse_args()
    if REASON:
        parser.error(REASON)
    record = traced(LAYERS)
    state = {**pixel_state(16, record["inputs"], LAYERS), **live_values(record), "sample": -1, "record": record}
    state["motion"] = {"playing": False, "speed": 0.5}
    figures = {}
    with chromium() as browser:
        for scale in (1, 2):
            page = browser.new_page(viewport={"width": 1280, "height": 720}, device_scale_factor=scale)
            page.set_content(HOST)
            page.evaluate(SETUP, resource("picture.js") + resource("report.js"))
            page.evaluate("async (state) => { show(state); await drawn(); }", state)
            for _ in range(SIGNALS):
                page.get_by_role("button", name="Next", exact=True).click()
            page.get_by_role("button", name="Play", exact=True).click()
            figures[f"pixel_ratio_{scale}"] = page.evaluate(COUNT, options.seconds * 1000)
            page.close()
    print(json.dumps(figures))
    slow = [name for name, figure in figures.items() if figure["frames_per_second"] < LEAST_FRAMES_PER_SECOND]
    for name in slow:
        print(f"slow_motion: {name} has less than {LEAST_FRAMES_PER_SECOND} frames per second", file=sys.stderr)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())

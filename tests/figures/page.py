"""`python -m tests.figures.page`: measure what the live page costs a training run, and how fast it answers.

One run of 86 programs, a neuron each, learns digits, and a page server shows it. In turn, for some seconds each, there is no
browser and one: a program that receives all that a browser receives, and draws nothing. Its speed is compared with that of the
seconds before and after, in the same run. Then the pad is asked, Chromium opens the page of a new server, and 20 such programs
stay for some minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psutil
from websockets.asyncio.client import connect

from coordinator.client import Client
from tests.browser import REASON, chromium
from tests.figures.clients import PATIENCE_SECONDS, in_turn, speed, training
from tests.figures.disturbed import CHECKOUT
from tests.ports import free_ports

RECEIVES = "import sys; from tests.figures.page import receive_on; receive_on(*sys.argv[1:])"
MB = 1024 * 1024
LIMITS = {"ratio": 0.95, "updates_per_second": 5.0}
"""The least that is wanted."""
MOST = {"server_core_percent": 5.0, "server_mb": 150.0, "first_picture_seconds": 2.0, "pad_ms": 300.0}
"""The most that is allowed."""
SETTLES_SECONDS = 3.0
ASKED = 20


class Page(NamedTuple):
    """A page server: its process, and the address for operators."""

    process: psutil.Process
    address: str


def main() -> int:
    """Exit 1 if a limit is not kept."""
    parser = argparse.ArgumentParser(prog="page", description=__doc__)
    parser.add_argument("--pairs", type=int, default=4, help="how many times with a browser (default 4)")
    parser.add_argument("--window", type=float, default=20.0, help="seconds between two changes (default 20)")
    parser.add_argument("--browsers", type=int, default=20, help="how many browsers at the end (default 20)")
    parser.add_argument("--seconds", type=float, default=300.0, help="how long they stay (default 300)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="figures-") as runs, training(runs) as (process, door):
        with Client(door, PATIENCE_SECONDS) as client:
            with page_server(runs) as page:
                figure = _with_a_browser(client, page, options)
                figure["pad_ms"] = asyncio.run(_pad_ms(page.address))
            figure["first_picture_seconds"] = _first_picture_seconds(runs)
            if options.seconds:
                with page_server(runs) as page:
                    figure["many"] = _with_many(page, options.browsers, options.seconds)
            client.ask("stop")
        process.wait()
    figure |= {"at_least": LIMITS, "at_most": MOST}
    print(json.dumps(figure, indent=1))
    small = [name for name, least in LIMITS.items() if _worst(figure[name], min) < least]
    large = [name for name, most in MOST.items() if figure[name] is not None and _worst(figure[name], max) > most]
    return int(bool(small or large))


def _worst(values: Any, choose: Any) -> float:
    return float(statistics.median(values)) if isinstance(values, list) else float(values)


@contextmanager
def page_server(runs: str) -> Iterator[Page]:
    """Serve the page of the run; yield when a browser can open it."""
    command = ["dashboard", "--run", "measured", "--runs", runs, "--port", str(free_ports(1)[0])]
    process = subprocess.Popen(
        [sys.executable, "-m", "coordinator", *command], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        address = next(line.split()[1] for line in process.stdout if line.startswith("operator"))
        yield Page(psutil.Process(process.pid), address)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


class Browser:
    """One open page without drawing: it confirms every frame as a browser does. `frames` counts those with new numbers."""

    def __init__(self, address: str) -> None:
        self._address = urlsplit(address)
        self.frames = 0
        self.answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.send: Any = None

    async def stay(self) -> None:
        """Open the page, and receive until the task is cancelled."""
        cookie, session = await asyncio.to_thread(_opened, self._address)
        host = self._address.netloc
        headers = {"Cookie": cookie, "Origin": f"http://{host}"}
        query = f"EIO=4&transport=websocket&client_id={session}&document_id={session}&tab_id={session}"
        messages = f"ws://{host}/_nicegui_ws/socket.io/?{query}&next_message_id=0&implicit_handshake=true"
        async with (
            connect(messages, additional_headers=headers, max_size=None) as page,
            connect(f"ws://{host}/live?session={session}", additional_headers=headers, max_size=None) as live,
        ):
            self.send = live.send
            await asyncio.gather(_answer_pings(page), self._receive(live), self._live_on(live))

    async def _live_on(self, live: Any) -> None:
        while True:
            await live.send('{"alive": true}')
            await asyncio.sleep(2)

    async def _receive(self, live: Any) -> None:
        async for frame in live:
            length = int.from_bytes(frame[:4], "little")
            values = json.loads(frame[4 : 4 + length])
            self.frames += any(name == "numbers" for name, _ in values["bytes"])
            if answer := values["values"].get("answer"):
                self.answers.put_nowait(answer)
            await live.send('{"got": true}')


async def _answer_pings(page: Any) -> None:
    """Connect to the messages of NiceGUI, and read them."""
    async for message in page:
        if message[:1] in ("0", "2"):
            await page.send("40" if message[0] == "0" else "3")


def _opened(address: Any) -> tuple[str, str]:
    """Exchange the token for a cookie, and load the page; return the cookie and the id of the page."""
    connection = http.client.HTTPConnection(address.netloc, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", f"/?{address.query}")
        response = connection.getresponse()
        response.read()
        cookie = (response.getheader("set-cookie") or "").partition(";")[0]
        connection.request("GET", "/", headers={"Cookie": cookie})
        page = connection.getresponse().read().decode()
    found = re.search(r"data-session[^0-9a-f]{1,20}([0-9a-f-]{36})", page)
    assert found, "the page has no session"
    return cookie, found[1]


def receive_on(address: str, browsers: str, seconds: str) -> None:
    """Be so many browsers for some seconds; print the frames with numbers of each."""

    async def receive() -> list[int]:
        made = [Browser(address) for _ in range(int(browsers))]
        tasks = [asyncio.create_task(browser.stay()) for browser in made]
        done, _ = await asyncio.wait(tasks, timeout=float(seconds), return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
        for task in tasks:
            task.cancel()
        return [browser.frames for browser in made]

    print(json.dumps(asyncio.run(receive())))


def _receiving(page: Page, browsers: int, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RECEIVES, page.address, str(browsers), str(seconds)]
    return subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)


def _with_a_browser(client: Client, page: Page, options: argparse.Namespace) -> dict[str, Any]:
    """Return the ratio of the speeds, and the server's share of a core, from windows in turn without and with a browser."""
    updates, shares = [], []

    def with_a_browser() -> float:
        with _receiving(page, 1, SETTLES_SECONDS + options.window) as receiving:
            time.sleep(SETTLES_SECONDS)
            used, begun = _cpu_seconds(page), time.monotonic()
            during = speed(client, options.window)
            shares.append(100 * (_cpu_seconds(page) - used) / (time.monotonic() - begun))
            told, _ = receiving.communicate()
        updates.append(json.loads(told)[0] / (options.window + SETTLES_SECONDS))
        return during

    ratios, last = in_turn(client, options.window, options.pairs, with_a_browser)
    return {
        "ratio": round(statistics.median(ratios), 3),
        "ratio_of_each_window": [round(ratio, 3) for ratio in ratios],
        "steps_per_second": round(last, 1),
        "updates_per_second": [round(each, 2) for each in updates],
        "server_core_percent": [round(share, 2) for share in shares],
        "server_mb": round(page.process.memory_info().rss / MB, 1),
    }


def _cpu_seconds(page: Page) -> float:
    used = page.process.cpu_times()
    return used.user + used.system


async def _pad_ms(address: str) -> list[float]:
    """Ask what the network sees in a drawing, again and again; return the milliseconds of each answer."""
    browser, found = Browser(address), []
    staying = asyncio.create_task(browser.stay())
    try:
        while browser.frames < 3:
            await asyncio.sleep(0.1)
        for number in range(ASKED):
            begun = time.monotonic()
            row = [float((place + number) % 2) for place in range(64)]
            await browser.send(json.dumps({"send": {"ask": "answer", "id": number, "row": row}}))
            answer = await asyncio.wait_for(browser.answers.get(), PATIENCE_SECONDS)
            assert "predicted" in answer, answer
            found.append(round(1000 * (time.monotonic() - begun), 1))
    finally:
        staying.cancel()
    return found


def _first_picture_seconds(runs: str) -> list[float] | None:
    """Open the page of new servers in Chromium; return the seconds until the network is drawn. None without Chromium."""
    if REASON:
        return None
    found = []
    with chromium() as browser:
        # The browser of a visitor runs already.
        browser.new_page().goto("about:blank")
        for _ in range(3):
            with page_server(runs) as page:
                context = browser.new_context(viewport={"width": 1280, "height": 720})
                opened, begun = context.new_page(), time.monotonic()
                opened.goto(page.address, wait_until="commit")
                opened.wait_for_selector("#picture canvas")
                found.append(round(time.monotonic() - begun, 2))
                context.close()
    return found


def _with_many(page: Page, browsers: int, seconds: float) -> dict[str, Any]:
    """Return memory and share of a core of the server with many browsers, from ten windows."""
    memory, begun, used = [], time.monotonic(), _cpu_seconds(page)
    with _receiving(page, browsers, seconds) as receiving:
        while (passed := time.monotonic() - begun) < seconds:
            time.sleep(min(seconds / 10, seconds - passed))
            memory.append(round(page.process.memory_info().rss / MB, 1))
        share = 100 * (_cpu_seconds(page) - used) / (time.monotonic() - begun)
        told, _ = receiving.communicate()
    each = [frames / seconds for frames in json.loads(told)]
    return {
        "browsers": browsers,
        "seconds": seconds,
        "server_mb": memory,
        "server_core_percent": round(share, 1),
        "updates_per_second_of_each": [round(min(each), 2), round(max(each), 2)],
    }


if __name__ == "__main__":
    sys.exit(main())

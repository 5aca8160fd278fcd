"""The live page in a real browser: one run of five neurons, whose programs a visitor watches, changes and kills."""

from __future__ import annotations

import http.client
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil
import pytest

from coordinator.client import Client
from coordinator.core.journal import Entry
from coordinator.storage.disk import REAL_DISK
from coordinator.storage.journal_file import JournalFile
from tests.browser import chromium, needs_chromium
from tests.ports import free_ports
from tests.processes.programs import CHECKOUT, Bench, Program, await_that

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytest.importorskip("nicegui", reason="NiceGUI is not installed (pip install 'exmachina[dashboard]')")
pytestmark = [pytest.mark.processes, needs_chromium]

NAME = "seen"
PATIENCE_MS = 30_000


class Shown:
    """A run, its page, and the addresses of the page."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        arguments = ("xor", "--hidden", "2", "--epochs", "1000000", "--name", NAME, "--snapshot-interval-steps", "40")
        self.learning = bench.learn(*arguments)
        bench.await_wired()
        self.port = free_ports(1)[0]
        self.program = self.start_page(self.port)
        lines = await_that(lambda: self.lines(self.program), "the addresses of the page")
        self.viewer, self.operator = (line.split()[1] for line in lines)

    def start_page(self, port: int, *more: str) -> Program:
        return self.bench.start("coordinator", "dashboard", "--run", NAME, "--port", str(port), *more)

    @staticmethod
    def lines(program: Program) -> list[str]:
        assert program.process.poll() is None, program.said()
        found = program.stdout.read_text().splitlines()
        return found if len(found) == 2 else []

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Ask the coordinator, past the page."""
        folder = self.bench.runs / NAME
        with Client(json.loads((folder / "endpoints.json").read_text())["door"], 30.0) as client:
            return client.ask(command, **arguments)[0]

    def journal(self) -> tuple[Entry, ...]:
        return JournalFile(self.bench.runs / NAME, REAL_DISK).peek()

    def process_of(self, neuron: str) -> Any:
        row = next(row for row in self.ask("neurons")["neurons"] if row["neuron"] == neuron)
        return row["process"] if row["state"] == "working" else None


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    bench = Bench(tmp_path_factory.mktemp("page"), Path(tmp_path_factory.mktemp("s")))
    try:
        yield Shown(bench)
    finally:
        bench.kill_all()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as made:
        yield made


class Watched:
    """A page, and all that went wrong in it."""

    def __init__(self, browser: Browser, address: str, **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 720}, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.faults: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("pageerror", lambda fault: self.faults.append(str(fault)))
        self.page.on("console", lambda told: self.faults.append(told.text) if told.type == "error" else None)
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        self.page.goto(address)
        self.page.wait_for_selector("#picture canvas")

    def value(self, name: str) -> Any:
        """A value of the picture."""
        return self.page.evaluate(f"exmachina.get({name!r})")

    def await_value(self, condition: str) -> None:
        """Wait until a condition of the values holds; `get` reads one."""
        self.page.wait_for_function(f"(() => {{ const get = (name) => exmachina.get(name); return {condition}; }})()")

    def click(self, name: str) -> None:
        self.controls.get_by_role("button", name=name, exact=True).click()

    @property
    def controls(self) -> Locator:
        return self.page.get_by_role("group", name="Controls")

    def await_said(self, pattern: str) -> str:
        """Wait for a line about what the visitor did."""
        said = self.page.locator(".said").filter(has_text=re.compile(pattern))
        return said.inner_text()

    def resume(self) -> None:
        resume = self.controls.get_by_role("button", name="Resume", exact=True)
        if resume.is_visible():
            # The button may go now, if the page hears only now that the training goes on. A second request changes nothing.
            resume.dispatch_event("click")
            self.await_said("the training goes on")
        self.controls.get_by_role("button", name="Pause", exact=True).wait_for()

    def painted(self) -> str:
        """The picture as it is painted now."""
        picture: str = self.page.evaluate("document.querySelector('#picture canvas').toDataURL()")
        return picture


@pytest.fixture(scope="module")
def operator(shown: Shown, browser: Browser) -> Iterator[Watched]:
    watched = Watched(browser, shown.operator)
    yield watched
    watched.context.close()


@pytest.fixture
def training(operator: Watched) -> Watched:
    """The operator's page, while the network trains and no neuron is selected."""
    operator.resume()
    operator.page.evaluate("exmachina.set('selected', ''); exmachina.save_changes()")
    return operator


def colours(page: Page) -> int:
    """How many colours the picture has."""
    counted: int = page.evaluate(
        """() => { const canvas = document.querySelector("#picture canvas");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return new Set(new Uint32Array(data.buffer)).size; }"""
    )
    return counted


def test_the_token_leaves_the_address(training: Watched) -> None:
    """The browser has a cookie that no script can read."""
    assert "token" not in training.page.url
    [cookie] = training.context.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
    assert training.page.evaluate("document.cookie") == ""


def test_live_updates_arrive_and_the_picture_changes(training: Watched) -> None:
    """The step grows, and the picture shows the numbers of real neurons."""
    training.await_value("get('live').source === 'training'")
    before, painted = training.value("live")["step"], training.painted()
    assert colours(training.page) > 20
    training.await_value(f"get('live').step > {before} + 5")
    training.page.wait_for_function(
        "(before) => document.querySelector('#picture canvas').toDataURL() !== before", arg=painted
    )
    read = "Array.from({ length: 15 }, (_, i) => exmachina.get('passed').getFloat32(4 * i, true))"
    passed = training.page.evaluate(read)
    assert len(passed) == 15 and all(0 <= activity <= 1 for activity in passed[5:10])


def test_hovering_shows_the_numbers_of_a_neuron(training: Watched) -> None:
    """And so do the arrow keys."""
    box = training.page.locator("#picture canvas").bounding_box()
    assert box is not None
    tip = training.page.locator("#picture .exm-tip")
    found = set()
    for share in range(5, 100, 4):
        training.page.mouse.move(box["x"] + box["width"] * 0.44, box["y"] + box["height"] * share / 100)
        if tip.is_visible():
            found.add(tip.inner_text().split("\n")[0])
    assert found == {"hidden.0", "hidden.1"}
    training.page.locator("#picture canvas").focus()
    training.page.keyboard.press("ArrowRight")
    assert re.search("activity = ", tip.inner_text())


def test_selecting_a_neuron_shows_where_it_runs_and_its_formula(training: Watched, shown: Shown) -> None:
    """With its formula in the words of `trace`; the link keeps the selection."""
    training.page.evaluate("exmachina.set('selected', 'hidden.1'); exmachina.save_changes()")
    panel = training.page.get_by_role("region", name="Selected neuron")
    panel.get_by_text(f"process {shown.process_of('hidden.1')} on").wait_for()
    panel.get_by_text(re.compile(r"activity = logistic\(.+ \+ .+\) = 0\.\d+")).first.wait_for()
    training.page.wait_for_url(re.compile(r"&select=hidden\.1$"))


def test_why_a_weight_changed_is_explained(training: Watched) -> None:
    """In the sentences of `explain`."""
    training.page.evaluate("exmachina.set('selected', 'hidden.0'); exmachina.save_changes()")
    panel = training.page.get_by_role("region", name="Selected neuron")
    # The selection and the click reach the server by two connections.
    panel.get_by_role("heading", name="hidden.0", exact=True).wait_for()
    panel.get_by_role("button", name="Why did it change?").click()
    panel.get_by_text(re.compile(r"^Its change is −learning rate × gradient = ")).wait_for()


def test_pause_step_and_resume(training: Watched, shown: Shown) -> None:
    """The run does what the page says."""
    training.click("Pause")
    assert training.await_said("^paused after step")
    step = shown.ask("status")["step"]
    training.page.get_by_role("button", name="Do one step, and pause").click()
    training.await_said(f"^paused after step {step + 1:,}$")
    assert shown.ask("status")["step"] == step + 1
    training.click("Resume")
    training.await_said("the training goes on")
    assert shown.ask("status")["pauses_after"] is None


def test_a_weight_is_set_and_the_journal_has_it(training: Watched, shown: Shown) -> None:
    """The picture shows the new weight although the network is paused."""
    training.click("Pause")
    training.await_said("^paused after step")
    training.page.evaluate("exmachina.set('selected', 'hidden.0'); exmachina.save_changes()")
    panel = training.page.get_by_role("region", name="Selected neuron")
    panel.get_by_label("Bias or weight").click()
    training.page.get_by_role("option", name=re.compile("weight to output.0")).click()
    panel.get_by_label("New value").fill("77.5")
    panel.get_by_role("button", name="Set the bias or the weight to this value").click()
    training.await_said(r"the weight from hidden\.0 to output\.0 is 77\.5")
    entry = shown.journal()[-1]
    assert (entry.kind, entry.neuron, entry.to, entry.value) == ("weight", "hidden.0", "output.0", 77.5)
    training.await_value("get('snapshots')[0].peaks.some((peak) => Math.abs(peak - 77.5) < 1e-9)")


def test_a_fault_of_the_visitor_is_one_line(training: Watched, shown: Shown) -> None:
    """It says what would be right, and changes nothing."""
    before = shown.journal()
    training.page.get_by_role("spinbutton", name="Learning rate").fill("-1")
    training.page.get_by_role("button", name="Set the learning rate").click()
    assert "\n" not in training.await_said("right would be a number above 0")
    assert shown.journal() == before


def test_rewind_goes_back_to_a_kept_snapshot(training: Watched, shown: Shown) -> None:
    """The list has the kept snapshots, and the beginning."""
    training.page.get_by_role("button", name="Go back to a kept snapshot").click()
    training.page.get_by_role("combobox", name="Snapshot", exact=True).click()
    # The list draws only some of its options; by keyboard all can be reached.
    training.page.get_by_role("option").first.wait_for()
    training.page.keyboard.press("End")
    training.page.get_by_role("option", name="step 0, the beginning").wait_for()
    training.page.keyboard.press("Enter")
    training.page.get_by_role("dialog").get_by_role("button", name="Rewind", exact=True).click()
    training.await_said(r"^back at step 0 of branch 0; the steps from here on are branch \d+$")
    assert shown.journal()[-1].kind == "rewind"


def test_a_killed_neuron_is_shown_dead_and_comes_back(training: Watched, shown: Shown) -> None:
    """In another process, which the table of programs shows."""
    training.page.evaluate("exmachina.set('selected', 'hidden.1'); exmachina.save_changes()")
    before = shown.process_of("hidden.1")
    panel = training.page.get_by_role("region", name="Selected neuron")
    # The page polls too seldom to be sure of a moment: note every value of the picture.
    training.page.evaluate(
        "window.dead = false; exmachina.on('change:live', () => { dead ||= exmachina.get('live').dead.includes('hidden.1'); })"
    )
    panel.get_by_role("button", name="Kill the program of this neuron").click()
    training.await_said(f"^killed process {before} on ")
    training.page.wait_for_function("window.dead")
    training.await_value("get('live').dead.length === 0")
    after = await_that(lambda: shown.process_of("hidden.1"), "the neuron's return")
    assert after != before
    training.page.get_by_role("region", name="Nodes").get_by_text(str(after), exact=True).wait_for()


def test_slow_motion_shows_a_traced_pass(training: Watched) -> None:
    """The picture gets the record, with all messages in causal order."""
    training.page.get_by_role("button", name="Trace one sample, and show its messages one by one").click()
    training.await_value("get('record')?.messages.length > 0")
    kinds = [message["kind"] for message in training.value("record")["messages"]]
    assert list(dict.fromkeys(kinds)) == ["input", "signal", "output", "target", "error", "done"]
    training.page.get_by_role("button", name="End slow motion").click()
    training.await_value("get('record') === null")
    training.page.wait_for_function("!document.querySelector('.said').innerText.includes('slow motion')")


def test_a_timeline_has_a_row_for_each_program(training: Watched) -> None:
    """Traced with the real neurons."""
    panel = training.page.get_by_role("region", name="Timeline")
    panel.get_by_role("button", name="Trace one sample").click()
    panel.locator("canvas").wait_for()
    panel.get_by_text("Steps and messages as text").click()
    panel.get_by_role("row", name=re.compile("signal input.0 hidden.0")).wait_for()


def test_a_chosen_sample_is_computed_by_the_neurons(training: Watched) -> None:
    """And the training is shown again when none is chosen."""
    training.page.evaluate("exmachina.set('sample', 2); exmachina.save_changes()")
    training.await_value("get('live').source === 'sample'")
    read = "[0, 4].map((at) => exmachina.get('inputs').getFloat32(at, true))"
    assert training.page.evaluate(read) == [1, 0]
    training.page.evaluate("exmachina.set('sample', -1); exmachina.save_changes()")
    training.await_value("get('live').source === 'training'")


def test_a_drawing_is_answered_by_the_network(training: Watched) -> None:
    """With what every neuron computed; a drawing that is none gets one line."""
    training.page.evaluate(
        """() => { window.answers = []; exmachina.on("msg:custom", (told) => answers.push(told));
        exmachina.send({ ask: "answer", id: 7, row: [1, 0] }); }"""
    )
    training.page.wait_for_function("answers.length === 1")
    answer = training.page.evaluate("answers[0]")
    assert answer["id"] == 7 and answer["predicted"] in (0, 1)
    training.page.evaluate("exmachina.send({ ask: 'answer', id: 8, row: ['a'] })")
    training.page.wait_for_function("answers.length === 2")
    assert training.page.evaluate("answers[1].error").startswith("a drawing is a list of 2 numbers")


def test_hidden_panels_are_in_the_link(shown: Shown, browser: Browser) -> None:
    """A teacher can prepare a page."""
    watched = Watched(browser, f"{shown.viewer}&select=output.0&hide=nodes,curves")
    page = watched.page
    page.get_by_role("region", name="Selected neuron").get_by_text("process").wait_for()
    assert not page.get_by_role("region", name="Nodes").is_visible()
    page.get_by_role("checkbox", name="Programs").click()
    page.get_by_role("region", name="Nodes").wait_for()
    page.wait_for_url(re.compile(r"/\?dataset=\w+&hidden=.*&seed=\d+&select=output\.0&hide=curves$"))
    watched.context.close()


def test_a_link_for_another_run_says_so(shown: Shown, browser: Browser) -> None:
    """It begins nothing: a visitor reads which settings differ, and the command for them. Then the link is that of the run."""
    watched = Watched(browser, f"{shown.viewer}&seed=98765&learning_rate=0.125;ls&epochs=--help&select=hidden.7")
    line = watched.page.locator(".offer")
    line.wait_for()
    assert line.inner_text().startswith(
        "The link is for another run: learning rate 0.125;ls, seed 98765. "
        "To begin it: coordinator learn xor --learning-rate '0.125;ls' --seed 98765 --dashboard"
    )
    watched.await_said("the link has no epochs that can be used")
    assert not line.get_by_role("button", name="Begin").is_visible()
    watched.page.get_by_text("The present run has no neuron hidden.7.").wait_for()
    assert "seed=98765&select=hidden.7" in watched.page.url
    line.get_by_role("button", name="Stay with the present run").click()
    line.wait_for(state="hidden")
    watched.page.wait_for_url(re.compile(r"&seed=(?!98765)\d+&select=hidden\.7$"))
    assert not watched.faults
    watched.context.close()


def test_a_viewer_looks_and_changes_nothing(shown: Shown, browser: Browser) -> None:
    """There are no buttons for it, and the server of the page refuses too: on ipc the coordinator can't tell the two apart."""
    watched = Watched(browser, shown.viewer)
    assert watched.value("may_operate") is False
    buttons = watched.page.get_by_role("button").all_inner_texts()
    assert "Slow motion" in buttons
    assert not {"Pause", "Resume", "Step", "Run", "Set", "Rewind…", "Silence", "Kill this neuron"} & set(buttons)
    watched.context.close()


Answer = tuple[int, str]


def asked(shown: Shown, path: str = "/", **headers: str) -> Answer:
    """Ask the page's server without a browser."""
    connection = http.client.HTTPConnection("127.0.0.1", shown.port, timeout=30)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


WEBSOCKETS = ("/live?session=x", "/_nicegui_ws/socket.io/?EIO=4&transport=websocket")


def upgrade(shown: Shown, **headers: str) -> dict[str, str]:
    return {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec_WebSocket_Version": "13",
        "Origin": f"http://127.0.0.1:{shown.port}",
        **headers,
    }


@pytest.mark.parametrize(
    "path", ["/", "/files/picture.js", "/_nicegui_ws/socket.io/?EIO=4&transport=polling", *WEBSOCKETS]
)
@pytest.mark.parametrize("wrong", ["token", "host", "origin"])
def test_a_foreign_request_is_refused(shown: Shown, wrong: str, path: str) -> None:
    """Without a token, for another host, or from another origin: on HTTP and on every WebSocket."""
    token = dict(part.split("=") for part in urlsplit(shown.operator).query.split("&"))["token"]
    headers = upgrade(shown) if path in WEBSOCKETS else {"Origin": f"http://127.0.0.1:{shown.port}"}
    port = shown.port
    headers |= {"Host": f"127.0.0.1:{port}", "Cookie": f"exmachina-{port}={token}"}
    if path == "/":
        assert asked(shown, path, **headers)[0] == 200
    headers |= {
        "token": {"Cookie": f"exmachina-{port}={token[:-1]}"},
        "host": {"Host": f"evil.example:{port}", "Origin": f"http://evil.example:{port}"},
        "origin": {"Origin": "http://evil.example"},
    }[wrong]
    status, text = asked(shown, path, **headers)
    assert status == 403
    if path not in WEBSOCKETS:
        assert text.count("\n") == 1


def test_a_wrong_token_says_how_to_get_a_right_one(shown: Shown) -> None:
    """In one line."""
    status, text = asked(shown, "/?token=wrong")
    assert (
        status == 403 and text.startswith("wrong token: ") and "coordinator dashboard" in text and text.count("\n") == 1
    )


def test_a_port_in_use_is_refused_with_another_one(shown: Shown) -> None:
    """In one line, with exit code 2."""
    other = shown.start_page(shown.port)
    assert other.end() == 2
    assert (
        other.said()
        == f"coordinator: port {shown.port} is in use on 127.0.0.1; choose another one: --port {shown.port + 1}\n"
    )


SCREENSHOTS = CHECKOUT / "build" / "screenshots"


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (390, 844)], ids=lambda size: "{}x{}".format(*size))
def test_the_page_fits_the_window(training: Watched, size: tuple[int, int]) -> None:
    """Laptop, projector and phone, light and dark: nothing is cut off sideways, and the network is seen without scrolling.

    The screenshots are kept for people.
    """
    page, (width, height) = training.page, size
    training.page.evaluate("exmachina.set('selected', 'hidden.1'); exmachina.save_changes()")
    panel = page.get_by_role("region", name="Selected neuron")
    panel.get_by_text(re.compile("activity = ")).first.wait_for()
    page.set_viewport_size({"width": width, "height": height})
    try:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            training.await_value(f"document.body.classList.contains('body--{scheme}')")
            page.evaluate("scrollTo(0, 0)")
            # The picture follows the window in its next frame.
            page.wait_for_function(
                "document.querySelector('#picture canvas').getBoundingClientRect().right <= document.body.clientWidth"
            )
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            canvas = page.locator("#picture canvas").first.bounding_box()
            assert canvas is not None
            assert canvas["x"] >= 0 and canvas["x"] + canvas["width"] <= width
            assert canvas["y"] >= 0 and canvas["y"] + canvas["height"] <= height
            SCREENSHOTS.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=SCREENSHOTS / f"dashboard-{width}x{height}-{scheme}.png")
    finally:
        page.set_viewport_size({"width": 1280, "height": 720})
        page.emulate_media(color_scheme="light", reduced_motion="no-preference")


def test_controls_have_names_and_the_text_has_contrast(training: Watched) -> None:
    """axe finds no serious fault; light and dark."""
    from axe_playwright_python.sync_playwright import Axe

    training.page.evaluate("exmachina.set('selected', 'hidden.1'); exmachina.save_changes()")
    training.page.get_by_role("region", name="Selected neuron").get_by_text(re.compile("activity = ")).first.wait_for()
    for scheme in ("light", "dark"):
        # Without transitions, the colours are the final ones at once.
        training.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        training.await_value(f"document.body.classList.contains('body--{scheme}')")
        found = Axe().run(training.page).response["violations"]
        serious = [
            (fault["id"], [node["html"][:160] for node in fault["nodes"]])
            for fault in found
            if fault["impact"] in ("serious", "critical")
        ]
        assert serious == [], scheme
    training.page.emulate_media(color_scheme="light", reduced_motion="no-preference")


@pytest.mark.slow
def test_a_stalled_browser_slows_nothing_and_costs_bounded_memory(
    training: Watched, shown: Shown, browser: Browser
) -> None:
    """It stops reading; the other page goes on, and the page's server does not store what it misses."""
    stalled = Watched(browser, shown.viewer)
    # The page's scripts stop, so nothing is confirmed or read.
    session = stalled.context.new_cdp_session(stalled.page)
    session.send("Debugger.enable")
    session.send("Debugger.pause")
    server = psutil.Process(shown.program.process.pid)
    programs = [server, *server.children(recursive=True)]
    training.page.evaluate("window.updates = 0; exmachina.on('change:numbers', () => { updates += 1; })")
    training.page.wait_for_function("updates > 5")
    before = sum(program.memory_info().rss for program in programs)
    training.page.wait_for_function("updates > 25")
    after = sum(program.memory_info().rss for program in programs)
    assert after - before < 8e6
    session.send("Debugger.resume")
    stalled.await_value(f"get('live').step > {training.value('live')['step']}")
    stalled.context.close()


def test_the_page_says_that_the_coordinator_is_gone_and_finds_it_again(training: Watched, shown: Shown) -> None:
    """After kill -9 of the coordinator, without a reload."""
    [coordinator], [supervisor] = (shown.bench.programs(name) for name in ("coordinator", "supervisor"))
    # It can't start another coordinator before the page has said that there is none.
    supervisor.suspend()
    coordinator.send_signal(signal.SIGKILL)
    training.page.locator(".state").get_by_text("coordinator absent").wait_for()
    training.await_value("get('live').state === 'absent'")
    supervisor.resume()
    training.await_value("get('live').state === 'training'")
    step = training.value("live")["step"]
    training.await_value(f"get('live').step > {step}")
    training.page.locator(".state").get_by_text("training", exact=True).wait_for()


def test_no_fault_and_no_request_to_another_host(training: Watched, shown: Shown) -> None:
    """In all that the tests above have done."""
    assert training.faults == []
    assert training.hosts == {f"127.0.0.1:{shown.port}"}


@pytest.mark.slow
def test_a_run_with_a_page_prints_its_address_and_keeps_it_open(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Until Ctrl-C, which ends the page and leaves the result of the run: exit code 0, and one JSON object."""
    bench = Bench(tmp_path, Path(tmp_path_factory.mktemp("s")))
    try:
        program = bench.learn("xor", "--hidden", "2", "--epochs", "20", "--dashboard")
        line = program.await_line("page for the operator  http://127.0.0.1:")
        address = urlsplit(line.split()[-1])
        program.await_line("the page stays open")
        connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=30)
        connection.request("GET", f"/?{address.query}")
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Location")) == (303, "/")
        connection.close()
        program.process.send_signal(signal.SIGINT)
        assert program.result()["epochs"] == 20
        bench.check_nothing_left()
    finally:
        bench.kill_all()


def test_without_nicegui_the_page_is_refused_with_what_to_install(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In one line, before a run begins."""
    bench = Bench(tmp_path, Path(tmp_path_factory.mktemp("s")))
    hidden = tmp_path / "sitecustomize.py"
    hidden.write_text(
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, package=None: None if name == 'nicegui' else find(name, package)\n"
    )
    environment = {"PYTHONPATH": f"{tmp_path}:{CHECKOUT}"}
    for command in (["dashboard"], ["learn", "xor", "--dashboard"]):
        program = bench.start("coordinator", *command, environment=environment)
        assert program.end() == 2
        assert (
            program.said()
            == "coordinator: the page needs NiceGUI; try: pip install 'exmachina[coordinator,dashboard]'\n"
        )
    assert not bench.runs.exists()

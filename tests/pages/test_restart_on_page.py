"""A visitor begins another run of a service on the live page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import chromium, needs_chromium
from tests.pages.test_dashboard import PATIENCE_MS, Watched
from tests.ports import free_ports
from tests.processes.programs import Bench, await_that
from tests.processes.test_serve_again import Service

pytest.importorskip("nicegui", reason="NiceGUI is not installed (pip install 'exmachina[dashboard]')")
pytestmark = [pytest.mark.processes, needs_chromium]


@pytest.fixture
def bench(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path, Path(tmp_path_factory.mktemp("s")))
    try:
        yield made
    finally:
        made.kill_all()


@pytest.mark.slow
def test_another_run_takes_the_place_of_the_first(bench: Bench) -> None:
    """With the hidden layers of a link: the page follows to the other network, whose neurons the same programs are, and draws it
    without a fault. A setting that can't be is refused in one line, and the present run goes on.
    """
    service = Service(bench)
    program = service.serve("xor", "--hidden", "2", "--epochs", "1000000", "--start-again")
    service.await_snapshots()
    page = bench.start("coordinator", "dashboard", "--port", str(free_ports(1)[0]))
    addresses = await_that(
        lambda: re.findall(r"^operator +(\S+)$", page.stdout.read_text(), re.MULTILINE), "an address"
    )
    with chromium() as browser:
        watched = Watched(browser, addresses[0])
        watched.page.set_default_timeout(PATIENCE_MS)
        watched.await_value("get('network')?.layers.join() === '2,2,1'")
        watched.click("Begin another run with other settings")
        dialog = watched.page.get_by_role("dialog")
        dialog.get_by_label("Epochs").fill("none")
        dialog.get_by_role("button", name="Begin", exact=True).click()
        watched.await_said("--epochs must be a whole number")
        dialog.wait_for(state="hidden")
        watched.page.goto(f"{watched.page.url.split('?')[0]}?hidden=4&select=hidden.3")
        watched.page.locator(".offer").get_by_text("The link is for another run: hidden layers 4.").wait_for()
        watched.page.get_by_text("The present run has no neuron hidden.3.").wait_for()
        watched.page.get_by_role("button", name="Begin a run with the settings of the link").click()
        assert dialog.get_by_label("Hidden layers").input_value() == "4"
        dialog.get_by_role("button", name="Begin", exact=True).click()
        watched.await_said("the run xor-2 begins: xor 2-4-1; the network has 7 groups, and 6 nodes are present")
        watched.await_value("get('network')?.layers.join() === '2,4,1' && get('live')?.source === 'training'")
        watched.page.wait_for_selector("#picture canvas")
        watched.page.locator(".offer").wait_for(state="hidden")
        watched.page.wait_for_url(re.compile(r"/\?dataset=xor&hidden=4&.*&select=hidden\.3$"))
        watched.page.get_by_role("region", name="Selected neuron").get_by_text("hidden.3").first.wait_for()
        watched.await_value("get('selected') === 'hidden.3'")

        assert not watched.faults
        watched.context.close()
    program.await_line("the run xor-2 was begun by `coordinator restart`")
    assert program.process.poll() is None and [node.process.poll() for node in service.nodes] == [None] * 6

"""The module of the picture in a real browser: its arithmetic, and a report that is used with mouse and keys.

Chromium opens the report as a file. A request to any other place fails the test, and so does an error of the page.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from coordinator.page.report import write_report
from coordinator.page.resources import resource
from coordinator.verify.textbook import Textbook
from tests.browser import chromium, needs_chromium
from tests.drawn_runs import drawn_run
from tests.networks import settings_of
from tests.pictures import network_state

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = needs_chromium
SIZES = {"desk": (1280, 720), "phone": (390, 844)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def module(browser: Browser) -> Iterator[Callable[..., Any]]:
    """Calls a function of the modules with plain arguments."""
    page = browser.new_page()
    page.set_content("<title>the module</title>")
    page.evaluate(
        "async (source) => { window.them = await import(URL.createObjectURL(new Blob([source], { type: 'text/javascript' }))); }",
        resource("picture.js") + resource("report.js"),
    )

    def call(expression: str, *arguments: Any) -> Any:
        return page.evaluate(
            f"(given) => {{ const m = window.them; return ({expression})(...given); }}", list(arguments)
        )

    yield call
    page.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with reports of runs on digits, spiral and iris, and of a large network."""
    folder = tmp_path_factory.mktemp("reports")
    for dataset, steps, every, hidden in (("digits", 60, 10, (12,)), ("spiral", 40, 10, (8, 4)), ("iris", 20, 5, (5,))):
        directory = drawn_run(folder / dataset, steps, every, dataset=dataset, hidden=list(hidden))
        write_report(directory, folder / f"{dataset}.html")
    return folder


@pytest.fixture
def opened(browser: Browser, folder: Path) -> Iterator[Callable[..., Page]]:
    """Opens a report; afterwards, no page has had an error or asked for anything but its own file."""
    faults: list[str] = []
    contexts = []

    def open_report(name: str, size: str = "desk", scheme: Any = "light") -> Page:
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        page.on(
            "request",
            lambda request: None if request.url.startswith(("file:", "data:")) else faults.append(request.url),
        )
        page.goto((folder / f"{name}.html").as_uri())
        page.wait_for_selector("#picture canvas")
        return page

    yield open_report
    for context in contexts:
        context.close()
    assert faults == []


def pixels(page: Page) -> str:
    """The content of the canvas."""
    found: str = page.evaluate("document.querySelector('.exm-stage canvas').toDataURL()")
    return found


@pytest.mark.parametrize("activation", ["logistic", "tanh", "relu", "identity"])
def test_activities_are_those_of_the_textbook(module: Callable[..., Any], activation: str) -> None:
    """Each activity equals that of the textbook within 16 bits, for every activation, layer and sample."""
    layers = (5, 4, 3, 2)
    state, parameters, data = network_state(layers, hidden_activation=activation)
    book = Textbook(settings_of(layers, hidden_activation=activation), 0)
    book.biases, book.weights = list(parameters.biases), list(parameters.weights)
    for sample in range(len(data.test_inputs)):
        found = module(
            """(state, sample) => {
              const parameters = m.decodeSnapshot(state.network, m.bytesOf(state.numbers), 0, state.snapshots[0].peaks);
              const row = m.rowOf(state.network, m.bytesOf(state.rows), sample);
              return m.forward(state.network, parameters, row).activities.map((layer) => Array.from(layer));
            }""",
            state,
            sample,
        )
        for layer, expected in zip(found, book.forward(data.test_inputs[sample : sample + 1]), strict=True):
            assert np.allclose(layer, expected[0], atol=1e-3)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0.0000"),
        (-0.44104, "−0.4410"),
        (12.345, "12.35"),
        (-0.00001, "0.0000"),
        (1234.5, "1235"),
        (-2.5e7, "−2.5e+7"),
        (None, "–"),
    ],
)
def test_numbers_are_shown_with_four_digits(module: Callable[..., Any], number: float | None, text: str) -> None:
    """A negative number has a minus sign, and zero has none."""
    assert module("(number) => m.shown(number)", number) == text


def test_formula_has_the_numbers_of_step_two(module: Callable[..., Any]) -> None:
    """The formula shows the sum of the signals, the bias and the activity."""
    text = module(
        """() => {
          const network = { layers: [1, 1], shapes: [[1, 1]], activations: ["identity", "logistic"] };
          const parameters = { biases: [[0], [-0.441]], weights: [[-1.2073]] };
          const passed = m.forward(network, parameters, [1]);
          return [m.formulaOf(network, parameters, passed, 1, 0), m.formulaOf(network, parameters, passed, 0, 0)];
        }"""
    )
    assert text == ["activity = logistic(−1.207 + −0.4410) = 0.1613", "activity = input = 1.000"]


def test_strong_synapses_stand_out(module: Callable[..., Any]) -> None:
    """Width and alpha rise with |weight|: a synapse of half the weight has less than a third of the alpha."""
    strokes = module("() => [0, 0.1, 0.25, 0.5, 0.75, 1, -1].map((share) => m.strokeOf(share))")
    for name in ("width", "alpha"):
        values = [stroke[name] for stroke in strokes]
        assert values[:6] == sorted(set(values[:6])) and values[5] == values[6]
    assert strokes[3]["alpha"] < strokes[5]["alpha"] / 3


def test_lines_are_drawn_in_order_of_strength(module: Callable[..., Any]) -> None:
    """Each line is drawn once, and the strongest last, so that no weaker line covers it."""
    shares = [((number * 37) % 201 - 100) / 100 for number in range(201) if (number * 37) % 201 != 100]
    groups = module("(shares) => m.levelsOf(shares.map((share) => ({ share })))", shares)
    assert sorted(line["share"] for _, lines in groups for line in lines) == sorted(shares)
    assert [abs(level) for level, _ in groups] == sorted(abs(level) for level, _ in groups)
    for level, lines in groups:
        assert all(0 <= abs(level) - abs(line["share"]) < 1 / 24 + 1e-9 and level * line["share"] > 0 for line in lines)


@pytest.mark.parametrize("dark", [False, True])
def test_signs_differ_without_hue(module: Callable[..., Any], dark: bool) -> None:
    """Blue and orange stay apart for all three kinds of colour blindness; both stand out from the background."""
    colours = module("(dark) => m.palette(dark)", dark)
    # Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency" (2009).
    blind = {
        "protanopia": [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        "deuteranopia": [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
        "tritanopia": [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ],
    }
    positive, negative, back = (np.array(colours[name]) / 255 for name in ("positive", "negative", "back"))
    for matrix in map(np.array, blind.values()):
        assert np.linalg.norm(matrix @ (positive - negative)) > 0.5
        assert min(np.linalg.norm(matrix @ (colour - back)) for colour in (positive, negative)) > 0.4
    assert (
        min(contrast(colours[name], colours["back"]) for name in ("ink", "soft", "positive", "negative", "wrong"))
        >= 4.4
    )


def contrast(one: list[int], other: list[int]) -> float:
    """The contrast of the Web Content Accessibility Guidelines."""

    def luminance(colour: list[int]) -> float:
        linear = [
            share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
            for share in (part / 255 for part in colour)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("width", "height"), [(760, 440), (358, 360), (1200, 600)])
@pytest.mark.parametrize("layers", [(64, 12, 10), (4, 8, 3), (2, 8, 6, 1), (256, 8, 10), (4, 40, 30, 20, 3)], ids=str)
def test_no_neuron_hides_another(module: Callable[..., Any], layers: tuple[int, ...], width: int, height: int) -> None:
    """Every neuron has a place inside the canvas, and no two overlap."""
    state, _, _ = network_state(layers)
    if layers[0] in {64, 256}:
        side = int(layers[0] ** 0.5)
        state["network"]["image"] = [side, side]
    places = module("(network, width, height) => m.layout(network, width, height)", state["network"], width, height)
    boxes = [box for layer in places["boxes"] for box in layer]
    assert [len(layer) for layer in places["boxes"]] == list(layers)
    for number, box in enumerate(boxes):
        assert (
            box["x"] >= 0
            and box["y"] >= 0
            and box["x"] + box["w"] <= width + 0.01
            and box["y"] + box["h"] <= height + 0.01
        )
        for other in boxes[number + 1 :]:
            apart_x = box["x"] + box["w"] <= other["x"] + 0.01 or other["x"] + other["w"] <= box["x"] + 0.01
            apart_y = box["y"] + box["h"] <= other["y"] + 0.01 or other["y"] + other["h"] <= box["y"] + 0.01
            assert apart_x or apart_y


def test_axis_has_round_numbers(module: Callable[..., Any]) -> None:
    """The round numbers lie within the axis, at equal distances."""
    assert module("() => m.ticks(0, 1080, 6)") == [0, 200, 400, 600, 800, 1000]
    assert module("() => m.ticks(0, 0.53, 5)") == [0, 0.2, 0.4]
    assert module("() => m.ticks(0.4, 1, 5)") == [0.4, 0.6, 0.8, 1]


@pytest.mark.parametrize(
    ("name", "size", "scheme"),
    [
        ("digits", "desk", "light"),
        ("digits", "phone", "dark"),
        ("spiral", "desk", "dark"),
        ("spiral", "phone", "light"),
        ("iris", "phone", "light"),
    ],
)
def test_report_is_drawn(opened: Callable[..., Page], name: str, size: str, scheme: str) -> None:
    """The canvas is not blank, nothing is wider than the screen, and text and curves are there."""
    page = opened(name, size, scheme)
    colours = page.evaluate(
        """() => { const c = document.querySelector(".exm-stage canvas");
          return new Set(new Uint32Array(c.getContext("2d").getImageData(0, 0, c.width, c.height).data.buffer)).size; }"""
    )
    assert colours > 200
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("#loss path.held").count() == page.locator("#accuracy path.held").count() == 1
    assert page.locator("#loss path.mark").count() == 1
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (back == "rgb(16, 20, 27)") == (scheme == "dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault(opened: Callable[..., Page], scheme: str) -> None:
    """The check runs with all synapses, and with a selected neuron."""
    from axe_playwright_python.sync_playwright import Axe

    page = opened("digits", "desk", scheme)
    page.locator(".exm-stage canvas").focus()
    for key in ("ArrowDown", "Enter"):
        page.keyboard.press(key)
        found = Axe().run(page).response["violations"]
        assert [(fault["impact"], fault["id"], fault["nodes"][0]["html"]) for fault in found] == []


@pytest.mark.parametrize("dark", [False, True])
def test_cells_of_the_matrix_are_legible(module: Callable[..., Any], dark: bool) -> None:
    """Every count has the contrast that the guidelines ask for; a rare one has a colour too."""
    for right in (True, False):
        for count in (1, 2, 5, 10, 20, 50, 99, 100):
            colours = module("(count, right, dark) => m.cellColours(count, 100, right, dark)", count, right, dark)
            back = [int(part) for part in colours["back"].removeprefix("rgb(").rstrip(")").split(",")]
            assert contrast(back, [0, 0, 0] if colours["ink"] == "#000" else [255, 255, 255]) >= 4.5
            assert back != module("(dark) => m.palette(dark).zero", dark)


def test_slider_shows_another_snapshot(opened: Callable[..., Page]) -> None:
    """Picture, words, cursor of the curves and confusion matrix change with it."""
    page = opened("digits")
    before = (
        pixels(page),
        page.inner_text(".exm-bar output"),
        page.inner_text("#matrix"),
        page.get_attribute("#loss .now", "x1"),
    )
    page.locator(".exm-bar input").focus()
    page.keyboard.press("Home")
    after = (
        pixels(page),
        page.inner_text(".exm-bar output"),
        page.inner_text("#matrix"),
        page.get_attribute("#loss .now", "x1"),
    )
    assert all(old != new for old, new in zip(before, after, strict=True))
    assert after[1].startswith("before the first step")
    page.keyboard.press("End")
    assert pixels(page) == before[0]


def test_training_plays(opened: Callable[..., Page]) -> None:
    """Play shows the snapshots from the first to the last, and stops there."""
    page = opened("iris")
    # The first snapshot may be shown for less time than a look takes.
    page.evaluate(
        """() => {
          window.told = [];
          const output = document.querySelector(".exm-bar output");
          new MutationObserver(() => told.push(output.textContent)).observe(output, { childList: true });
        }"""
    )
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("told.some((text) => text.startsWith('before the first step'))")
    page.get_by_role("button", name="Play").wait_for()
    assert page.evaluate(
        "document.querySelector('.exm-bar input').value === document.querySelector('.exm-bar input').max"
    )


def test_pointer_shows_numbers_and_click_selects(opened: Callable[..., Page]) -> None:
    """The numbers beside a neuron are its own; after a click, only its synapses are drawn."""
    page = opened("digits")
    before = pixels(page)
    box = page.locator(".exm-stage canvas").bounding_box()
    assert box is not None
    found = None
    for y in range(60, int(box["height"]), 20):
        page.mouse.move(box["x"] + box["width"] * 0.51, box["y"] + y)
        if page.locator(".exm-tip").is_visible():
            found = page.inner_text(".exm-tip")
            page.mouse.click(box["x"] + box["width"] * 0.51, box["y"] + y)
            break
    assert (
        found is not None
        and found.startswith("hidden.")
        and "activity = logistic(" in found
        and "64 synapses in" in found
    )
    page.mouse.move(0, 0)
    assert page.inner_text(".exm-panel h2") == found.split("\n")[0] and pixels(page) != before
    assert page.locator(".exm-panel table").count() == 2
    page.get_by_role("button", name="Show all synapses").click()
    assert pixels(page) == before


def test_keys_reach_every_neuron(opened: Callable[..., Page]) -> None:
    """Arrows go from neuron to neuron and say its name, Enter selects, Escape clears."""
    page = opened("iris")
    page.locator(".exm-stage canvas").focus()
    said = []
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowUp"):
        page.keyboard.press(key)
        said.append(page.inner_text("[aria-live]").split(" ")[0].rstrip("."))
    assert said[:2] == ["hidden.0", "hidden.1"] and said[2].startswith("output.") and said[3].startswith("hidden.")
    assert said[4] == said[5] and said[4].startswith("input.") and said[6].startswith("input.")
    page.keyboard.press("Enter")
    assert page.inner_text(".exm-panel h2").startswith(said[6])
    page.keyboard.press("Escape")
    assert page.inner_text(".exm-panel h2") == "How to read it"


def test_another_sample_changes_the_activities(opened: Callable[..., Page]) -> None:
    """After a click on a sample, its picture is the input, and the sample is marked."""
    page = opened("digits")
    before = pixels(page)
    button = page.locator(".exm-more button").nth(3)
    button.click()
    assert button.get_attribute("aria-pressed") == "true" and pixels(page) != before


def test_curve_leads_to_a_snapshot(opened: Callable[..., Page]) -> None:
    """A click near the left end of a curve shows an early snapshot."""
    page = opened("digits")
    page.locator("#loss svg").click(position={"x": 110, "y": 60})
    assert page.inner_text(".exm-bar output").startswith("step 10 ")


def test_link_shows_what_was_shown(opened: Callable[..., Page]) -> None:
    """The address follows step, sample and neuron; opened again, it shows the same. A wrong link is no link."""
    page = opened("iris")
    page.locator(".exm-bar input").first.focus()
    page.keyboard.press("Home")
    page.get_by_role("button", name="Next sample").click()
    page.locator(".exm-stage canvas").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**#step=0&sample=2&neuron=hidden.0")
    page.keyboard.press("Escape")
    page.wait_for_url("**#step=0&sample=2")
    page.evaluate("location.hash = '#step=0&sample=2&neuron=hidden.0'")
    page.locator(".exm-panel h2", has_text="hidden.0").wait_for()
    page.reload()
    page.wait_for_selector("#picture canvas")
    assert page.inner_text(".exm-panel h2") == "hidden.0" and page.inner_text(".exm-bar output").startswith(
        "before the first step"
    )
    assert "sample 2 of" in page.inner_text(".exm-more")


@pytest.mark.parametrize(
    "link", ["", "#", "#step=x&sample=0&neuron=hidden.9", "#step=-1&sample=7.5", "#neuron=constructor.0"]
)
def test_wrong_link_changes_nothing(module: Callable[..., Any], link: str) -> None:
    """A link with a wrong step, an unknown sample or an unknown neuron shows the default view."""
    state, _, _ = network_state((4, 3, 2))
    values = module("(link, s) => m.linkedValues(link, s.network, s.snapshots, s.samples)", link, state)
    assert values == {}


def drawn(browser: Browser, state: dict[str, Any]) -> Page:
    """Open a page with one picture; `model` is its model."""
    page = browser.new_page()
    page.set_content("<div id=here></div>")
    page.evaluate(
        """async ([source, state]) => {
          const m = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
          window.model = new m.PlainModel(state);
          m.render({ model, el: document.getElementById("here") });
        }""",
        [resource("picture.js") + resource("report.js"), state],
    )
    page.wait_for_function("document.querySelector('.exm-stage canvas').width > 300")
    return page


def test_network_of_many_synapses_is_drawn_as_images(browser: Browser) -> None:
    """There is one image per layer pair: a pixel tells its weight, a click selects the receiving neuron, and the image can be enlarged."""
    state, parameters, _ = network_state((400, 90, 10))
    page = drawn(browser, state)
    box = page.evaluate(
        """() => { const c = document.querySelector(".exm-stage canvas"); return { w: c.clientWidth, h: c.clientHeight }; }"""
    )
    canvas = page.locator(".exm-stage canvas")
    canvas.hover(position={"x": box["w"] * 0.27, "y": box["h"] * 0.5})
    title, weight = page.inner_text(".exm-tip").split("\n")
    sender, receiver = (int(name.split(".")[1]) for name in title.split(" → "))
    expected = parameters.weights[0][sender, receiver]
    assert title.startswith("input.") and abs(float(weight.split(" ")[1].replace("−", "-")) - expected) < 1e-3
    before = pixels(page)
    canvas.click(position={"x": box["w"] * 0.27, "y": box["h"] * 0.5})
    assert page.inner_text(".exm-panel h2") == f"hidden.{receiver}" and pixels(page) != before
    page.keyboard.press("Escape")
    assert page.inner_text(".exm-panel h2") == "How to read it" and pixels(page) == before
    page.get_by_role("button", name="Zoom in").click()
    assert pixels(page) != before
    page.get_by_role("button", name="Show all").click()
    page.mouse.move(0, 0)
    assert pixels(page) == before
    page.close()


def test_zoom_keeps_the_point_under_the_pointer(module: Callable[..., Any]) -> None:
    """The enlarged picture covers the canvas, and is at most 40 times as large."""
    zoom = module("() => m.zoomed({ scale: 1, x: 0, y: 0 }, 2, 300, 100, 800, 400)")
    assert zoom == {"scale": 2, "x": -300, "y": -100}
    assert module("(zoom) => m.zoomed(zoom, 1e-9, 0, 0, 800, 400)", zoom) == {"scale": 1, "x": 0, "y": 0}
    assert module("(zoom) => m.zoomed(zoom, 1e9, 0, 0, 800, 400)", zoom)["scale"] == 40


def test_pixel_of_a_pooled_image_names_its_block(browser: Browser, module: Callable[..., Any]) -> None:
    """Every neuron lies in one block, as when the weights were pooled."""
    state, _, _ = network_state((784, 600, 600, 10))
    assert state["network"]["pooled"] and len(state["numbers"]) < 200_000
    page = drawn(browser, state)
    assert "too large" in page.inner_text(".exm-note") and "one pixel per synapse" in page.inner_text(".exm-panel")
    page.close()
    for size in (784, 600, 97):
        blocks = module("(size) => Array.from({ length: 96 }, (_, i) => m.blockOf(i, 96, size))", size)
        edges = np.arange(97) * size // 96
        assert blocks == [[low, high - 1] for low, high in itertools.pairwise(edges.tolist())]


def test_report_of_numbers_has_a_scatter(browser: Browser, tmp_path: Path, folder: Path) -> None:
    """Targets that are numbers have no accuracy and no classes."""
    table = tmp_path / "table.csv"
    rows = [f"{number % 7},{number % 5},{number % 7 * 1.5 - number % 5}" for number in range(100)]
    table.write_text("\n".join(["a,b,c", *rows]) + "\n", encoding="utf-8")
    directory = drawn_run(tmp_path, 20, 10, dataset=str(table), target="c", target_kind="numbers", epochs=2)
    path = write_report(directory, tmp_path / "numbers.html").path
    page = browser.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("#matrix svg")
    assert page.locator("#matrix circle").count() == 20 and page.locator("#accuracy").count() == 0
    page.close()

"""The module of the picture on a live page: real numbers, the pad, slow motion, and why a weight changed.

A fake model pushes the values that a page receives. Its numbers are those of neurons that ran in memory.
"""

from __future__ import annotations

import base64
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from coordinator.page.resources import resource
from coordinator.page.widget import state_of
from coordinator.trace.explaining import explain_neuron, explain_weight
from neuron_node.wording import shown, steps_of
from tests.browser import chromium, needs_chromium
from tests.drawn_runs import drawn_run
from tests.networks import numbers
from tests.pictures import HOST, SETUP, base64_floats, live_values, network_state, pixel_state, traced

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = needs_chromium
CANVAS = ".exm-stage canvas"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def empty(browser: Browser) -> Iterator[Page]:
    """A page with the module, without a picture."""
    page = browser.new_page()
    page.set_content(HOST)
    page.evaluate(SETUP, resource("picture.js") + resource("report.js"))
    yield page
    page.close()


@pytest.fixture
def module(empty: Page) -> Callable[..., Any]:
    """Calls a function of the module with plain arguments."""
    return lambda expression, *given: empty.evaluate(f"(given) => ({expression})(...given)", list(given))


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page with one picture; afterwards, no page has had an error."""
    faults: list[str] = []
    contexts = []

    def open_page(state: dict[str, Any], width: int = 1280, height: int = 720, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.set_content(HOST)
        page.evaluate(SETUP, resource("picture.js") + resource("report.js"))
        page.evaluate("async (state) => { show(state); await drawn(); }", state)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def pixels(page: Page) -> str:
    """The content of the canvas, after the next frame."""
    found: str = page.evaluate(
        "async () => { await drawn(); return document.querySelector('.exm-stage canvas').toDataURL(); }"
    )
    return found


def live_state(layers: tuple[int, ...] = (4, 3, 2), **facts: Any) -> dict[str, Any]:
    """Return the state of a live page that shows a pass of the network."""
    return {**network_state(layers)[0], **live_values(traced(layers), **facts), "sample": -1}


def place_of(page: Page, layer: int, index: int) -> Any:
    """The middle of a neuron on the canvas."""
    return page.evaluate(
        """([layer, index]) => {
          const c = document.querySelector(".exm-stage canvas");
          const box = m.layout(model.get("network"), c.clientWidth, c.clientHeight).boxes[layer][index];
          return { x: box.x + Math.min(box.w / 2, 8), y: box.y + box.h / 2 };
        }""",
        [layer, index],
    )


def test_numbers_are_those_of_trace(module: Callable[..., Any]) -> None:
    """Numbers in formulas are written by page and command alike."""
    tried = [0.0, -0.0, 1.0, -3.0, 1e9, 1.5e12, -2e-5, 1e-4, 9.9e-5, 0.05, 123.456, -0.44104, 1e-12, 999999.5]
    tried += [*numbers("a", 1, 100)[0], *(numbers("b", 1, 100)[0] ** 9), *(numbers("c", 1, 100)[0] * 1e6)]
    assert module("(all) => all.map((one) => m.exact(one))", tried) == [shown(number) for number in tried]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"loss": "cross_entropy", "hidden_activation": "tanh"},
        {"hidden_activation": "relu", "output_activation": "identity"},
        {"input_activation": "logistic", "input_bias": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("layers", [(5, 6, 3), (1, 1, 1, 1)], ids=str)
def test_steps_are_told_as_by_trace(
    module: Callable[..., Any], layers: tuple[int, ...], changes: dict[str, Any]
) -> None:
    """The nine steps of every neuron have the words and numbers of `coordinator trace`."""
    record = traced(layers, **changes)
    record["neurons"][-2]["silent"] = True
    for facts in record["neurons"]:
        found = module("(facts) => [1, 2, 3, 4, 5, 6, 7, 8, 9].map((step) => m.stepLines(facts, step))", facts)
        expected = [[line.text for line in steps_of(facts) if line.step == step] for step in range(1, 10)]
        assert found == expected


def test_change_is_explained_as_by_explain(module: Callable[..., Any]) -> None:
    """Each weight and each bias of a step with one row has the sentences of `coordinator explain`."""
    layers = (3, 4, 2)
    state, record = network_state(layers)[0], traced(layers)
    step = {**live_values(record)["live"], "moment": ""}
    for facts in record["neurons"]:
        known = {
            **{name: facts[name] for name in ("neuron", "bias_gradient")},
            "step": 17,
            "pass": 20,
            "rows": 1,
            "bias_before": facts["bias"],
            "bias": facts["bias_after"],
            "last_activity": facts["activity"],
            "last_error": facts["error"],
            "steps": {"learning_rate": facts["learning_rate"], "bias_learned": True},
            "axon": [
                {"neuron": one["to"], "before": one["weight"], "weight": one["after"]}
                | {name: one[name] for name in ("gradient", "error")}
                for one in facts["axon"]
            ],
        }
        layer, index = facts["layer"], int(facts["neuron"].split(".")[1])
        places = [{"layer": layer, "from": index, "to": to} for to in [None, *range(len(facts["axon"]))]]
        found = module(
            """(network, record, gradients, live, places) => {
              const { parameters, passed } = m.tracedOf(network, record);
              return places.map((place) => m.whyOf(network, parameters, m.gradientsOf(network, gradients), passed, live, place));
            }""",
            state["network"],
            record,
            live_values(record)["weights_change"],
            step,
            places,
        )
        if layer:
            assert found[0] == explain_neuron({**known, "axon": []})
        assert found[1:] == [explain_weight(known, one["to"]) for one in facts["axon"]]


def test_change_of_a_batch_is_a_mean(module: Callable[..., Any]) -> None:
    """With several rows, the gradient is a mean, and the product is said to be that of the row shown."""
    state, record = network_state((3, 4, 2))[0], traced((3, 4, 2))
    values = live_values(record, rows=16)
    sentences = module(
        """(network, record, change, live) => {
          const { parameters, passed } = m.tracedOf(network, record);
          const gradients = m.gradientsOf(network, change);
          gradients.weights[1][0] = 0;
          return m.whyOf(network, parameters, gradients, passed, live, { layer: 1, from: 0, to: 0 });
        }""",
        state["network"],
        record,
        values["weights_change"],
        values["live"],
    )
    error, activity = (record["neurons"][index][name][0] for index, name in ((7, "error"), (3, "activity")))
    assert sentences[0].startswith("In step 17 (pass 20, 16 rows) the weight from hidden.0 to output.0 changed from ")
    assert sentences[2] == (
        "The gradient is the mean of the error of output.0 × the activity of hidden.0 over all rows = 0; "
        f"in the row shown: {shown(error)} × {shown(activity)} = {shown(error * activity)}."
    )
    assert sentences[3].startswith("A gradient of 0 means")


def test_real_numbers_are_read_in_order(module: Callable[..., Any]) -> None:
    """Sums, activities and errors are those of each neuron; bytes of another length are no numbers."""
    network, record = network_state((4, 3, 2))[0]["network"], traced((4, 3, 2))
    values = live_values(record)
    read = """(network, bytes) => {
      const found = m.passedOf(network, bytes);
      return found && [found.sums, found.activities, found.errors].map((block) => block.map((layer) => [...layer]));
    }"""
    found = module(read, network, values["passed"])
    for blocks, name in zip(found, ("sum", "activity", "error"), strict=True):
        expected = [facts[name][0] for facts in record["neurons"]]
        assert [len(block) for block in blocks] == [4, 3, 2]
        assert np.allclose(list(itertools.chain(*blocks)), expected, rtol=1e-6)
    assert module(read, network, base64_floats([0.0] * 26)) is None
    assert module(read, network, None) is None and module(read, network, "") is None


@pytest.mark.parametrize("layers", [(5, 6, 3), (2, 3, 3, 1), (4, 2)], ids=str)
def test_moments_are_whole_and_in_causal_order(module: Callable[..., Any], layers: tuple[int, ...]) -> None:
    """Each message travels once, each neuron does nine steps in order, and nothing begins before its causes have ended."""
    state, record = network_state(layers)[0], traced(layers)
    moments = module("(network, record) => m.momentsOf(network, record)", state["network"], record)
    messages = [moment for moment in moments if moment["what"] != "step"]
    assert [one["number"] for one in messages] == [one["number"] for one in record["messages"]]
    assert [one["begin"] for one in moments] == sorted(one["begin"] for one in moments)
    assert all(one["begin"] < one["end"] for one in moments)
    steps: dict[str, dict[int, dict[str, Any]]] = {}
    for one in moments:
        if one["what"] == "step":
            steps.setdefault(one["facts"]["neuron"], {})[one["step"]] = one
    assert {name: list(done) for name, done in steps.items()} == {
        facts["neuron"]: list(range(1, 10)) for facts in record["neurons"]
    }
    for done in steps.values():
        assert all(done[step]["end"] <= done[step + 1]["begin"] for step in range(1, 9))
    forward = {"input", "signal", "output"}
    for one in messages:
        if one["sender"] in steps:
            assert steps[one["sender"]][4 if one["what"] in forward else 7]["end"] <= one["begin"]
        if one["receiver"] in steps:
            assert one["end"] <= steps[one["receiver"]][1 if one["what"] in forward else 5]["begin"]
    # Those of one beat are one kind of moment of one layer.
    for _, some in itertools.groupby(moments, lambda one: one["beat"]):
        assert len({(one["what"], one.get("step"), (one["to"] or one["from"])["layer"]) for one in some}) == 1


def ink_by_numpy(side: int, strokes: list[list[list[float]]], tall: float, wide: float, stretch: bool) -> Any:
    """The share of each pixel that a round pen covers, measured at 4 × 4 points of it."""
    pen, fine = 0.065, 4
    points = np.array([point for stroke in strokes for point in stroke])
    low, high = points.min(axis=0), points.max(axis=0)
    fits = (np.array([wide, tall]) - 2 * pen) / np.maximum(high - low, 1e-3)
    least = min(4.0, *fits)
    grow = np.minimum(fits, 4 * least) if stretch else np.array([least, least])
    centres = (np.arange(side * fine) + 0.5) / (side * fine)
    x, y = np.meshgrid(centres, centres)
    covered = np.zeros_like(x, dtype=bool)
    for stroke in strokes:
        placed = (np.array(stroke) - (low + high) / 2) * grow + 0.5
        for start, end in zip(
            placed[:-1] if len(placed) > 1 else placed, placed[1:] if len(placed) > 1 else placed, strict=True
        ):
            along = ((x - start[0]) * (end - start)[0] + (y - start[1]) * (end - start)[1]) / (
                ((end - start) ** 2).sum() or 1.0
            )
            nearest = start[:, None, None] + np.clip(along, 0, 1) * (end - start)[:, None, None]
            covered |= np.hypot(x - nearest[0], y - nearest[1]) <= pen
    return covered.reshape(side, fine, side, fine).mean(axis=(1, 3))


@pytest.mark.parametrize("side", [8, 16])
@pytest.mark.parametrize(
    "fill", [{"tall": 1.0, "wide": 0.75, "stretch": False}, {"tall": 1.0, "wide": 1.0, "stretch": True}], ids=str
)
@pytest.mark.parametrize(
    "strokes",
    [
        [[[0.3, 0.2], [0.7, 0.25], [0.45, 0.9]]],
        [[[0.5, 0.1], [0.52, 0.3]], [[0.1, 0.15], [0.3, 0.3], [0.2, 0.1]]],
        [[[0.2, 0.9]]],
        [[[0.5, 0.2], [0.5, 0.8]]],
        [[[0.1, 0.5], [0.9, 0.5]]],
    ],
)
def test_drawing_is_scaled_and_centred(
    module: Callable[..., Any], side: int, fill: dict[str, Any], strokes: Any
) -> None:
    """The ink of each pixel is the share that the pen covers, after the drawing was enlarged and moved to the middle."""
    network = {"image": [side, side]}
    found = module(
        "(n, strokes, fill) => Array.from(m.inkUnder(n, strokes, fill))", network, strokes, {**fill, "sharp": False}
    )
    expected = ink_by_numpy(side, strokes, **fill)
    # A point just on the edge of the pen may count either way.
    assert np.abs(np.array(found).reshape(side, side) - expected).max() <= 2 / 16 and 0 < np.mean(found) < 0.6
    assert np.mean(np.abs(np.array(found).reshape(side, side) - expected)) < 0.002
    sharp = module(
        "(n, strokes, fill) => Array.from(m.inkUnder(n, strokes, fill))", network, strokes, {**fill, "sharp": True}
    )
    assert sharp == [float(share >= 0.5) for share in found]


def glyphs(side: int, left: int, right: int, ink: list[float]) -> Any:
    """Pictures that are as tall as their square, and have ink from column left to right."""
    rows = np.zeros((6, side, side))
    for number in range(6):
        rows[number, :, left : right + 1] = ink[number % len(ink)]
    rows[:, 3, 3:5] = 0.0
    return rows.reshape(6, -1)


def test_samples_tell_how_a_drawing_fills_its_square(module: Callable[..., Any]) -> None:
    """Of pictures that all fill the width, narrow drawings are stretched; of pictures without grey, a drawing has none."""
    fill = "(s) => m.fillOf(s.network, m.bytesOf(s.rows), s.samples.length)"
    narrow = module(fill, pixel_state(8, glyphs(8, 2, 5, [16.0, 9.0])))
    assert narrow == {"tall": 1, "wide": 0.5, "stretch": False, "sharp": False}
    full = module(fill, pixel_state(8, glyphs(8, 0, 7, [16.0])))
    assert full == {"tall": 1, "wide": 1, "stretch": True, "sharp": True}
    state = pixel_state(8, glyphs(8, 2, 5, [16.0]))
    ink = [share / 64 for share in range(64)]
    row = module("(n, ink) => Array.from(m.inputsOf(n, ink))", state["network"], ink)
    assert np.allclose(row, ink, atol=1e-4)
    assert np.allclose(
        module("(n, row) => row.map((v, i) => m.pixelShare(n, v, i))", state["network"], row), ink, atol=1e-4
    )


def bow(x: float, y: float, wide: float, tall: float, start: float, end: float) -> list[list[float]]:
    """A part of an ellipse around x, y, from one angle to another in degrees."""
    angles = np.radians(np.linspace(start, end, 17))
    return [[x + wide * math.cos(angle), y + tall * math.sin(angle)] for angle in angles]


WRITTEN = {
    "0": [bow(0.5, 0.5, 0.22, 0.35, 0, 360)],
    "2": [[*bow(0.5, 0.32, 0.2, 0.17, 180, 400), [0.3, 0.85], [0.72, 0.85]]],
    "3": [[*bow(0.48, 0.33, 0.18, 0.17, 200, 450), *bow(0.48, 0.67, 0.2, 0.18, 270, 520)]],
    "4": [[[0.58, 0.85], [0.58, 0.15], [0.28, 0.6], [0.75, 0.6]]],
    "5": [[[0.7, 0.15], [0.35, 0.15], [0.33, 0.45], *bow(0.48, 0.63, 0.2, 0.2, 250, 500)]],
    "7": [[[0.3, 0.17], [0.7, 0.17], [0.45, 0.85]]],
    "8": [bow(0.5, 0.33, 0.16, 0.17, 90, 450), bow(0.5, 0.67, 0.19, 0.18, 270, 630)],
    "9": [[*bow(0.48, 0.35, 0.18, 0.18, 0, 360), [0.66, 0.35], [0.6, 0.85]]],
}
"""Strokes of digits on the pad."""


def test_trained_network_reads_what_is_drawn(module: Callable[..., Any], tmp_path: Path) -> None:
    """A network that has learned scanned digits knows at least three quarters of those that are drawn with the pad's pen."""
    drawn_run(tmp_path, 1800, 1800, dataset="digits", epochs=20)
    state = state_of("drawn", tmp_path)
    for name in ("numbers", "rows"):
        state[name] = base64.b64encode(state[name]).decode()
    found = module(
        """(s, drawings) => {
          const fill = m.fillOf(s.network, m.bytesOf(s.rows), s.samples.length);
          const parameters = m.decodeSnapshot(s.network, m.bytesOf(s.numbers), s.snapshots.length - 1, s.snapshots.at(-1).peaks);
          return drawings.map((strokes) => {
            const row = m.inputsOf(s.network, m.inkUnder(s.network, strokes, fill));
            return s.network.classes[m.classOf(m.forward(s.network, parameters, row).activities.at(-1))];
          });
        }""",
        state,
        list(WRITTEN.values()),
    )
    assert sum(guess == right for guess, right in zip(found, WRITTEN, strict=True)) >= 6


def test_live_numbers_arrive(opened: Callable[..., Page]) -> None:
    """A new step changes picture, caption and formula; the selected neuron stays selected, and there is no slider."""
    layers = (4, 3, 2)
    page = opened(live_state())
    assert page.locator(".exm-bar input").count() == 0
    assert page.inner_text(".exm-bar output") == (
        "training · step 17 of 100 · epoch 2 of 5\nfirst row of this step · right answer class 1 · predicted class 0 ✗"
    )
    page.locator(CANVAS).click(position=place_of(page, 1, 2))
    page.mouse.move(0, 0)
    first, seen = traced(layers)["neurons"], pixels(page)
    assert page.inner_text(".exm-panel h2") == "hidden.2"
    formula = "activity = logistic({} + {}) = {}"
    numbers_of = [shown(number) for number in (first[6]["sum"][0], first[6]["bias"], first[6]["activity"][0])]
    assert formula.format(*numbers_of).split(" + ")[0] in page.inner_text(".exm-panel")
    button = page.get_by_role("button", name="Show all synapses")
    button.focus()
    page.evaluate("(values) => model.receive(values)", live_values(traced(layers, 1), step=18))
    assert pixels(page) != seen and "step 18 of 100" in page.inner_text(".exm-bar output")
    assert page.inner_text(".exm-panel h2") == "hidden.2" and button.evaluate(
        "(found) => found === document.activeElement"
    )
    second = traced(layers, 1)["neurons"][6]
    assert f"= {shown(second['activity'][0])}" in page.inner_text(".exm-panel")
    assert f"error {shown(second['error'][0])}" in page.inner_text(".exm-panel")
    assert "Why did the bias change?" in page.inner_text(".exm-panel")


def test_numbers_under_the_pointer_are_live(opened: Callable[..., Page]) -> None:
    """The numbers beside a neuron change with each step; beside a neighbour of the selected one, they say why the weight changed."""
    page = opened(live_state())
    page.locator(CANVAS).hover(position=place_of(page, 2, 1))
    before = page.inner_text(".exm-tip")
    page.evaluate("(values) => model.receive(values)", live_values(traced((4, 3, 2), 1), step=18))
    pixels(page)
    assert page.inner_text(".exm-tip") != before and page.inner_text(".exm-tip").startswith("output.1")
    page.evaluate("model.set('selected', 'hidden.0')")
    text = page.inner_text(".exm-tip")
    assert (
        "hidden.0 → output.1: weight" in text
        and "In step 18 (pass 20, 1 row) the weight from hidden.0 to output.1" in text
    )


def test_dead_and_silent_neurons_look_different(opened: Callable[..., Page]) -> None:
    """Both differ from a living neuron and from one another without colour; death and return are read aloud once."""
    page = opened(live_state())
    looks = [pixels(page)]
    for facts in ({"dead": ["hidden.1"]}, {"silent": ["hidden.1"]}):
        page.evaluate("(values) => model.receive(values)", live_values(traced((4, 3, 2)), **facts))
        looks.append(pixels(page))
        assert page.inner_text(".exm-hidden") == ("dead: hidden.1" if "dead" in facts else "no neuron is dead")
    assert len(set(looks)) == 3
    page.locator(CANVAS).hover(position=place_of(page, 1, 1))
    assert "silent: its activity is constant" in page.inner_text(".exm-tip")
    page.mouse.move(0, 0)
    page.evaluate("(values) => model.receive(values)", live_values(traced((4, 3, 2))))
    assert pixels(page) == looks[0]


@pytest.mark.parametrize("layers", [(2, 3, 1), (400, 90, 10)], ids=str)
def test_maps_and_images_are_live(opened: Callable[..., Page], layers: tuple[int, ...]) -> None:
    """Decision maps and images of layer pairs follow the weights; an enlarged image stays enlarged."""
    state, parameters, _ = network_state(layers)
    record_free = {"live": {**live_values(traced((4, 3, 2)))["live"]}, "sample": -1}
    page = opened({**state, **record_free})
    if layers[0] > 2:
        page.get_by_role("button", name="Zoom in").click()
    before = pixels(page)
    other = np.frombuffer(base64.b64decode(state["numbers"]), "<i2")[::-1]
    numbers_now = base64.b64encode(other.astype("<i2").tobytes()).decode()
    page.evaluate("(numbers) => { model.receive({ numbers }); }", numbers_now)
    # Maps may wait for their turn.
    page.wait_for_function(
        """(before) => {
          model.receive({ live: { ...model.get("live") } });
          return document.querySelector(".exm-stage canvas").toDataURL() !== before;
        }""",
        arg=before,
    )
    assert len(other) == sum(bias.size for bias in parameters.biases) + sum(
        weight.size for weight in parameters.weights
    )


def pad_state() -> dict[str, Any]:
    """The state of a live page with pictures of 8 × 8 pixels."""
    state = pixel_state(8, glyphs(8, 2, 5, [16.0, 9.0]))
    return {**state, **live_values(traced((64, 3, 2))), "sample": -1}


def reply_to(message: dict[str, Any], predicted: int) -> dict[str, Any]:
    """An answer of the network, with an activity for each neuron."""
    count = 64 + 3 + 2
    passed = [math.nan] * count + [float(number % 7) / 7 for number in range(count)] + [math.nan] * count
    return {
        "answer": True,
        "id": message["id"],
        "predicted": predicted,
        "outputs": [0.1, 0.9],
        "inputs": base64_floats(message["row"]),
        "passed": base64_floats(passed),
    }


def sent(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate("model.sent")
    return found


def test_pad_asks_the_network_while_one_draws(opened: Callable[..., Page]) -> None:
    """One question is on its way at a time; the next has the latest drawing. The answer is shown until the pad is cleared."""
    page = opened(pad_state())
    before = pixels(page)
    box = page.locator(".exm-pad canvas").bounding_box()
    assert box is not None

    def at(x: float, y: float) -> tuple[float, float]:
        return box["x"] + 1 + x * (box["width"] - 2), box["y"] + 1 + y * (box["height"] - 2)

    page.mouse.move(*at(0.3, 0.2))
    page.mouse.down()
    for point in ((0.5, 0.2), (0.7, 0.2), (0.5, 0.8)):
        page.mouse.move(*at(*point))
    page.mouse.up()
    [question] = sent(page)
    assert question["ask"] == "answer" and len(question["row"]) == 64
    page.evaluate("(reply) => model.emit(reply)", reply_to(question, 1))
    first, second = sent(page)
    assert second["id"] != first["id"]
    expected = ink_by_numpy(8, [[[0.3, 0.2], [0.5, 0.2], [0.7, 0.2], [0.5, 0.8]]], tall=1.0, wide=0.5, stretch=False)
    assert np.abs(np.array(second["row"]) - expected.ravel()).mean() < 0.05
    assert page.inner_text(".exm-pad output") == "The network reads class 1" and "your drawing" in page.inner_text(
        ".exm-bar output"
    )
    during = pixels(page)
    assert during != before
    # An old reply, a reply without question and one with a fault change nothing.
    page.evaluate("(reply) => model.emit(reply)", reply_to(first, 0))
    page.evaluate("(reply) => model.emit(reply)", {"id": second["id"], "error": "the run is recovering"})
    assert pixels(page) == during and page.inner_text(".exm-pad output") == "the run is recovering"
    page.get_by_role("button", name="Clear the pad").click()
    assert pixels(page) == before and len(sent(page)) == 2


def test_pad_without_an_answer_asks_again(opened: Callable[..., Page]) -> None:
    """A question without a reply blocks the pad for a second only."""
    page = opened(pad_state())
    pad = page.locator(".exm-pad canvas")
    pad.click(position={"x": 30, "y": 30})
    pad.click(position={"x": 90, "y": 90})
    assert len(sent(page)) == 1
    page.wait_for_function("model.sent.length === 2")


def test_pad_is_drawn_on_with_keys(opened: Callable[..., Page]) -> None:
    """Space lowers the pen, arrow keys move it, Delete clears."""
    page = opened(pad_state())
    page.locator(".exm-pad canvas").focus()
    page.keyboard.press("ArrowDown")
    assert sent(page) == []
    for key in ("Space", "ArrowRight", "ArrowRight", "ArrowDown", "Space", "ArrowLeft"):
        page.keyboard.press(key)
    [question] = sent(page)
    page.evaluate("(reply) => model.emit(reply)", reply_to(question, 0))
    row = np.array(sent(page)[1]["row"])
    strokes = [[[0.5, 0.5625], [0.5625, 0.5625], [0.625, 0.5625], [0.625, 0.625]]]
    expected = ink_by_numpy(8, strokes, tall=1.0, wide=0.5, stretch=False)
    assert np.abs(row.reshape(8, 8) - expected).mean() < 0.002
    assert page.inner_text(".exm-pad output") == "The network reads class 0"
    page.keyboard.press("Delete")
    assert page.inner_text(".exm-pad output") == ""


def test_report_has_neither_pad_nor_slow_motion(opened: Callable[..., Page]) -> None:
    """Without live values, there is nothing to draw on, and no button for a trace."""
    page = opened(pixel_state(8, glyphs(8, 2, 5, [16.0])))
    assert page.locator(".exm-pad").count() == 0 and not page.locator(".exm-motion").is_visible()


def test_slow_motion_plays(opened: Callable[..., Page]) -> None:
    """Messages move, the words follow, a pause stands still, and the end shows the live numbers again."""
    page = opened(live_state())
    before = pixels(page)
    page.evaluate(
        """(record) => {
          // A title may be shown for less time than a look takes.
          window.titles = [];
          const note = () => titles.push(document.querySelector(".exm-happens b")?.textContent);
          new MutationObserver(note).observe(document.querySelector(".exm-happens"), { childList: true });
          model.receive({ record, motion: { playing: true, speed: 4 } });
        }""",
        traced((4, 3, 2), 1),
    )
    assert page.locator(".exm-motion").is_visible() and "the traced pass" in page.inner_text(".exm-bar output")
    wait_for = "(title) => titles.includes(title)"
    page.wait_for_function(wait_for, arg="Step 2 of 9: activity · input.0 (and 3 others with it)")
    page.wait_for_function(wait_for, arg="12 signals: input → hidden")
    page.get_by_role("button", name="Pause").click()
    words, picture = page.inner_text(".exm-motion"), pixels(page)
    assert pixels(page) == picture and page.inner_text(".exm-motion") == words
    # Steps of the training that arrive now do not disturb the trace.
    page.evaluate("(values) => model.receive(values)", live_values(traced((4, 3, 2)), step=90))
    assert pixels(page) == picture
    page.get_by_role("button", name="Play").click()
    page.wait_for_function(wait_for, arg="Step 1 of 9: wait for the signals · hidden.0 (and 2 others with it)")
    page.get_by_role("button", name="End slow motion").click()
    assert page.evaluate("model.get('record')") is None and not page.locator(".exm-motion").is_visible()
    page.evaluate("(values) => model.receive(values)", live_values(traced((4, 3, 2))))
    page.mouse.move(0, 0)
    assert pixels(page) == before


def test_who_wants_less_motion_goes_step_by_step(opened: Callable[..., Page]) -> None:
    """Nothing moves by itself. A key on a button leads through all nine steps of the selected neuron, forward and back."""
    record = traced((4, 3, 2))
    page = opened({**live_state(), "selected": "hidden.1"}, reduced_motion="reduce")
    page.evaluate("(record) => model.receive({ record, motion: { playing: true, speed: 4 } })", record)
    assert not page.get_by_role("button", name="Play").is_visible()
    picture = pixels(page)
    assert pixels(page) == picture
    page.get_by_role("button", name="Next", exact=True).focus()
    told = [page.inner_text(".exm-happens")]
    # Three layers with nine steps, and messages before, between and after them.
    for _ in range(3 * 9 + 8 - 1):
        page.keyboard.press("Enter")
        told.append(page.inner_text(".exm-happens"))
    ours = [text.split("\n") for text in told if "hidden.1 (and 2 others" in text.split("\n")[0]]
    assert [lines[0][5] for lines in ours] == list("123456789")
    for step, lines in enumerate(ours, 1):
        assert lines[1:] == [line.text for line in steps_of(record["neurons"][5]) if line.step == step]
    assert told[0].startswith("4 inputs: coordinator → input") and told[-1].startswith("4 reports: input → coordinator")
    page.keyboard.press("Enter")
    assert page.inner_text(".exm-happens") == told[-1]
    page.get_by_role("button", name="To the beginning").click()
    assert page.inner_text(".exm-happens") == told[0]
    assert page.inner_text(".exm-hidden").startswith("4 inputs")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_no_fault_on_a_live_picture(opened: Callable[..., Page], width: int, scheme: str) -> None:
    """Pad, slow motion and a selected neuron pass the check, and nothing is wider than the screen."""
    from axe_playwright_python.sync_playwright import Axe

    state = {**pad_state(), "record": traced((64, 3, 2)), "selected": "hidden.1"}
    page = opened(state, width, 844, color_scheme=scheme)
    found = Axe().run(page).response["violations"]
    assert [(fault["impact"], fault["id"], fault["nodes"][0]["html"]) for fault in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

"""The timeline of one traced step: a row for each program, with what it did when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui

from coordinator.dashboard.panels.charts import Colours, axis, chart, colours_of, show
from coordinator.dashboard.panels.markup import button, heading, hint, html, panel, table
from coordinator.dashboard.view import View
from coordinator.trace.messages import messages_of
from neuron_node.wording import shown, steps_of

STAGES = ("1 waits for signals", "2–4 activity, signals, send", "5 waits for errors", "6–9 own error, reply, update")
LEAST_SHARE = 0.006
"""A stage that took no measured time is drawn with this share of the whole."""
ROW_PX, MOST_PROGRAMS = 20, 100
LISTED_MESSAGES = 200


class TimelinePanel:
    """Traces one sample when asked to, and shows when each program fired and replied."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._facts: Mapping[str, Any] | None = None
        self._chart: ui.echart | None = None
        self._dark: bool | None = None
        with panel("timeline", "Timeline") as self.element:
            with ui.element("div").classes("line"):
                heading("One step, program by program")
                button("Trace one sample").on_click(self._trace)
            self._words = hint(
                "Send one sample forward and back, and see what each program does when. No weight changes."
            )
            # The browser loads the library of the charts with the first chart, so the page has none at first.
            self._place = ui.element("div").classes("wide")
            with ui.expansion("Steps and messages as text").props("dense") as self._more:
                self._steps, self._messages = html(), html()
            self._more.visible = False

    def refresh(self) -> None:
        """Draw again if light became dark."""
        if self._facts is not None and self._dark != self._view.session.dark:
            self._draw(self._facts)

    async def _trace(self) -> None:
        facts = await self._view.ask("trace", sample=1)
        if facts is None:
            return
        if not all("fired_us" in neuron for neuron in facts["neurons"]):
            self._view.say("the neurons have measured no times; try again")
            return
        self._facts = facts
        self._draw(facts)

    def _draw(self, facts: Mapping[str, Any]) -> None:
        self._dark = self._view.session.dark
        neurons = facts["neurons"][:MOST_PROGRAMS]
        self._more.visible = True
        if self._chart is None:
            with self._place:
                self._chart = chart("When each program fired and replied")
        self._chart.style(f"height: {70 + ROW_PX * len(neurons)}px")
        show(self._chart, timeline_of(neurons, colours_of(self._view.session.dark)))
        hosts = {neuron["host"] for neuron in neurons}
        clocks = (
            "" if len(hosts) == 1 else f" Each of the {len(hosts)} hosts has its own clock, so compare within a host."
        )
        self._words.text = f"Training sample 1, {facts['moment']}. Times in ms.{clocks}"
        chosen = self._view.session.selected or neurons[-1]["neuron"]
        one = next((neuron for neuron in facts["neurons"] if neuron["neuron"] == chosen), neurons[-1])
        self._steps.content = table("Nine steps", ("neuron", "step", "what it does"), steps_of(one))
        messages = messages_of(facts["neurons"])[:LISTED_MESSAGES]
        rows = [
            (number, each.kind, each.sender, each.receiver, "–" if each.value is None else shown(each.value))
            for number, each in enumerate(messages, 1)
        ]
        self._messages.content = table("Messages", ("", "message", "from", "to", "number"), rows, numbers=1)


def timeline_of(neurons: Sequence[Mapping[str, Any]], colours: Colours) -> dict[str, Any]:
    """Return the options of the chart: stacked bars, one row for each neuron. Times are those since the first event of a host."""
    begun: dict[str, int] = {}
    for neuron in neurons:
        begun[neuron["host"]] = min(begun.get(neuron["host"], neuron["fired_us"]), neuron["fired_us"])
    spans = [
        ((neuron["fired_us"] - begun[neuron["host"]]) / 1000, (neuron["replied_us"] - begun[neuron["host"]]) / 1000)
        for neuron in neurons
    ]
    least = LEAST_SHARE * max([replied for _, replied in spans] + [0.1])
    parts = [(fired, least, max(0.0, replied - fired - least), least) for fired, replied in spans]
    series = [
        {
            "name": name,
            "type": "bar",
            "stack": "time",
            "barWidth": "70%",
            "itemStyle": {"color": colour, "borderColor": colours.line, "borderWidth": 1 if index in (0, 2) else 0},
            "data": [round(part[index], 4) for part in parts],
        }
        for index, (name, colour) in enumerate(zip(STAGES, colours.steps, strict=True))
    ]
    return {
        "animation": False,
        "textStyle": {"fontFamily": "system-ui, sans-serif"},
        "legend": {"left": 0, "top": 0, "textStyle": {"color": colours.ink}, "itemHeight": 10},
        "grid": {"left": 90, "right": 20, "top": 44, "bottom": 24},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}},
        "xAxis": axis(colours, type="value", axisLabel={"color": colours.ink, "formatter": "{value} ms"}),
        "yAxis": axis(colours, type="category", inverse=True, data=[neuron["neuron"] for neuron in neurons]),
        "series": series,
    }

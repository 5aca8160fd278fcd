"""The selected neuron: where it runs, what it computed, its weights, and why they changed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from nicegui import background_tasks, ui

from coordinator.dashboard.panels.markup import button, heading, hint, html, panel, table
from coordinator.dashboard.view import View
from coordinator.errors import UserError
from coordinator.trace.explaining import explain_neuron, explain_weight
from neuron_node.wording import shown, steps_of

AGAIN_SECONDS = 2.0
LISTED_AT_MOST = 40
"""The most weights, signals or errors that are listed: the strongest ones."""
CHOOSE = "Click a neuron in the picture, or choose one here."
BIAS = "bias"
FORMULAS = (2, 6)
"""The steps whose formulas are shown at once: activity and own error."""


class NeuronPanel:
    """The numbers of one neuron, and an operator's buttons for it."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._shown = ""
        self._facts: Mapping[str, Any] | None = None
        self._asking = False
        self._asked = 0.0
        self._step: object = None
        self._typed = ""
        self._listed: list[str] = []
        with panel("neuron", "Selected neuron") as self.element:
            self._title = heading("Selected neuron")
            self._none = hint(CHOOSE)
            self._choice = ui.select([], label="Neuron", with_input=True).props("dense outlined options-dense")
            self._choice.classes("wide").on_value_change(self._chosen)
            self._choice.on("input-value", self._note_typed)
            self._choice.on("keydown.enter", self._choose_typed)
            with ui.element("div").classes("details") as self._details:
                self._place, self._formula = hint(), html().classes("formula")
                with ui.element("div").classes("line"):
                    self._synapse = ui.select({BIAS: "bias"}, label="Bias or weight", value=BIAS)
                    self._synapse.props("dense outlined options-dense").classes("grow")
                    self._why = button("Why did it change?").props(
                        'title="Explain the last change of the bias or weight"'
                    )
                    self._why.on_click(self._explain)
                self._sentences = html().classes("sentences").props("aria-live=polite")
                if view.may_operate:
                    self._operate()
                self._weights = html()
                with ui.expansion("The nine steps with all numbers").props("dense"):
                    self._steps = html()
                with ui.expansion("Messages in and out").props("dense"):
                    self._messages = html()
            self._details.visible = False

    def _operate(self) -> None:
        with ui.element("div").classes("line"):
            self._value = ui.number("New value", format="%g").props("dense outlined").classes("short")
            button("Set", "Set the bias or the weight to this value").on_click(self._set)
            self._silence = button("Silence").props('title="Count the activity as 0, until the silence ends"')
            self._silence.on_click(self._silence_or_wake)
            button("Kill this neuron", "Kill the program of this neuron").classes("danger").on_click(self._kill)

    def refresh(self) -> None:
        """Ask for the neuron again if its numbers may be old."""
        board, name = self._view.board, self._view.session.selected
        names = board.names
        known = name in names
        if names and names != self._listed:
            self._listed = names
            self._choice.set_options(names, value=name if known else None)
            self._shown = ""
        if name != self._shown:
            self._shown, self._facts, self._step = name, None, None
            self._choice.value = name if known else None
            self._title.text = name or "Selected neuron"
            self._sentences.content = ""
            self._asked = 0.0
        self._details.visible = self._facts is not None
        self._none.visible = not known
        self._none.text = f"The present run has no neuron {name}." if names and name and not known else CHOOSE
        if not name:
            self._title.text = "Selected neuron"
        if not known or self._asking:
            return
        self._show_place()
        now, step = time.monotonic(), (board.status.get("step"), board.status.get("generation"))
        if now - self._asked > AGAIN_SECONDS and (step != self._step or self._facts is None):
            self._asked, self._step, self._asking = now, step, True
            background_tasks.create(self._ask(name), name="neuron")

    async def _ask(self, name: str) -> None:
        try:
            facts = await self._view.ask("neuron", neuron=name)
        finally:
            self._asking = False
        if facts is not None and name == self._view.session.selected:
            with self.element:
                self._facts = facts
                self._show(facts)

    def _chosen(self) -> None:
        # No value means a neuron that this run does not have: the next run may have it.
        name = self._choice.value
        if name and name != self._view.session.selected:
            self._view.select(name)

    def _note_typed(self, event: Any) -> None:
        self._typed = event.args if isinstance(event.args, str) else ""

    def _choose_typed(self) -> None:
        """Select the neuron whose whole name was typed: the list takes only a row that an arrow key has reached."""
        name = self._typed.strip()
        if name in self._view.board.names and name != self._view.session.selected:
            self._view.select(name)

    def _show_place(self) -> None:
        row = next((row for row in self._view.board.neurons if row["neuron"] == self._shown), None)
        if row is not None:
            where = f"process {row['process']} on {row['host']}, node {row['node']}" if row["process"] else row["state"]
            dead = " · dead" if self._shown in self._view.board.dead else ""
            self._place.text = f"layer {row['layer']} · {where} · {row['state']}{dead}"

    def _show(self, facts: Mapping[str, Any]) -> None:
        steps = facts["steps"]
        self._details.visible = True
        silent = bool(steps and steps.get("silent"))
        if self._view.may_operate:
            self._silence.text = "End silence" if silent else "Silence"
        lines = [(line.step, line.text) for line in steps_of(steps)] if steps else []
        about = f"In step {facts['step']:,}, row 1 of {facts['rows']:,}"
        told = (
            [about, *(text for step, text in lines if step in FORMULAS)] if lines else [f"bias {shown(facts['bias'])}"]
        )
        self._formula.content = "".join(f"<p>{escape(line)}</p>" for line in told)
        self._steps.content = table(about, ("step", about), lines) if lines else ""
        axon = sorted(facts["axon"], key=lambda synapse: -abs(synapse["weight"]))[:LISTED_AT_MOST]
        options = {BIAS: f"bias = {shown(facts['bias'])}"} | {
            synapse["neuron"]: f"weight to {synapse['neuron']} = {shown(synapse['weight'])}"
            for synapse in facts["axon"]
        }
        if options != self._synapse.options:
            self._synapse.set_options(options, value=self._synapse.value if self._synapse.value in options else BIAS)
        rows = [
            (s["neuron"], *(shown(s[key]) if key in s else "–" for key in ("before", "gradient", "weight")))
            for s in axon
        ]
        more = (
            f"the {len(axon)} strongest of {len(facts['axon']):,} weights"
            if len(axon) < len(facts["axon"])
            else "weight to"
        )
        self._weights.content = table("Weights", (more, "before", "gradient", "now"), rows, numbers=3) if rows else ""
        self._messages.content = _messages(facts)

    async def _explain(self) -> None:
        if self._facts is None:
            return
        facts = await self._view.ask("neuron", neuron=self._shown)
        if facts is None:
            return
        receiver = self._synapse.value
        try:
            sentences: Sequence[str] = (
                explain_neuron({**facts, "axon": []}) if receiver == BIAS else explain_weight(facts, receiver)
            )
        except UserError as fault:
            sentences = [str(fault)]
        if not sentences:
            sentences = ["An input neuron of this network has no bias: it passes its input on."]
        self._sentences.content = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)

    async def _set(self) -> None:
        if self._value.value is None:
            self._view.say("to which value? Type a number beside “Set”")
            return
        receiver = self._synapse.value
        what = {"what": "bias"} if receiver == BIAS else {"what": "weight", "to": receiver}
        if done := await self._view.ask("set", neuron=self._shown, value=self._value.value, **what):
            name = f"the bias of {self._shown}" if receiver == BIAS else f"the weight from {self._shown} to {receiver}"
            self._view.say(
                f"after step {done['step']:,} {name} is {shown(done['value'])}, before {shown(done['before'])}"
            )
            self._sentences.content = ""
            self._step = None

    async def _silence_or_wake(self) -> None:
        end = self._silence.text == "End silence"
        if done := await self._view.ask("silence", neuron=self._shown, end=end):
            self._view.say(f"after step {done['step']:,} {self._shown} {'speaks again' if end else 'is silent'}")
            self._step = None

    async def _kill(self) -> None:
        if done := await self._view.ask("kill", neuron=self._shown):
            self._view.say(
                f"killed process {done['process']} on {done['host']}: {self._shown} comes back, and no weight is lost"
            )


def _messages(facts: Mapping[str, Any]) -> str:
    """Return the messages of the first row of the last step, as tables."""
    steps = facts["steps"]
    if not steps:
        return "<p>No messages of a step are kept.</p>"
    signals = [("signal in", one["from"], shown(one["signal"][0])) for one in steps["signals"][:LISTED_AT_MOST]]
    sent = [
        ("signal out", one["to"], "part of a sum" if one["signal"] is None else shown(one["signal"][0]))
        for one in steps["axon"][:LISTED_AT_MOST]
    ]
    errors = [("error in", one["to"], shown(one["error"][0])) for one in steps["axon"][:LISTED_AT_MOST]]
    back = [("error out", one["from"], shown(steps["error"][0])) for one in steps["signals"][:LISTED_AT_MOST]]
    return table("Messages", ("message", "neuron", "number"), [*signals, *sent, *errors, *back], numbers=1)

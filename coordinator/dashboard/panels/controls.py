"""The head of the page: the state of the run, and the controls of an operator."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from nicegui import ui

from coordinator.dashboard.board import ABSENT
from coordinator.dashboard.panels.markup import button, hint
from coordinator.dashboard.panels.offer import LinkOffer
from coordinator.dashboard.panels.restart import RestartDialog
from coordinator.dashboard.view import View
from coordinator.trace.messages import messages_of
from neuron_node.wording import shown

WORDS = {
    "connecting": "connecting",
    "gathering": "waiting for nodes",
    "wiring": "connecting the neurons",
    "training": "training",
    "paused": "paused",
    "idle": "trained",
    "stopping": "stopping",
    "ended": "ended",
    ABSENT: "coordinator absent",
}


class Controls:
    """The state of the run in one line, and below it what a visitor may do."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._seen = -1
        self._paused: bool | None = None
        self._restart: RestartDialog | None = None
        with ui.element("header").classes("head"):
            with ui.element("div").classes("line"):
                self._title = ui.label("Exmachina").classes("title").props("role=heading aria-level=1")
                self._state = ui.label().classes("state").props("role=status")
                self._progress = ui.label().classes("progress")
                role = "operator" if view.may_operate else "viewer"
                ui.label(role).classes("role").props(f'title="your token is that of the {role}"')
            with ui.element("div").classes("line controls").props('role=group aria-label="Controls"'):
                if view.may_operate:
                    self._operate()
                else:
                    hint("You may look, and change nothing. The operator's address is for those who may.")
                self._slow_motion()
            self._offer = LinkOffer(view, self._restart)
            self._said = ui.label().classes("said").props("role=status aria-live=polite")
        view.say = self.say

    def say(self, text: str) -> None:
        """Show the result of what the visitor did."""
        self._said.text = text

    def _operate(self) -> None:
        # Two buttons: a click must mean what the visitor reads, although the state may change meanwhile.
        self._pause = button("Pause").props('title="Wait after the present step; no number changes"')
        self._pause.on_click(self._do_pause)
        self._resume = button("Resume").props('title="Go on; no number changes"')
        self._resume.on_click(self._do_resume)
        self._resume.visible = False
        button("Step", "Do one step, and pause").on_click(self._step)
        self._to = ui.number("Run to step", step=1, format="%d").props("dense outlined").classes("short")
        button("Run", "Run to this step, and pause").on_click(self._run_to)
        self._rate = ui.number("Learning rate", format="%g").props("dense outlined").classes("short")
        button("Set", "Set the learning rate").on_click(self._set_rate)
        self._rewind = button("Rewind…", "Go back to a kept snapshot")
        self._rewind.on_click(self._choose_snapshot)
        self._dialog = ui.dialog().props('aria-label="Go back to a kept snapshot"')
        self._restart = RestartDialog(self._view)

    def _slow_motion(self) -> None:
        self._motion = button("Slow motion", "Trace one sample, and show its messages one by one")
        self._motion.on_click(self._start_motion)

    def refresh(self) -> None:
        """Show the present state."""
        self._offer.refresh()
        board = self._view.board
        if board.versions["status"] == self._seen:
            return
        self._seen = board.versions["status"]
        status = board.status
        self._state.text = WORDS.get(board.state, board.state)
        self._state.classes(replace=f"state state-{board.state}")
        if board.why_absent:
            self._progress.text = (
                f"{board.why_absent}; the page shows what it has seen, and goes on if a coordinator answers"
            )
        elif status:
            self._title.text = f"Exmachina · {status['dataset']} {'-'.join(map(str, status['layers']))}"
            self._progress.text = board.unwatched or _progress_of(status, in_training=board.state == "training")
        if self._view.may_operate:
            assert self._restart is not None
            self._restart.opens.visible = bool(status.get("restarts"))
            paused = status.get("pauses_after") is not None
            if paused != self._paused:
                self._show_paused(paused=paused)
            if self._rate.value is None and status.get("learning_rate") is not None:
                self._rate.value = status["learning_rate"]

    async def _do_pause(self) -> None:
        if facts := await self._view.ask("pause"):
            self._show_paused(paused=True)
            self.say(_paused(facts))

    async def _do_resume(self) -> None:
        if await self._view.ask("resume"):
            self._show_paused(paused=False)
            self.say("the training goes on")

    def _show_paused(self, *, paused: bool) -> None:
        """Show the button that is of use. The next status says the same, a second later."""
        self._paused = paused
        self._pause.visible, self._resume.visible = not paused, paused

    async def _step(self) -> None:
        if facts := await self._view.ask("step"):
            self.say(_paused(facts))

    async def _run_to(self) -> None:
        if self._to.value is None:
            self.say("to which step? Type a number beside “Run”")
        elif facts := await self._view.ask("resume", to=_whole(self._to.value)):
            self.say(f"pauses after step {facts['pauses_after']:,}")

    async def _set_rate(self) -> None:
        if self._rate.value is None:
            self.say("which learning rate? Type a number beside “Set”")
        elif facts := await self._view.ask("set", what="rate", value=self._rate.value):
            self.say(
                f"after step {facts['step']:,} the learning rate is {shown(facts['value'])}, before {shown(facts['before'])}"
            )

    async def _choose_snapshot(self) -> None:
        facts = await self._view.ask("history")
        if facts is None:
            return
        rests = self._view.board.state in ("paused", "idle")
        now = self._view.board.status.get("step") if rests else None
        choices: dict[tuple[int | None, int], str] = {}
        for each in reversed(facts["snapshots"]):
            if each["on_path"] and each["step"] == now:
                # The network is there already.
                continue
            # A snapshot of the present path needs no branch.
            branch = None if each["on_path"] else each["branch"]
            choices[branch, each["step"]] = _snapshot_words(each["step"], branch)
        choices[None, 0] = "step 0, the beginning"
        keys = list(choices)
        self._dialog.clear()
        with self._dialog, ui.card().classes("dialog"):
            ui.label("Go back to the snapshot after").classes("heading").props("role=heading aria-level=2")
            chosen = ui.select(dict(enumerate(choices.values())), value=0)
            chosen.props('outlined aria-label="Snapshot"')
            hint("The training goes on from there, as a new branch. Nothing is lost: you can come back.")
            with ui.element("div").classes("line"):

                async def go() -> None:
                    self._dialog.close()
                    branch, step = keys[chosen.value]
                    where = {} if branch is None else {"branch": branch}
                    if done := await self._view.ask("rewind", step=step, **where):
                        self.say(
                            f"back at step {done['step']:,} of branch {done['origin']}; "
                            f"the steps from here on are branch {done['branch']}"
                        )

                button("Rewind").on_click(go)
                button("Cancel").props("flat").on_click(self._dialog.close)
        self._dialog.open()

    async def _start_motion(self) -> None:
        sample = self._view.session.sample
        inputs, targets = self._view.board.samples
        if 0 <= sample < len(inputs):
            row = np.concatenate([inputs[sample], targets[sample]])[None, :]
            facts = await self._view.ask("trace", row)
        else:
            facts = await self._view.ask("trace", sample=1)
        if facts is None:
            return
        messages = [message.to_json(number) for number, message in enumerate(messages_of(facts["neurons"]), 1)]
        motion = {"playing": True, "speed": 1}
        self._view.session.slot.put({"record": {**facts, "messages": messages}, "motion": motion})
        self.say(f"slow motion: the {len(messages):,} messages of one sample, after step {facts['step']:,}")


def _whole(number: float) -> int | float:
    return int(number) if math.isfinite(number) and number == int(number) else number


def _paused(facts: Mapping[str, Any]) -> str:
    if facts["state"] == "paused":
        return f"paused after step {facts['step']:,}"
    return f"pauses after step {facts['pauses_after']:,}"


def _snapshot_words(step: int, branch: int | None) -> str:
    return f"step {step:,}" + (f" of branch {branch}, which was left" if branch is not None else "")


def _progress_of(status: Mapping[str, Any], *, in_training: bool) -> str:
    parts = [f"step {status['step']:,} of {status['steps']:,}", f"epoch {status['epoch']:,} of {status['epochs']:,}"]
    if in_training:
        for name, word in (("samples_per_second", "samples/s"), ("messages_per_second", "messages/s")):
            if status.get(name) is not None:
                parts.append(f"{status[name]:,.0f} {word}")
    if status.get("recoveries"):
        parts.append(f"{status['recoveries']:,} recover{'y' if status['recoveries'] == 1 else 'ies'}")
    if status["nodes_registered"] < status["nodes_needed"]:
        parts.append(f"{status['nodes_registered']} of {status['nodes_needed']} nodes")
    return " · ".join(parts)

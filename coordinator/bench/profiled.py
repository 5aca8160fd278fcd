"""A local run that measures the parts of a step: `python -m coordinator.bench.profiled`, started by `ProfiledRun`.

It is the supervisor of a local run, with stopwatches around the functions in `WATCHED`. Only this program has stopwatches, which
it adds before the fork, so other runs lose no time. The stopwatches slow all parts down, but change the shares less.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from coordinator.local.launcher import LocalRun
from coordinator.local.supervisor import Order, Supervisor, main
from coordinator.storage.run_folder import RunFolder

STAGES = ("waiting", "receiving", "decoding", "arithmetic", "encoding", "sending", "deciding")
"""The parts of a step. `deciding` is the rest: state machine, bookkeeping, and the shell's loop."""
WATCHED: tuple[tuple[str, str, str], ...] = (
    ("receiving", "neuron_node.transport:Link", "receive_many"),
    ("sending", "neuron_node.transport:Link", "send"),
    ("receiving", "neuron_node.group:Group", "receive"),
    ("decoding", "neuron_node.node", "decode"),
    ("decoding", "neuron_node.inbox:Inbox", "floats"),
    ("decoding", "neuron_node.inbox:Inbox", "stacked"),
    ("decoding", "neuron_node.inbox:Inbox", "side_by_side"),
    *[
        ("arithmetic", f"neuron_node.{form}", step)
        for form in ("neuron:Neuron", "neuron_array:NeuronArray")
        for step in ("activate", "fire", "own_error", "learn")
    ],
    ("encoding", "neuron_node.group:Group", "_outgoing_signals"),
    ("encoding", "neuron_node.group:Group", "_outgoing_error"),
    ("decoding", "coordinator.core.machine", "decode"),
    ("receiving", "coordinator.core.inflight:InFlight", "receive"),
    ("encoding", "coordinator.core.launching:Launching", "sends"),
    ("arithmetic", "coordinator.core.training:Training", "batch"),
    ("arithmetic", "coordinator.core.training:Training", "learned"),
)
"""(stage, module or module:class, function)."""
STEP_ENDS = (
    ("neuron_node.neuron:Neuron", "learn"),
    ("neuron_node.neuron_array:NeuronArray", "learn"),
    ("coordinator.core.training:Training", "learned"),
)
PROFILES = "profiles"


class Stopwatch:
    """The time of one program by stage: at any moment exactly one stage is active."""

    def __init__(self) -> None:
        self.spent_ns = dict.fromkeys(STAGES, 0)
        self.at_last_step: dict[str, int] = {}
        self.steps = 0
        self.role = "coordinator"
        self._stage = "deciding"
        self._since_ns = time.perf_counter_ns()

    def watch(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its time added to the stage, except the time of other watched functions inside it."""

        @functools.wraps(function)
        def watched(*arguments: Any, **named: Any) -> Any:
            before = self.enter(stage)
            try:
                return function(*arguments, **named)
            finally:
                self.enter(before)

        return watched

    def enter(self, stage: str) -> str:
        """Switch to another stage; return the stage before."""
        now_ns = time.perf_counter_ns()
        self.spent_ns[self._stage] += now_ns - self._since_ns
        before, self._stage, self._since_ns = self._stage, stage, now_ns
        return before

    def step_ended(self) -> None:
        """Note the end of a step. The first step is left out, and so is the time after the last one."""
        self.enter(self._stage)
        if self.steps == 0:
            self.spent_ns = dict.fromkeys(STAGES, 0)
        self.steps += 1
        self.at_last_step = dict(self.spent_ns)

    def figures(self) -> dict[str, Any]:
        """Return the microseconds per step by stage; the first step is left out."""
        steps = self.steps - 1
        spent = {stage: self.at_last_step[stage] / 1000 / steps for stage in STAGES} if steps > 0 else None
        return {"role": self.role, "steps": max(steps, 0), "microseconds_per_step": spent}


def put_in(watch: Stopwatch) -> None:
    """Put stopwatches around all functions in `WATCHED`, in this process and its forks."""
    for stage, place, name in WATCHED:
        owner = _owner(place)
        function = getattr(owner, name)
        if name == "receive_many":
            function = _waiting_first(watch, function)
        watched = watch.watch(stage, function)
        if (place, name) in STEP_ENDS:
            watched = _then(watched, watch.step_ended)
        setattr(owner, name, watched)
    worker = _owner("neuron_node.group:Group")
    begin = worker.__init__

    @functools.wraps(begin)
    def begin_with_role(self: Any, *arguments: Any, **named: Any) -> None:
        begin(self, *arguments, **named)
        watch.role = self.role.names[0].partition(".")[0]

    worker.__init__ = begin_with_role


def _owner(place: str) -> Any:
    module, _, name = place.partition(":")
    found = importlib.import_module(module)
    return getattr(found, name) if name else found


def _waiting_first(watch: Stopwatch, receive: Callable[..., Any]) -> Callable[..., Any]:
    """Count the time until a message arrives as `waiting`."""

    def wait_and_receive(link: Any, most: int) -> Any:
        before = watch.enter("waiting")
        ready = link._sub.poll(link._receive_timeout_ms)
        watch.enter(before)
        return receive(link, most) if ready else []

    return wait_and_receive


def _then(function: Callable[..., Any], done: Callable[[], None]) -> Callable[..., Any]:
    @functools.wraps(function)
    def both(*arguments: Any, **named: Any) -> Any:
        result = function(*arguments, **named)
        done()
        return result

    return both


class ProfiledSupervisor(Supervisor):
    """A supervisor whose programs write their figures to a file when they end."""

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        self._watch_of_all = Stopwatch()
        put_in(self._watch_of_all)
        self._folder = Path(order.run) / PROFILES
        self._folder.mkdir()

    def _node(self, name: str) -> Callable[[Callable[[], bool]], int]:
        return self._noted(name, super()._node(name))

    def _coordinator(self, orphaned: Callable[[], bool]) -> int:
        return self._noted("coordinator", super()._coordinator)(orphaned)

    def _noted(self, name: str, run: Callable[[Callable[[], bool]], int]) -> Callable[[Callable[[], bool]], int]:
        def run_and_note(orphaned: Callable[[], bool]) -> int:
            try:
                return run(orphaned)
            finally:
                figures = json.dumps(self._watch_of_all.figures())
                (self._folder / f"{name}.json").write_text(figures, encoding="utf-8")

        return run_and_note


class ProfiledRun(LocalRun):
    """A local run with the supervisor of this module."""

    supervisor_module = "coordinator.bench.profiled"


def profile_of(directory: RunFolder) -> dict[str, dict[str, float]]:
    """Return, by role, the mean microseconds that a program spends in each stage of a step. Call it after the run."""
    return mean_by_role(json.loads(path.read_text("utf-8")) for path in (directory.path / PROFILES).glob("*.json"))


def mean_by_role(documents: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the mean of all programs of each role, without programs that have finished no step."""
    found: dict[str, list[Mapping[str, float]]] = {}
    for document in documents:
        if document["microseconds_per_step"]:
            found.setdefault(document["role"], []).append(document["microseconds_per_step"])
    return {
        role: {stage: sum(program[stage] for program in programs) / len(programs) for stage in STAGES}
        for role, programs in sorted(found.items())
    }


if __name__ == "__main__":
    sys.exit(main(ProfiledSupervisor))

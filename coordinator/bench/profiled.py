"""A local run whose programs note where their time goes: `python -m coordinator.bench.profiled`, started by `ProfiledRun`.

It is the supervisor of every local run, with stopwatches around the functions in `WATCHED`. They are put there in this
program alone, before it forks, so a run that nobody profiles has none of them and pays nothing. What they cost themselves
makes everything slower, the shares less so.
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
"""Where time goes. `deciding` is all that is nothing else: state machine, bookkeeping, the shell's loop."""
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
    """One program's time by stage: at any moment exactly one of them runs."""

    def __init__(self) -> None:
        self.spent_ns = dict.fromkeys(STAGES, 0)
        self.at_last_step: dict[str, int] = {}
        self.steps = 0
        self.role = "coordinator"
        self._stage = "deciding"
        self._since_ns = time.perf_counter_ns()

    def watch(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with the stage running while it does, but for what others in it take."""

        @functools.wraps(function)
        def watched(*arguments: Any, **named: Any) -> Any:
            before = self.enter(stage)
            try:
                return function(*arguments, **named)
            finally:
                self.enter(before)

        return watched

    def enter(self, stage: str) -> str:
        """Let another stage run; the one before."""
        now_ns = time.perf_counter_ns()
        self.spent_ns[self._stage] += now_ns - self._since_ns
        before, self._stage, self._since_ns = self._stage, stage, now_ns
        return before

    def step_ended(self) -> None:
        """What counts ends here: a program that has done its last step only waits to be ended. The first is where it begins."""
        self.enter(self._stage)
        if self.steps == 0:
            self.spent_ns = dict.fromkeys(STAGES, 0)
        self.steps += 1
        self.at_last_step = dict(self.spent_ns)

    def figures(self) -> dict[str, Any]:
        """Microseconds a step by stage; the first step is left out."""
        steps = self.steps - 1
        spent = {stage: self.at_last_step[stage] / 1000 / steps for stage in STAGES} if steps > 0 else None
        return {"role": self.role, "steps": max(steps, 0), "microseconds_per_step": spent}


def put_in(watch: Stopwatch) -> None:
    """Put stopwatches around everything in `WATCHED`, in this process and those that it forks."""
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
    """Until there is something to receive, a program waits."""

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
    """Forks programs that write down their figures when they end."""

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
    """A local run under the supervisor of this module."""

    supervisor_module = "coordinator.bench.profiled"


def profile_of(directory: RunFolder) -> dict[str, dict[str, float]]:
    """By role, the microseconds that its mean program spends in each stage of a step, once the run has ended."""
    return mean_by_role(json.loads(path.read_text("utf-8")) for path in (directory.path / PROFILES).glob("*.json"))


def mean_by_role(documents: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """The mean of all programs of a role; a program that has done no step counts for nothing."""
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

"""Requests of clients to a running coordinator. A repeated request gets the same answer."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from coordinator.core.assignment import Assignment
from coordinator.core.interventions import whole
from coordinator.core.journal import BIAS, RATE, SILENCE, WAKE, WEIGHT
from coordinator.core.membership import Member
from coordinator.core.run import Run
from coordinator.core.run_stats import RunStats
from coordinator.core.state import CoordinatorState
from coordinator.core.state_collector import StateCollector
from coordinator.core.trainer import Trainer
from coordinator.core.verdicts import StopRun, Verdict
from coordinator.core.wait_graph import Chain, WaitGraph
from neuron_node.activations import Array
from neuron_node.addresses import client_address, node_address
from neuron_node.errors import UserError
from neuron_node.protocol import LATEST_STEP, GroupState, Reply, Request, Stop

ANSWERS_KEPT = 32
OPEN_AT_MOST = 64
NO_ROWS: Array = np.empty((0, 0))


@dataclass
class View:
    """A client that waits for the states of a neuron's group and of all groups that send to it."""

    client: bytes
    neuron: str
    collector: StateCollector


class Queries:
    """Open requests, and the latest answers for clients whose reply was lost."""

    def __init__(
        self, run: Run, trainer: Trainer, assignment: Assignment, run_stats: RunStats, wait_graph: WaitGraph
    ) -> None:
        self._run = run
        self._trainer = trainer
        self._assignment = assignment
        self._run_stats = run_stats
        self._wait_graph = wait_graph
        self._open: set[bytes] = set()
        self._answers: OrderedDict[bytes, Reply] = OrderedDict()
        self._views: list[View] = []

    def receive(self, message: Request) -> Verdict | None:
        """Answer a request now, or when the network has answered; return what the request demands of the run."""
        client = message.client
        if client in self._answers:
            self._run.outbox.send(client_address(client), self._answers[client])
            return None
        if client in self._open or self._trainer.interventions.known(client):
            return None
        command = COMMANDS.get(message.command)
        try:
            if command is None:
                raise UserError(f"the coordinator knows no command {message.command!r}; it knows {', '.join(COMMANDS)}")
            if len(self._open) >= OPEN_AT_MOST:
                raise UserError(f"{OPEN_AT_MOST} requests are open already; try again when some are answered")
            self._open.add(client)
            return command(self, message)
        except UserError as fault:
            self._refuse(client, str(fault))
            return None

    def receive_state(self, message: GroupState) -> None:
        """Receive a state that a view may wait for. Raises `PeerError`."""
        for view in list(self._views):
            if view.collector.receive(message):
                self._views.remove(view)
                self._answer(view.client, self._describe_neuron(view))

    def receive_chain(self, client: bytes, chain: Chain) -> None:
        """Answer a client that has asked why the run waits."""
        self._answer(client, {"why": list(chain.sentences), "blocked_by": chain.blocked_by})

    def fetch_again(self) -> None:
        """Request the missing states again."""
        for view in self._views:
            self._fetch(view)

    def roll_back(self) -> None:
        """Forget the states of the last generation."""
        for view in self._views:
            view.collector.states.clear()

    def _fetch(self, view: View) -> None:
        outbox = self._run.outbox
        outbox.act_all(view.collector.fetch(outbox.header(), self._run.membership.addresses()))

    def _answer(self, client: bytes, result: dict[str, Any], rows: Array = NO_ROWS, *, good: bool = True) -> None:
        reply = Reply(self._run.outbox.header(), good, json.dumps(result), rows)
        self._open.discard(client)
        self._answers[client] = reply
        while len(self._answers) > ANSWERS_KEPT:
            self._answers.popitem(last=False)
        self._run.outbox.send(client_address(client), reply)

    def _refuse(self, client: bytes, reason: str) -> None:
        self._answer(client, {"error": reason}, good=False)

    def _status(self, message: Request) -> None:
        run, stats = self._run, self._run_stats
        facts = {**run.finished, **stats.counts()} if run.finished else stats.summary()
        waiting = {"nodes_registered": len(run.membership.members), "nodes_needed": self._assignment.nodes_needed}
        dropped = {"dropped": dict(run.drops.counts)}
        pause = {"pauses_after": self._trainer.interventions.pause_after}
        answer = {"state": run.state.value, **facts, **waiting, **dropped, **pause, "failure": run.failure}
        self._answer(message.client, answer)

    def _neurons(self, message: Request) -> None:
        run = self._run
        hosts = {group: member for member in run.membership.members.values() for group in member.groups}
        rows = [
            describe_host(name, group.layer, hosts.get(group.number))
            for group in run.topology.groups.values()
            for name in group.names
        ]
        self._answer(message.client, {"neurons": rows})

    def _neuron(self, message: Request) -> None:
        topology = self._run.topology
        name = str(_arguments(message).get("neuron"))
        group = self._group_of(name)
        wanted = {group, *topology.senders[group]}
        view = View(message.client, name, StateCollector(topology, LATEST_STEP, wanted))
        self._views.append(view)
        self._fetch(view)

    def _why(self, message: Request) -> None:
        name = _arguments(message).get("neuron")
        self._wait_graph.ask(None if name is None else self._group_of(name), message.client)

    def _group_of(self, name: object) -> int:
        group_of = self._run.topology.group_of
        group = group_of.get(name) if isinstance(name, str) else None
        if group is None:
            names = list(group_of)
            raise UserError(
                f"there is no neuron {name!r}; they are named {names[0]} to {names[-1]}, as `coordinator neurons` lists"
            )
        return group

    def _describe(self, message: Request) -> None:
        plan, topology = self._run.plan, self._run.topology
        encoding = plan.data.encoding.to_json()
        self._answer(message.client, {"encoding": encoding, "layers": list(topology.layers), "loss": plan.network.loss})

    def _forward(self, message: Request) -> None:
        inputs = self._run.topology.layers[0]
        if message.rows.ndim != 2 or message.rows.shape[1] != inputs or not len(message.rows):
            raise UserError(f"rows of {message.rows.shape[1]} numbers for {inputs} input neurons")
        client = message.client
        self._trainer.forward(
            message.rows,
            lambda activities: self._answer(client, {}, activities),
            lambda reason: self._refuse(client, reason),
        )

    def _held_out(self, message: Request) -> None:
        targets = self._run.plan.data.test_targets

        def done(activities: Array) -> None:
            self._answer(message.client, {}, np.concatenate([activities, targets], axis=1))

        held_out = self._run.plan.data.test_inputs
        self._trainer.forward(held_out, done, lambda reason: self._refuse(message.client, reason))

    def _stop(self, message: Request) -> StopRun:
        self._answer(message.client, {"state": "stopping"})
        return StopRun(0)

    # Interventions.

    def answer_interventions(self) -> None:
        """Answer the interventions that are carried out."""
        step, still = self._trainer.training.progress.step, self._trainer.still and self._run.running
        for client, facts, good in self._trainer.interventions.answers(step, still=still):
            self._answer(client, facts, good=good)

    def _check_training(self) -> None:
        """Raise `UserError` if no step is left to pause before or to change."""
        if self._run.state is CoordinatorState.STOPPING:
            raise UserError("the run is stopping, so nothing was changed")
        if self._trainer.done:
            step = self._trainer.training.schedule.steps
            raise UserError(f"the training has finished with step {step:,}; right would be a run that is in training")

    def _pause(self, message: Request) -> None:
        self._check_training()
        self._trainer.interventions.pause(message.client, self._trainer.announced)

    def _resume(self, message: Request) -> None:
        arguments = _arguments(message)
        self._check_training()
        interventions, client = self._trainer.interventions, message.client
        if arguments.get("to") is None:
            interventions.resume(client)
        else:
            interventions.run_to(client, self._trainer.announced, whole("step", arguments["to"]))

    def _step(self, message: Request) -> None:
        count = whole("number of steps", _arguments(message).get("count", 1))
        self._check_training()
        self._trainer.interventions.step(message.client, self._trainer.announced, count)

    def _set(self, message: Request) -> None:
        arguments = _arguments(message)
        kind = arguments.get("what")
        if kind not in (RATE, WEIGHT, BIAS):
            raise UserError(f"{kind!r} cannot be set; right would be {RATE}, {WEIGHT} or {BIAS}")
        self._check_training()
        self._trainer.interventions.want(message.client, kind, arguments)

    def _silence(self, message: Request) -> None:
        arguments = _arguments(message)
        self._check_training()
        self._trainer.interventions.want(message.client, WAKE if arguments.get("end") else SILENCE, arguments)

    def _kill(self, message: Request) -> None:
        name = _arguments(message).get("neuron")
        host = self._run.membership.host_of(self._group_of(name))
        if host is None or not self._run.running:
            raise UserError(f"no program runs {name} at present; try again when the run is in training")
        outbox = self._run.outbox
        outbox.send(node_address(host.incarnation), Stop(outbox.header(), at_once=True))
        outbox.report("killed", neuron=name, node=host.name)
        killed = {"node": host.name, "host": host.host, "process": host.process, "groups": len(host.groups)}
        step = self._trainer.training.progress.step
        self._answer(message.client, {"neuron": name, **killed, "step": step})

    def _describe_neuron(self, view: View) -> dict[str, Any]:
        """Return a neuron's activation, bias, last activity and error, and its synapses with their weights."""
        topology = self._run.topology
        number = topology.group_of[view.neuron]
        group, answer = topology.groups[number], view.collector.states[number]
        row = group.names.index(view.neuron)
        receivers = [name for below in topology.receivers[number] for name in topology.groups[below].names]
        dendrites = []
        for above in topology.senders[number]:
            first = sum(topology.groups[other].size for other in topology.receivers[above] if other < number)
            weights = view.collector.states[above].state.weights[:, first + row]
            dendrites += [
                {"neuron": name, "weight": float(weight)}
                for name, weight in zip(topology.groups[above].names, weights, strict=True)
            ]
        return {
            "neuron": view.neuron,
            "layer": group.layer,
            "step": answer.step,
            "activation": self._run.plan.network.activations[group.layer],
            "bias": float(answer.state.bias[0, row]),
            "last_activity": answer.activity[:, row].tolist(),
            "last_error": answer.error[:, row].tolist(),
            "axon": [
                {"neuron": name, "weight": float(weight)}
                for name, weight in zip(receivers, answer.state.weights[row], strict=True)
            ],
            "dendrites": dendrites,
        }


def _arguments(message: Request) -> dict[str, Any]:
    try:
        arguments = json.loads(message.arguments)
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise UserError("the arguments are no JSON object")
    return arguments


def describe_host(neuron: str, layer: int, host: Member | None) -> dict[str, Any]:
    """Return the host of a neuron and its state."""
    return {
        "neuron": neuron,
        "layer": layer,
        "state": host.state if host else "waiting for a node",
        "host": host.host if host else None,
        "process": host.process if host else None,
        "node": host.name if host else None,
        "messages_per_second": round(host.rate, 1) if host else None,
    }


COMMANDS: dict[str, Callable[[Queries, Request], Verdict | None]] = {
    "status": Queries._status,
    "neurons": Queries._neurons,
    "neuron": Queries._neuron,
    "describe": Queries._describe,
    "forward": Queries._forward,
    "held_out": Queries._held_out,
    "why": Queries._why,
    "stop": Queries._stop,
    "pause": Queries._pause,
    "resume": Queries._resume,
    "step": Queries._step,
    "set": Queries._set,
    "silence": Queries._silence,
    "kill": Queries._kill,
}

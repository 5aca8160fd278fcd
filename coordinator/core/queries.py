"""What a command line can ask a running coordinator. Each request is answered once; a repeated one gets the same answer."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coordinator.core.membership import Member
from coordinator.core.run_stats import counts_so_far, summary
from coordinator.core.state_collector import StateCollector
from coordinator.core.wait_graph import Chain
from neuron_node.activations import Array
from neuron_node.addresses import client_address
from neuron_node.errors import UserError
from neuron_node.protocol import LATEST_STEP, GroupState, Reply, Request

if TYPE_CHECKING:
    from coordinator.core.machine import CoordinatorMachine

ANSWERS_KEPT = 32
OPEN_AT_MOST = 64
NO_ROWS: Array = np.empty((0, 0))


@dataclass
class View:
    """A client that waits for the states of a neuron's group and of all groups that send to it."""

    client: bytes
    neuron: str
    collection: StateCollector


class Queries:
    """Open requests, and the last answers for clients whose reply was lost."""

    def __init__(self, machine: CoordinatorMachine) -> None:
        self._machine = machine
        self._open: set[bytes] = set()
        self._answers: OrderedDict[bytes, Reply] = OrderedDict()
        self._views: list[View] = []

    def take(self, message: Request) -> None:
        """Answer a request now or as soon as the network has."""
        client = message.client
        if client in self._answers:
            self._machine.outbox.send(client_address(client), self._answers[client])
            return
        if client in self._open:
            return
        command = COMMANDS.get(message.command)
        try:
            if command is None:
                raise UserError(f"the coordinator knows no command {message.command!r}; it knows {', '.join(COMMANDS)}")
            if len(self._open) >= OPEN_AT_MOST:
                raise UserError(f"{OPEN_AT_MOST} requests are open already; try again when some are answered")
            self._open.add(client)
            command(self, message)
        except UserError as fault:
            self._refuse(client, str(fault))

    def hear(self, message: GroupState) -> None:
        """A state that a view may wait for. Raises `PeerError`."""
        for view in list(self._views):
            if view.collection.hear(message):
                self._views.remove(view)
                self._answer(view.client, describe_neuron(self._machine, view))

    def ask_again(self) -> None:
        """Ask again for the states that have not come."""
        for view in self._views:
            self._machine.outbox.act_all(
                view.collection.ask(self._machine.outbox.header(), self._machine.membership.addresses())
            )

    def roll_back(self) -> None:
        """Forget the states that came from the generation that is over."""
        for view in self._views:
            view.collection.states.clear()

    def _answer(self, client: bytes, result: dict[str, Any], rows: Array = NO_ROWS, *, good: bool = True) -> None:
        reply = Reply(self._machine.outbox.header(), good, json.dumps(result), rows)
        self._open.discard(client)
        self._answers[client] = reply
        while len(self._answers) > ANSWERS_KEPT:
            self._answers.popitem(last=False)
        self._machine.outbox.send(client_address(client), reply)

    def _refuse(self, client: bytes, reason: str) -> None:
        self._answer(client, {"error": reason}, good=False)

    def _status(self, message: Request) -> None:
        machine = self._machine
        facts = {**machine.finished, **counts_so_far(machine)} if machine.finished else summary(machine)
        waiting = {"nodes_registered": len(machine.membership.members), "nodes_needed": machine.assignment.nodes_needed}
        dropped = {"dropped": dict(machine.drops.counts)}
        self._answer(
            message.client, {"state": machine.state.value, **facts, **waiting, **dropped, "failure": machine.failure}
        )

    def _neurons(self, message: Request) -> None:
        machine = self._machine
        hosts = {group: member for member in machine.membership.members.values() for group in member.groups}
        rows = [
            describe_place(name, group.layer, hosts.get(group.number))
            for group in machine.topology.groups.values()
            for name in group.names
        ]
        self._answer(message.client, {"neurons": rows})

    def _neuron(self, message: Request) -> None:
        machine = self._machine
        name = str(_arguments(message).get("neuron"))
        group = self._group_of(name)
        wanted = {group, *machine.topology.senders[group]}
        view = View(message.client, name, StateCollector(machine.topology, LATEST_STEP, wanted))
        self._views.append(view)
        machine.outbox.act_all(view.collection.ask(machine.outbox.header(), machine.membership.addresses()))

    def _why(self, message: Request) -> None:
        name = _arguments(message).get("neuron")
        group = None if name is None else self._group_of(name)

        def tell(found: Chain) -> None:
            self._answer(message.client, {"why": list(found.sentences), "blocked_by": found.blocked_by})

        self._machine.wait_graph.ask(group, tell)

    def _group_of(self, name: object) -> int:
        group = self._machine.topology.group_of.get(name) if isinstance(name, str) else None
        if group is None:
            names = list(self._machine.topology.group_of)
            raise UserError(
                f"there is no neuron {name!r}; they are named {names[0]} to {names[-1]}, as `coordinator neurons` lists"
            )
        return group

    def _describe(self, message: Request) -> None:
        machine = self._machine
        encoding = machine.plan.data.encoding.to_json()
        self._answer(
            message.client,
            {"encoding": encoding, "layers": list(machine.topology.layers), "loss": machine.plan.network.loss},
        )

    def _forward(self, message: Request) -> None:
        inputs = self._machine.topology.layers[0]
        if message.rows.ndim != 2 or message.rows.shape[1] != inputs or not len(message.rows):
            raise UserError(f"rows of {message.rows.shape[1]} numbers for {inputs} input neurons")
        client = message.client
        self._machine.trainer.forward(
            message.rows,
            lambda activities: self._answer(client, {}, activities),
            lambda reason: self._refuse(client, reason),
        )

    def _held_out(self, message: Request) -> None:
        targets = self._machine.plan.data.test_targets

        def done(activities: Array) -> None:
            self._answer(message.client, {}, np.concatenate([activities, targets], axis=1))

        held_out = self._machine.plan.data.test_inputs
        self._machine.trainer.forward(held_out, done, lambda reason: self._refuse(message.client, reason))

    def _stop(self, message: Request) -> None:
        self._answer(message.client, {"state": "stopping"})
        self._machine.stop(0)


def _arguments(message: Request) -> dict[str, Any]:
    try:
        arguments = json.loads(message.arguments)
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise UserError("the arguments are no JSON object")
    return arguments


def describe_place(neuron: str, layer: int, host: Member | None) -> dict[str, Any]:
    """Where a neuron lives, if it does."""
    return {
        "neuron": neuron,
        "layer": layer,
        "state": host.state if host else "waiting for a node",
        "host": host.host if host else None,
        "process": host.process if host else None,
        "node": host.name if host else None,
        "messages_per_second": round(host.rate, 1) if host else None,
    }


def describe_neuron(machine: CoordinatorMachine, view: View) -> dict[str, Any]:
    """All there is to know of one neuron: what it is, its synapses with their weights, and its last activity and error."""
    topology, number = machine.topology, machine.topology.group_of[view.neuron]
    group, answer = topology.groups[number], view.collection.states[number]
    row = group.names.index(view.neuron)
    receivers = [name for below in topology.receivers[number] for name in topology.groups[below].names]
    dendrites = []
    for above in topology.senders[number]:
        first = sum(topology.groups[other].size for other in topology.receivers[above] if other < number)
        weights = view.collection.states[above].state.weights[:, first + row]
        dendrites += [
            {"neuron": name, "weight": float(weight)}
            for name, weight in zip(topology.groups[above].names, weights, strict=True)
        ]
    return {
        "neuron": view.neuron,
        "layer": group.layer,
        "step": answer.step,
        "activation": machine.plan.network.activations[group.layer],
        "bias": float(answer.state.bias[0, row]),
        "last_activity": answer.activity[:, row].tolist(),
        "last_error": answer.error[:, row].tolist(),
        "axon": [
            {"neuron": name, "weight": float(weight)}
            for name, weight in zip(receivers, answer.state.weights[row], strict=True)
        ],
        "dendrites": dendrites,
    }


COMMANDS: dict[str, Callable[[Queries, Request], None]] = {
    "status": Queries._status,
    "neurons": Queries._neurons,
    "neuron": Queries._neuron,
    "describe": Queries._describe,
    "forward": Queries._forward,
    "held_out": Queries._held_out,
    "why": Queries._why,
    "stop": Queries._stop,
}

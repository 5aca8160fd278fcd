"""Requests of clients to a running coordinator. A repeated request gets the same answer, and is not carried out twice.

`COMMANDS`, at the end, lists all commands, and says who may send each.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from coordinator.core.access import Access
from coordinator.core.answers import Answers, size_of
from coordinator.core.assignment import Assignment
from coordinator.core.editing import initial_snapshot
from coordinator.core.events import (
    Answer,
    ListSnapshots,
    LoadSnapshot,
    PrepareRun,
    RunPrepared,
    SnapshotLoaded,
    SnapshotsListed,
)
from coordinator.core.interventions import whole
from coordinator.core.journal import BIAS, RATE, SILENCE, WAKE, WEIGHT, Segment
from coordinator.core.membership import Member
from coordinator.core.run import Run
from coordinator.core.run_stats import RunStats
from coordinator.core.state import RESTARTED, CoordinatorState
from coordinator.core.telemetry import DEFAULT_RATE
from coordinator.core.tracing import STATE, Reports, TraceJob, last_step_bytes
from coordinator.core.trainer import Trainer
from coordinator.core.verdicts import LeaveNodes, Spread, StopRun, Verdict
from coordinator.core.wait_graph import Chain, WaitGraph
from coordinator.data.limits import counted
from coordinator.requests import rows_a_request
from coordinator.trace.numbers import layer_facts, neuron_facts
from neuron_node.activations import Array
from neuron_node.addresses import node_address
from neuron_node.errors import UserError
from neuron_node.protocol import Reply, Request, Stop

OPEN_AT_MOST = 64
ANSWERS_KEPT = {Access.VIEWER: (256, 64 * 1024 * 1024), Access.OPERATOR: (4_096, 4 * 1024 * 1024)}
"""The number of stored answers, and their bytes. Answers to commands have a store of their own: many requests that only read
must not displace them, because a command whose answer is forgotten would be carried out a second time.
"""
ANSWER_BYTES_AT_MOST = 64 * 1024 * 1024
NO_ROWS: Array = np.empty((0, 0))
TRACED_AT_MOST = 4_000_000
"""The most synapses of a network whose passes are traced: every group sends all its numbers."""
DESCRIBED_AT_MOST = 200_000
"""The most synapses in one answer."""
NAMED_AT_MOST = 1_000
REASON_AT_MOST = 1_000
"""The most characters of a refusal: it quotes what the client has sent."""
REPORTED_BYTES_AT_MOST = 64 * 1024 * 1024
"""The most bytes of the numbers of a training step that the groups send for one answer."""
NO_STEP = (
    "the present state; no numbers of a step are kept, because no step was done since the network was wired or changed, "
    "or a group is too large"
)


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
        self._answers = {access: Answers(*bounds) for access, bounds in ANSWERS_KEPT.items()}
        self._open: dict[bytes, Access] = {}
        """The store for the answer of each open request."""
        self._preparing = False
        """Whether the shell prepares another run."""

    def receive(self, message: Request, access: Access) -> Verdict | None:
        """Answer a request now, or when the network has answered; return what the request demands of the run."""
        command = COMMANDS.get(message.command)
        needed = command.who if command and command.who <= access else Access.VIEWER
        if stored := self._answers[needed].get(message.id):
            self._run.outbox.act(Answer(message.id, stored))
            return None
        if message.id in self._open:
            return None
        try:
            if command is None:
                raise UserError(f"the coordinator knows no command {message.command!r}; it knows {', '.join(COMMANDS)}")
            if command.who > access:
                raise UserError(
                    f"{message.command} is for operators; a viewer may send {', '.join(commands_of(access))}"
                )
            if len(self._open) >= OPEN_AT_MOST:
                raise UserError(f"{OPEN_AT_MOST} requests are open already; try again when some are answered")
            self._open[message.id] = needed
            if needed is Access.OPERATOR and self._trainer.interventions.known(message.id):
                return None
            return command.carry_out(self, message)
        except UserError as fault:
            self._refuse(message.id, str(fault))
            return None

    def receive_chain(self, request_id: bytes, chain: Chain) -> None:
        """Answer a client that has asked why the run waits."""
        self._answer(request_id, {"why": list(chain.sentences), "blocked_by": chain.blocked_by})

    def _answer(self, request_id: bytes, result: dict[str, Any], rows: Array = NO_ROWS, *, good: bool = True) -> None:
        reply = Reply(self._run.outbox.header(), good, json.dumps(result), rows)
        if (size := size_of(reply)) > ANSWER_BYTES_AT_MOST:
            line = f"the answer would have {size:,} bytes, and may have {ANSWER_BYTES_AT_MOST:,}; ask for less"
            reply = Reply(self._run.outbox.header(), False, json.dumps({"error": line}), NO_ROWS)
        self._answers[self._open.pop(request_id, Access.VIEWER)].add(request_id, reply)
        self._run.outbox.act(Answer(request_id, reply))

    def _refuse(self, request_id: bytes, reason: str) -> None:
        if (over := len(reason) - REASON_AT_MOST) > 0:
            # Keep both ends: the first says what is wrong, the last says what would be right.
            half = REASON_AT_MOST // 2
            reason = f"{reason[:half]} ({over:,} characters are left out) {reason[-half:]}"
        self._answer(request_id, {"error": reason}, good=False)

    def _status(self, message: Request) -> None:
        run, stats = self._run, self._run_stats
        facts = {**run.finished, **stats.counts()} if run.finished else stats.summary()
        waiting = {"nodes_registered": len(run.membership.members), "nodes_needed": self._assignment.nodes_needed}
        dropped = {"dropped": dict(run.drops.counts)}
        pause = {"pauses_after": self._trainer.interventions.pause_after}
        which = {"run": run.plan.run.hex(), "restarts": run.plan.restarts}
        answer = {"state": run.state.value, **which, **facts, **waiting, **dropped, **pause, "failure": run.failure}
        self._answer(message.id, answer)

    def _neurons(self, message: Request) -> None:
        run = self._run
        hosts = {group: member for member in run.membership.members.values() for group in member.groups}
        rows = [
            describe_host(name, group.layer, hosts.get(group.number))
            for group in run.topology.groups.values()
            for name in group.names
        ]
        nodes = [
            describe_node(member, run, starts=run.membership.lives[member.name]) for member in run.membership.in_order()
        ]
        self._answer(message.id, {"neurons": rows, "nodes": nodes})

    def _neuron(self, message: Request) -> None:
        topology = self._run.topology
        asked = _arguments(message).get("neuron")
        group, name = self._group_of(asked), str(asked)
        request_id, wanted = message.id, frozenset({group, *topology.senders[group]})
        rows = self._run.plan.network.batch_size
        size = sum(last_step_bytes(topology, each, rows) for each in wanted)
        if size > REPORTED_BYTES_AT_MOST:
            raise UserError(
                f"the numbers of {name} and its senders in a step of {rows:,} rows have {size:,} bytes, and may have "
                f"{REPORTED_BYTES_AT_MOST:,}; see one sample: coordinator trace --sample 1 --neuron {name}"
            )

        def done(reports: Reports) -> None:
            self._answer(request_id, self._describe_neuron(name, reports))

        self._trainer.trace(TraceJob(topology, wanted, done, lambda reason: self._refuse(request_id, reason)))

    def _trace(self, message: Request) -> None:
        topology, arguments = self._run.topology, _arguments(message)
        names = self._traced_names(arguments.get("neurons"))
        sample, which = self._traced_sample(message.rows, arguments.get("sample"))
        request_id = message.id

        def done(reports: Reports) -> None:
            first = reports[next(iter(topology.groups))]
            moment = f"one sample after step {first.step:,}; no weight was changed"
            facts = {
                **self._pass_facts(reports, first.group),
                "moment": moment,
                "sample": which,
                "inputs": sample[0].tolist(),
                "targets": sample[1].tolist(),
                "layers": layer_facts(topology, reports),
                "neurons": [self._neuron_facts(reports, name) for name in names],
            }
            self._answer(request_id, facts)

        failed: Callable[[str], None] = lambda reason: self._refuse(request_id, reason)  # noqa: E731 - as its neighbours
        self._trainer.trace(TraceJob(topology, frozenset(topology.groups), done, failed, sample))

    def _traced_names(self, wanted: object) -> list[str]:
        """Return the neurons to describe: those that are named, or all. Raises `UserError`."""
        topology = self._run.topology
        if topology.synapses > TRACED_AT_MOST:
            raise UserError(f"the network has {topology.synapses:,} synapses; a trace has at most {TRACED_AT_MOST:,}")
        if wanted is None:
            if topology.synapses > DESCRIBED_AT_MOST:
                raise UserError(
                    f"the network has {topology.synapses:,} synapses; all are shown of at most {DESCRIBED_AT_MOST:,}: "
                    "name a neuron with --neuron"
                )
            return list(topology.group_of)
        if not isinstance(wanted, list) or not wanted or len(wanted) > NAMED_AT_MOST:
            raise UserError(f"the neurons of a trace are a list of 1 to {NAMED_AT_MOST} names")
        for name in wanted:
            self._group_of(name)
        return wanted

    def _traced_sample(self, rows: Array, number: object) -> tuple[tuple[Array, Array], int | None]:
        """Return inputs and targets, each with one row, and the number of the training sample. Raises `UserError`."""
        data, layers = self._run.plan.data, self._run.topology.layers
        inputs, outputs = layers[0], layers[-1]
        if number is None:
            if rows.shape != (1, inputs + outputs):
                raise UserError(
                    f"a trace takes one row of {inputs} inputs and {outputs} targets, or the number of a sample"
                )
            return (rows[:, :inputs].copy(), rows[:, inputs:].copy()), None
        samples = len(data.train_inputs)
        if type(number) is not int or not 1 <= number <= samples:
            known = (
                f"they are numbered 1 to {samples:,}"
                if samples
                else "a saved model contains none: name a data set and a row"
            )
            raise UserError(f"there is no training sample {number!r}; {known}")
        return (data.train_inputs[number - 1 : number], data.train_targets[number - 1 : number]), number

    def _neuron_facts(self, reports: Reports, name: str) -> dict[str, Any]:
        hosts = {group: member.host for member in self._run.membership.members.values() for group in member.groups}
        changes = self._trainer.changes
        facts = neuron_facts(self._run.topology, self._run.plan.network, reports, name, hosts)
        facts["silent"] = name in changes.silent
        if changes.learning_rate is not None:
            facts["learning_rate"] = changes.learning_rate
        return facts

    def _pass_facts(self, reports: Reports, group: int) -> dict[str, Any]:
        """Return the pass, step and rows of the numbers of a group."""
        report = reports[group]
        rows = next((len(array.values) for array in report.numbers if array.name == "activity"), 0)
        return {"pass": report.header.pass_number, "step": report.step, "rows": rows}

    def _watch(self, message: Request) -> None:
        arguments = _arguments(message)
        names, rate = arguments.get("neurons"), arguments.get("rate", DEFAULT_RATE)
        if names is not None and (not isinstance(names, list) or not 0 < len(names) <= NAMED_AT_MOST):
            raise UserError(f"the watched neurons are a list of 1 to {NAMED_AT_MOST} names")
        groups = None if names is None else frozenset(self._group_of(name) for name in names)
        lease = self._trainer.telemetry.watch(arguments.get("watcher"), groups, rate)
        self._answer(message.id, {**lease, "state": self._run.state.value, "run": self._run.plan.run.hex()})

    def _history(self, message: Request) -> None:
        self._run.outbox.act(ListSnapshots(message.id))

    def _receive_list(self, listed: SnapshotsListed) -> None:
        if listed.reason:
            self._refuse(listed.request_id, listed.reason)
            return
        journal = self._trainer.interventions.journal
        kept = [
            {"branch": branch, "step": step, "on_path": any(one.has(branch, step) for one in journal.segments)}
            for branch, step in listed.kept
        ]
        self._answer(listed.request_id, {"branch": journal.branch, "snapshots": kept})

    def _why(self, message: Request) -> None:
        name = _arguments(message).get("neuron")
        self._wait_graph.ask(None if name is None else self._group_of(name), message.id)

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
        data = plan.data
        # Without held-out samples, those of the training are measured.
        held_out = 0 if np.array_equal(data.train_inputs, data.test_inputs) else len(data.test_inputs)
        facts = {"encoding": data.encoding.to_json(), "network": plan.network.to_json(), "held_out": held_out}
        self._answer(message.id, {**facts, "layers": list(topology.layers), "loss": plan.network.loss})

    def _forward(self, message: Request) -> None:
        inputs = self._run.topology.layers[0]
        rows, columns = message.rows.shape
        if not rows or columns != inputs:
            raise UserError(
                f"{rows:,} rows of {columns:,} numbers for {inputs:,} input neurons; right would be at least one row of "
                f"{counted(inputs, 'number')}"
            )
        self._trainer.forward(
            message.rows,
            lambda activities: self._answer(message.id, {}, activities),
            lambda reason: self._refuse(message.id, reason),
        )

    def _held_out(self, message: Request) -> None:
        """Answer with the held-out samples from `first` on: as many as a reply may have, without `first` all of them."""
        data, arguments = self._run.plan.data, _arguments(message)
        first, count = arguments.get("first"), arguments.get("count")
        if first is not None and (type(first) is not int or not 0 <= first <= len(data.test_inputs)):
            raise UserError(f"first must be a whole number from 0 to {len(data.test_inputs)}, not {first!r}")
        most = rows_a_request(self._run.topology.layers)
        if count is not None:
            most = min(most, whole("number of samples", count))
        some = slice(0, None) if first is None else slice(first, first + most)
        inputs, targets = data.test_inputs[some], data.test_targets[some]
        if first is not None and not len(inputs):
            self._answer(message.id, {}, np.empty((0, 2 * targets.shape[1])))
            return

        def done(activities: Array) -> None:
            before = [inputs] if arguments.get("inputs") is True else []
            self._answer(message.id, {}, np.concatenate([*before, activities, targets], axis=1))

        self._trainer.forward(inputs, done, lambda reason: self._refuse(message.id, reason))

    def _stop(self, message: Request) -> StopRun:
        self._answer(message.id, {"state": "stopping"})
        return StopRun(0)

    # Interventions.

    def answer_interventions(self) -> None:
        """Answer the interventions that are carried out."""
        step, still = self._trainer.training.progress.step, self._trainer.still and self._run.running
        for request_id, facts, good in self._trainer.interventions.answers(step, still=still):
            self._answer(request_id, facts, good=good)

    def _check_training(self) -> None:
        """Raise `UserError` if no step is left to pause before or to change."""
        if self._run.state is CoordinatorState.STOPPING:
            raise UserError("the run is stopping, so nothing was changed")
        if self._trainer.done:
            step = self._trainer.training.schedule.steps
            right = (
                "`coordinator restart` begins another run"
                if self._run.plan.restarts
                else "right would be a run that is in training"
            )
            raise UserError(f"the training has finished with step {step:,}; {right}")

    def _pause(self, message: Request) -> None:
        self._check_training()
        self._trainer.interventions.pause(message.id, self._trainer.announced)

    def _resume(self, message: Request) -> None:
        arguments = _arguments(message)
        self._check_training()
        interventions = self._trainer.interventions
        if arguments.get("to") is None:
            interventions.resume(message.id)
        else:
            interventions.run_to(message.id, self._trainer.announced, whole("step", arguments["to"]))

    def _step(self, message: Request) -> None:
        count = whole("number of steps", _arguments(message).get("count", 1))
        self._check_training()
        self._trainer.interventions.step(message.id, self._trainer.announced, count)

    def _set(self, message: Request) -> None:
        arguments = _arguments(message)
        kind = arguments.get("what")
        if kind not in (RATE, WEIGHT, BIAS):
            raise UserError(f"{kind!r} cannot be set; right would be {RATE}, {WEIGHT} or {BIAS}")
        self._check_training()
        self._trainer.interventions.want(message.id, kind, arguments)

    def _silence(self, message: Request) -> None:
        arguments = _arguments(message)
        self._check_training()
        self._trainer.interventions.want(message.id, WAKE if arguments.get("end") else SILENCE, arguments)

    def _rewind(self, message: Request) -> None:
        arguments = _arguments(message)
        step = whole("step", arguments.get("step"), least=0)
        interventions = self._trainer.interventions
        journal, branch = interventions.journal, arguments.get("branch")
        self._check_training()
        interventions.check_rewind()
        if branch is not None and (type(branch) is not int or not 0 <= branch < journal.branches):
            last = journal.branches - 1
            right = f"a branch from 0 to {last}" if last else "branch 0, the only one"
            raise UserError(f"there is no branch {branch!r}; right would be {right}")
        if step == 0:
            interventions.want_rewind(message.id, initial_snapshot(self._run.plan, self._run.topology))
            return
        segments = journal.segments if branch is None else (Segment(branch, 0),)
        self._run.outbox.act(LoadSnapshot(message.id, step, segments))

    def receive_prepared(self, prepared: SnapshotLoaded | SnapshotsListed | RunPrepared) -> LeaveNodes | None:
        """Receive what the shell has prepared for a request, or the reason why it could not."""
        match prepared:
            case SnapshotLoaded():
                self._receive_snapshot(prepared)
            case SnapshotsListed():
                self._receive_list(prepared)
            case RunPrepared():
                return self._receive_run(prepared)
        return None

    def _receive_snapshot(self, loaded: SnapshotLoaded) -> None:
        try:
            if loaded.snapshot is None:
                raise UserError(loaded.reason)
            self._check_training()
            self._trainer.interventions.want_rewind(loaded.request_id, loaded.snapshot)
        except UserError as fault:
            self._refuse(loaded.request_id, str(fault))

    def _kill(self, message: Request) -> None:
        name = _arguments(message).get("neuron")
        host = self._run.membership.host_of(self._group_of(name))
        if host is None or not self._run.running:
            raise UserError(f"no program runs {name} at present; try again when the run is in training")
        outbox = self._run.outbox
        outbox.send(node_address(host.incarnation), Stop(outbox.header(), at_once=True))
        outbox.report("killed", neuron=name, node=host.name, process=host.process)
        killed = {"node": host.name, "host": host.host, "process": host.process, "groups": len(host.groups)}
        step = self._trainer.training.progress.step
        self._answer(message.id, {"neuron": name, **killed, "step": step})

    def _rebalance(self, message: Request) -> Spread:
        doubled, spares = self._assignment.doubled()
        if not self._run.running or self._trainer.changing:
            raise UserError("the run is in a recovery or a change; try again when it is in training")
        if not doubled:
            raise UserError("no node hosts the groups of another; there is nothing to move")
        if not spares:
            raise UserError(
                f"{counted(doubled, 'place')} of groups could move, but no node is free; start more nodes, and type it again"
            )
        moved = self._assignment.release_doubled()
        step = self._trainer.snapshot.step if self._trainer.snapshot else 0
        self._answer(message.id, {"moved": moved, "remaining": doubled - moved, "step": step})
        return Spread()

    def _restart(self, message: Request) -> None:
        plan, settings = self._run.plan, _arguments(message).get("settings")
        if plan.begun_by is not None and plan.begun_by[0] == message.id:
            self._answer(message.id, {**plan.begun_by[1], "again": True})
            return
        if not plan.restarts:
            raise UserError(
                "only a service can begin another run, and this run was started by `coordinator learn`; "
                "begin another one with: coordinator learn"
            )
        if not isinstance(settings, dict) or not all(isinstance(value, str) for value in settings.values()):
            raise UserError(
                "the settings of another run are an object: the name of each setting, and its value as text"
            )
        if self._run.state is CoordinatorState.STOPPING:
            raise UserError("the run is stopping, so no other run begins")
        if self._preparing:
            raise UserError("another run is being prepared already; try again when it has begun")
        self._preparing = True
        self._run.outbox.act(PrepareRun(message.id, settings, len(self._run.membership.members)))

    def _receive_run(self, prepared: RunPrepared) -> LeaveNodes | None:
        """Answer a client that has asked for another run, and end this one for it."""
        if prepared.reason:
            self._preparing = False
            self._refuse(prepared.request_id, prepared.reason)
            return None
        facts = {**prepared.facts, "step": self._trainer.training.progress.step}
        self._run.outbox.report("restarted", **facts)
        self._trainer.interventions.refuse_all("the coordinator begins another run, so nothing was changed")
        self.answer_interventions()
        self._answer(prepared.request_id, facts)
        return LeaveNodes(RESTARTED)

    def _describe_neuron(self, name: str, reports: Reports) -> dict[str, Any]:
        """Return a neuron's numbers in the last training step, and its synapses. Without such a step, the present state only."""
        topology = self._run.topology
        number = topology.group_of[name]
        group = topology.groups[number]
        row = group.names.index(name)
        own = self._pass_facts(reports, number)
        arrays = {array.name: array.values for array in reports[number].numbers}
        known = all(len(reports[each].numbers) > len(STATE) for each in reports)
        moment = "the last training step, with each value before and after its update"
        facts: dict[str, Any] = {
            "neuron": name,
            "layer": group.layer,
            "activation": self._run.plan.network.activations[group.layer],
            **(own if known else {**own, "pass": None, "rows": 0}),
            "moment": moment if known else NO_STEP,
            "bias": float(arrays["bias_after"][0, row]),
        }
        receivers = [each for below in topology.receivers[number] for each in topology.groups[below].names]
        weights = arrays["weights_after"][row].tolist()
        facts["axon"] = [{"neuron": each, "weight": weight} for each, weight in zip(receivers, weights, strict=True)]
        facts["dendrites"] = []
        for above in topology.senders[number]:
            first = sum(topology.groups[other].size for other in topology.receivers[above] if other < number)
            theirs = {array.name: array.values for array in reports[above].numbers}
            for index, each in enumerate(topology.groups[above].names):
                synapse = {"neuron": each, "weight": float(theirs["weights_after"][index, first + row])}
                if known:
                    synapse |= {
                        "before": float(theirs["weights"][index, first + row]),
                        "gradient": float(theirs["gradients"][index, first + row]),
                        "activity": theirs["activity"][:, index].tolist(),
                    }
                facts["dendrites"].append(synapse)
        if not known:
            return {**facts, "last_activity": [], "last_error": [], "steps": None}
        steps = self._neuron_facts(reports, name)
        for synapse, traced in zip(facts["axon"], steps["axon"], strict=True):
            synapse |= {"before": traced["weight"], "gradient": traced["gradient"], "error": traced["error"]}
        return {
            **facts,
            "bias_before": steps["bias"],
            "bias_gradient": steps["bias_gradient"],
            "last_activity": steps["activity"],
            "last_error": steps["error"],
            "steps": steps,
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


def describe_node(member: Member, run: Run, *, starts: int) -> dict[str, Any]:
    """Return a node, the neurons that it hosts, and how often it was started."""
    groups = [run.topology.groups[number].names for number in member.groups]
    return {
        "node": member.name,
        "state": member.state,
        "host": member.host,
        "process": member.process,
        "neurons": sum(map(len, groups)),
        "first_neuron": groups[0][0] if groups else None,
        "messages_per_second": round(member.rate, 1),
        "heard_seconds_ago": round(max(0.0, run.now_ms - member.received_ms) / 1000.0, 1),
        "starts": starts,
    }


class Command(NamedTuple):
    """A command: the method that carries it out, and who may send it."""

    carry_out: Callable[[Queries, Request], Verdict | None]
    who: Access


COMMANDS: dict[str, Command] = {
    "status": Command(Queries._status, Access.VIEWER),
    "neurons": Command(Queries._neurons, Access.VIEWER),
    "neuron": Command(Queries._neuron, Access.VIEWER),
    "trace": Command(Queries._trace, Access.VIEWER),
    "watch": Command(Queries._watch, Access.VIEWER),
    "describe": Command(Queries._describe, Access.VIEWER),
    "forward": Command(Queries._forward, Access.VIEWER),
    "held_out": Command(Queries._held_out, Access.VIEWER),
    "history": Command(Queries._history, Access.VIEWER),
    "why": Command(Queries._why, Access.VIEWER),
    "stop": Command(Queries._stop, Access.OPERATOR),
    "pause": Command(Queries._pause, Access.OPERATOR),
    "resume": Command(Queries._resume, Access.OPERATOR),
    "step": Command(Queries._step, Access.OPERATOR),
    "set": Command(Queries._set, Access.OPERATOR),
    "silence": Command(Queries._silence, Access.OPERATOR),
    "rewind": Command(Queries._rewind, Access.OPERATOR),
    "kill": Command(Queries._kill, Access.OPERATOR),
    "rebalance": Command(Queries._rebalance, Access.OPERATOR),
    "restart": Command(Queries._restart, Access.OPERATOR),
}
"""A command that changes the run, or ends it, is for operators."""


def commands_of(access: Access) -> list[str]:
    """Return the names of the commands that a sender may use."""
    return [name for name, command in COMMANDS.items() if command.who <= access]

"""Watches the neurons of a running network: holds the lease, and decodes what the groups send."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from coordinator.client import Client
from neuron_node.addresses import ADDRESS_LENGTH
from neuron_node.errors import PeerError
from neuron_node.frames import DataFrame, DataKind, parse, split
from neuron_node.telemetry import ShownNumbers, unpacked

RENEWED_AFTER = 0.4
"""The part of a lease after which it is prolonged."""


class Update(NamedTuple):
    """One marked training step: the progress of the run, and the numbers of the watched groups."""

    facts: Mapping[str, Any]
    """Progress, step, pass and moment."""
    groups: Mapping[int, ShownNumbers]


class Watch:
    """A lease on the numbers of some neurons, or of all. As a context manager it needs no end: the lease runs out."""

    def __init__(
        self,
        client: Client,
        neurons: Sequence[str] | None,
        rate: float,
        others: Callable[[Sequence[bytes]], None] = lambda _message: None,
    ) -> None:
        """Begin to watch, at most `rate` updates per second. `neurons` None: all. `others` receives messages of other topics.

        Raises:
            UserError: there is no such neuron, or the network can't be watched.
            NobodyAnswers: the coordinator does not answer.
        """
        self._client = client
        self._others = others
        self._wanted: dict[str, Any] = {"watcher": secrets.token_hex(8), "rate": rate}
        if neurons is not None:
            self._wanted["neurons"] = list(neurons)
        self._renewed = 0.0
        self.lease: Mapping[str, Any] = {}
        """What the coordinator has granted; `state` is the state of the run at that time."""
        self._sizes: dict[int, tuple[int, int]] = {}
        """The numbers of neurons, and of synapses of each, by group."""
        self._parts: dict[int, tuple[Mapping[str, Any], DataFrame]] = {}
        self._renew()
        for topic in self.lease["topics"]:
            client.subscribe(topic.encode())

    def next(self, seconds: float) -> Update | None:
        """Return the next update; None if none arrives within so many seconds. Raises as the constructor does."""
        deadline = time.monotonic() + seconds
        while (rest := deadline - time.monotonic()) > 0:
            if time.monotonic() - self._renewed > RENEWED_AFTER * self.lease["lease_seconds"]:
                self._renew()
            message = self._client.next_published(min(rest, 0.5))
            if message is None:
                continue
            if message[0].decode("utf-8", "replace") not in self.lease["topics"]:
                self._others(message)
            elif update := self._received(message):
                return update
        return None

    def set_rate(self, rate: float) -> None:
        """Take another number of updates per second from now on. Raises as the constructor does."""
        if rate != self._wanted["rate"]:
            self._wanted["rate"] = rate
            self._renew()

    def facts_of(self, update: Update) -> list[dict[str, Any]]:
        """Return the numbers of an update, neuron by neuron, as plain data. Lists have one number for each shown row."""
        found = []
        for number, shown in update.groups.items():
            group = self.lease["groups"][str(number)]
            for index, name in enumerate(group["neurons"]):
                of_weights = (shown.weights[index], shown.gradients[index], shown.weights_after[index])
                found.append(
                    {
                        "neuron": name,
                        "layer": group["layer"],
                        "activity": shown.activity[:, index].tolist(),
                        "error": shown.own_error[:, index].tolist(),
                        "bias_before": float(shown.bias[index]),
                        "bias_gradient": float(shown.bias_gradient[index]),
                        "bias": float(shown.bias_after[index]),
                        "axon": [
                            {"neuron": receiver, "before": before, "gradient": gradient, "weight": after}
                            for receiver, before, gradient, after in zip(
                                group["receivers"], *(values.tolist() for values in of_weights), strict=True
                            )
                        ],
                    }
                )
        return found

    def _renew(self) -> None:
        self.lease, _ = self._client.ask("watch", **self._wanted)
        self._sizes = {
            int(number): (len(group["neurons"]), len(group["receivers"]))
            for number, group in self.lease["groups"].items()
        }
        self._renewed = time.monotonic()

    def _received(self, message: Sequence[bytes]) -> Update | None:
        """Return the update that a message completes. Groups that were asked for by name arrive one by one."""
        if len(message) != 3:
            return None
        try:
            facts = json.loads(message[1])
            for frame in split(bytes(ADDRESS_LENGTH) + message[2]):
                data = parse(frame)
                if data.kind == DataKind.TELEMETRY and data.sender in self._sizes:
                    self._parts[data.sender] = facts, data
        except (PeerError, ValueError):
            # A message that was damaged on its way: the next one is whole.
            return None
        ours = {number: data for number, (told, data) in self._parts.items() if told["pass"] == facts["pass"]}
        if ours.keys() != self._sizes.keys():
            return None
        self._parts.clear()
        try:
            groups = {number: unpacked(data.values[0], *self._sizes[number]) for number, data in sorted(ours.items())}
        except PeerError:
            return None
        return Update(facts, groups)

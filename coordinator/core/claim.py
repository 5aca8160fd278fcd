"""Makes sure that no other coordinator works at the broker, before this one takes nodes.

A coordinator sends a probe to the address at which all coordinators receive. Another coordinator that works at the broker
receives the probe too, and rejects it. Without a rejection for a while, the broker belongs to this coordinator.
"""

from __future__ import annotations

from zlib import crc32

from coordinator.core.run import Run
from neuron_node.addresses import COORDINATOR
from neuron_node.codec import encode
from neuron_node.errors import Stale
from neuron_node.events import Send
from neuron_node.protocol import Probe, Reject

CLAIM_MS = 1_000
"""The time in which another coordinator must reject the probe. A coordinator that is suspended for longer is overlooked."""


class Claim:
    """The claim of one coordinator to its broker."""

    def __init__(self, run: Run) -> None:
        self.pending = run.plan.claims_broker
        """Whether another coordinator may still reject this one."""
        self._run = run
        self._returned_ms: float | None = None
        self._frame: bytes = encode(Probe(run.outbox.header()))

    def send(self) -> None:
        """Send the probe to all coordinators, the first time or again."""
        if self.pending:
            self._run.outbox.act(Send(COORDINATOR + self._frame))

    def receive(self, message: Probe) -> None:
        """Receive a probe that came to all coordinators: our own, or that of another coordinator, which is rejected."""
        run, other = self._run, message.header.incarnation
        if other == run.plan.incarnation:
            if self._returned_ms is None:
                self._returned_ms = run.now_ms
            return
        # Of two that claim at the same time, the one with the smaller incarnation gets the broker.
        if not self.pending or run.plan.incarnation < other:
            reason = f"{run.plan.label or 'another coordinator'} works at this broker already"
            run.outbox.send(COORDINATOR, Reject(run.outbox.header(run.control_check), reason))

    def receive_rejection(self, message: Reject) -> str:
        """Return the reason of another coordinator. Raises `Stale` if it rejects another probe than ours."""
        if not self.pending or message.header.pass_number != crc32(self._frame):
            raise Stale("a rejection of another coordinator")
        self.pending = False
        return message.reason

    def poll(self) -> bool:
        """Whether the claim has just succeeded."""
        if not self.pending or self._returned_ms is None or self._run.now_ms - self._returned_ms < CLAIM_MS:
            return False
        self.pending = False
        return True

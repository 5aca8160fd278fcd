"""How a program of the bare wire is linked: the sockets of a real one, and nothing between them and who uses them.

All that a step needs is made ready beforehand: what is sent and heard then goes through loops of the interpreter's own, in
C, and through pyzmq without its convenience. Links are proved as in a run, so that no message is lost at the start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import starmap

from coordinator.bench.pattern import Part
from coordinator.core.traffic import Message
from neuron_node.addresses import probe_address
from neuron_node.direct import PROBE, DirectLink
from neuron_node.errors import JobError
from neuron_node.transport import SENT_BY_REFERENCE_BYTES, Link

PROVING_AGAIN_MS = 100
HEARD_BY_REFERENCE_BYTES = 64 * 1024
"""From this size on a frame is taken from ZeroMQ without a copy."""

Doing = Callable[[], object]


class BareLink(Link):
    """To the broker alone."""

    def prove(self, part: Part, name: bytes) -> None:
        """Subscribe; return when that holds and everything that was sent to prove it has been taken off the socket."""
        address = probe_address(name)
        for subscription in (*part.subscriptions, address):
            self.subscribe(subscription)
        sent = 0
        while True:
            sent += 1
            self.send(address + sent.to_bytes(8, "big"))
            if self._sub.poll(PROVING_AGAIN_MS):
                break
        # One sender's messages keep their order: after this one no earlier probe can come.
        self.send(address + bytes(8))
        while self._sub.recv() != address + bytes(8):
            pass
        self.unsubscribe(address)

    def sending(self, messages: Sequence[Message]) -> Doing:
        """The quickest way to send those, as often as it is called."""
        frames = [message.frame() for message in messages]
        return _doing(self._way_out(), [(frame, 0, len(frame) < SENT_BY_REFERENCE_BYTES) for frame in frames])

    def hearing(self, messages: int, largest_bytes: int) -> Doing:
        """The quickest way to receive so many, none of them larger than that."""
        by_reference = largest_bytes >= HEARD_BY_REFERENCE_BYTES
        return _doing(self._sub.recv, [(0, False) if by_reference else ()] * messages)

    def _way_out(self) -> Callable[..., object]:
        return self._send


class BareDirectLink(BareLink, DirectLink):
    """With an outlet, at which all that is sent in a step is published, and connections to those of peers."""

    def meet(self, name: bytes, endpoints: Sequence[str]) -> None:
        """Connect to peers, each of which does the same now; return when all subscriptions hold, theirs and one's own.

        Everybody subscribes to an address of his own before he waits, so all are answered. Raises `JobError`.
        """
        for endpoint in endpoints:
            self.connect(endpoint)
        address = probe_address(name)
        self.subscribe(address)
        for _ in endpoints:
            self._answer_a_probe()
        echoes = {self._sub.recv() for _ in endpoints}
        if len(echoes) < len(endpoints) or not all(echo.startswith(address) for echo in echoes):
            raise JobError("the bare wire is not connected as it should be")
        self.unsubscribe(address)

    def _answer_a_probe(self) -> None:
        """As `DirectLink` does, but it is known how many will come."""
        notice = b""
        while not notice.startswith(PROBE):
            if not self._outlet.poll(self._receive_timeout_ms):
                raise JobError("a peer in the bare wire does not prove its links")
            notice = self._outlet.recv()
        self._outlet.send(notice[1:] + self._echo)

    def _way_out(self) -> Callable[..., object]:
        return self._publish


def _doing(do: Callable[..., object], calls: Sequence[tuple[object, ...]]) -> Doing:
    """All of these calls, one after the other, without a loop of Python's own; what they return is let go of."""
    if not calls:
        return lambda: None
    if len(calls) == 1:
        return partial(do, *calls[0])
    let_go = deque[object](maxlen=0).extend
    return lambda: let_go(starmap(do, calls))

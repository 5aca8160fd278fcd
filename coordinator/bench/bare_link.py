"""The link of a program of the bare wire: the sockets of a real program, with as little code around them as possible.

Everything that a step needs is prepared. Messages are then sent and received by loops in C, through pyzmq's C methods. The
links are proved as in a run, so that no message is lost at the start.
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
"""From this size on, a frame is received from ZeroMQ without a copy."""

Doing = Callable[[], object]


class BareLink(Link):
    """A link to the broker only."""

    def prove(self, part: Part, name: bytes) -> None:
        """Subscribe; return when the broker knows the subscriptions and all probes have been received."""
        address = probe_address(name)
        for subscription in (*part.subscriptions, address):
            self.subscribe(subscription)
        sent = 0
        while True:
            sent += 1
            self.send(address + sent.to_bytes(8, "big"))
            if self._sub.poll(PROVING_AGAIN_MS):
                break
        # Messages of one sender keep their order, so no earlier probe arrives after this one.
        self.send(address + bytes(8))
        while self._sub.recv() != address + bytes(8):
            pass
        self.unsubscribe(address)

    def sending(self, messages: Sequence[Message]) -> Doing:
        """Return a function that sends these messages each time it is called, in the fastest way."""
        frames = [message.frame() for message in messages]
        return _doing(self._way_out(), [(frame, 0, len(frame) < SENT_BY_REFERENCE_BYTES) for frame in frames])

    def hearing(self, messages: int, largest_bytes: int) -> Doing:
        """Return a function that receives this number of messages, in the fastest way for messages up to this size."""
        by_reference = largest_bytes >= HEARD_BY_REFERENCE_BYTES
        return _doing(self._sub.recv, [(0, False) if by_reference else ()] * messages)

    def _way_out(self) -> Callable[..., object]:
        return self._send


class BareDirectLink(BareLink, DirectLink):
    """A link with an outlet, which publishes all messages of a step, and with connections to the outlets of peers."""

    def meet(self, name: bytes, endpoints: Sequence[str]) -> None:
        """Connect to peers, which do the same at the same time; return when both sides know all subscriptions.

        Each program subscribes to its own address before it waits, so each gets its answers.

        Raises:
            JobError: a peer does not answer, or answers with another address.
        """
        for endpoint in endpoints:
            self.connect(endpoint)
        address = probe_address(name)
        self.subscribe(address)
        for _ in endpoints:
            self._answer_a_probe()
        echoes = {self._sub.recv() for _ in endpoints}
        if len(echoes) < len(endpoints) or not all(echo.startswith(address) for echo in echoes):
            raise JobError("a program of the bare wire received a wrong echo")
        self.unsubscribe(address)

    def _answer_a_probe(self) -> None:
        """Answer one probe, as `DirectLink` does; the number of probes is known here."""
        notice = b""
        while not notice.startswith(PROBE):
            if not self._outlet.poll(self._receive_timeout_ms):
                raise JobError("a peer of the bare wire does not prove its links")
            notice = self._outlet.recv()
        self._outlet.send(notice[1:] + self._echo)

    def _way_out(self) -> Callable[..., object]:
        return self._publish


def _doing(do: Callable[..., object], calls: Sequence[tuple[object, ...]]) -> Doing:
    """Return a function that makes all these calls in order, without a loop in Python, and drops their results."""
    if not calls:
        return lambda: None
    if len(calls) == 1:
        return partial(do, *calls[0])
    let_go = deque[object](maxlen=0).extend
    return lambda: let_go(starmap(do, calls))

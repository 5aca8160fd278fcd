"""Stores the latest answers, so that a repeated request gets the same answer and is not carried out twice."""

from __future__ import annotations

from collections import OrderedDict

from neuron_node.protocol import Reply


def size_of(reply: Reply) -> int:
    """Return about how many bytes a reply has."""
    return len(reply.result) + int(reply.rows.nbytes)


class Answers:
    """Answers by request id. If there are too many, the oldest answers are forgotten."""

    def __init__(self, count: int, most_bytes: int) -> None:
        self._count = count
        self._most_bytes = most_bytes
        self._bytes = 0
        self._replies: OrderedDict[bytes, Reply] = OrderedDict()

    def __len__(self) -> int:
        return len(self._replies)

    def get(self, request_id: bytes) -> Reply | None:
        """Return the answer to a request; None if it is not stored."""
        return self._replies.get(request_id)

    def add(self, request_id: bytes, reply: Reply) -> None:
        """Store an answer, and forget the oldest answers that exceed the bounds. The newest is always stored."""
        self._replies[request_id] = reply
        self._bytes += size_of(reply)
        while len(self._replies) > self._count or (self._bytes > self._most_bytes and len(self._replies) > 1):
            _, forgotten = self._replies.popitem(last=False)
            self._bytes -= size_of(forgotten)

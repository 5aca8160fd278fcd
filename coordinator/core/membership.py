"""Who is there: one member for each life of a node, and which groups it hosts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from neuron_node.addresses import node_address
from neuron_node.protocol import Register, Traffic, Waits

COUNTED_AGAIN_MS = 500
NOTHING_YET = Traffic(0, 0, 0)


@dataclass(eq=False)
class Member:
    """One life of one node."""

    incarnation: bytes
    name: str
    host: str
    process: int
    fingerprint: str
    heard_ms: float
    endpoint: str = ""
    """Where its data can be heard without the broker; empty: nowhere."""
    state: str = "spare"
    groups: list[int] = field(default_factory=list)
    ready: bool = False
    linked: bool = True
    """Whether it has said, since our own connection broke last, that its links are proved."""
    keeps_copies: bool = False
    """Whether it may keep copies of its groups: it has taken part in this run."""
    lacking: set[int] = field(default_factory=set)
    """Groups of which it has said that it keeps no such copy."""
    asked_since_ms: float | None = None
    """When the question was first sent that it has not answered."""
    asked_ms: float = float("-inf")
    answered_ms: float = float("-inf")
    waits: tuple[Waits, ...] = ()
    """Its last answer."""
    waits_pass: int = -1
    traffic: Traffic = NOTHING_YET
    rate: float = 0.0
    """Messages sent per second, between the last two counts."""
    counted_ms: float = float("-inf")
    counted: int = 0
    dropped_before: int | None = 0
    """Messages that it had dropped before this life of the coordinator knew it; None until it is heard."""
    place: tuple[tuple[tuple[int, str], ...], bytes] = ((), b"")
    """In the order of names, numbers in them counted as numbers."""

    def __post_init__(self) -> None:
        self.place = (_natural(self.name), self.incarnation)

    @property
    def dropped(self) -> int:
        """Messages that it could not use since this life of the coordinator knows it."""
        return self.traffic.dropped - (self.dropped_before or 0)

    def count(self, traffic: Traffic, now_ms: float) -> None:
        """Take a new count of the node's messages."""
        self.traffic = traffic
        if self.dropped_before is None:
            self.dropped_before = traffic.dropped
        passed_ms, messages = now_ms - self.counted_ms, traffic.sent
        if passed_ms >= COUNTED_AGAIN_MS:
            if math.isfinite(self.counted_ms):
                self.rate = max(0.0, (messages - self.counted) * 1000.0 / passed_ms)
            self.counted_ms, self.counted = now_ms, messages


class Membership:
    """Members by incarnation. One that was superseded or lost is never readmitted under the same incarnation."""

    def __init__(self) -> None:
        self.members: dict[bytes, Member] = {}
        self.gone: set[bytes] = set()
        self._in_order: list[Member] | None = []
        """None while it is to be sorted anew."""
        self.sent_by_the_gone = 0
        self.dropped_by_the_gone = 0

    def register(self, message: Register, now_ms: float) -> tuple[Member, Member | None]:
        """Take in a node: its member, and the earlier life under the same name that it supersedes, if there was one."""
        incarnation = message.header.incarnation
        if known := self.members.get(incarnation):
            known.heard_ms = now_ms
            return known, None
        earlier = next((member for member in self.members.values() if member.name == message.name), None)
        if earlier:
            self.lose(earlier)
        who = (message.name, message.host, message.process, message.fingerprint)
        member = Member(incarnation, *who, now_ms, message.endpoint)
        self.members[incarnation] = member
        self._in_order = None
        return member, earlier

    def everybody_was_heard(self, now_ms: float) -> None:
        """A pass is complete, so whoever hosts a group has taken part in it."""
        for member in self.members.values():
            if member.groups:
                member.heard_ms = now_ms

    def lose(self, member: Member) -> None:
        """Forget a life for good."""
        self.sent_by_the_gone += member.traffic.sent
        self.dropped_by_the_gone += member.dropped
        self.gone.add(member.incarnation)
        del self.members[member.incarnation]
        self._in_order = None

    def in_order(self) -> list[Member]:
        """Members by name, numbers in names counted as numbers: the order does not depend on who came first."""
        if self._in_order is None:
            self._in_order = sorted(self.members.values(), key=lambda member: member.place)
        return self._in_order

    def host_of(self, group: int) -> Member | None:
        """The member that hosts a group."""
        return next((member for member in self.members.values() if group in member.groups), None)

    def addresses(self) -> dict[int, bytes]:
        """The address of the node that hosts each group."""
        return {group: node_address(one.incarnation) for one in self.members.values() for group in one.groups}

    def homeless(self, groups: Iterable[int]) -> list[int]:
        """The groups that no member hosts."""
        placed = {group for member in self.members.values() for group in member.groups}
        return [group for group in groups if group not in placed]

    def hosting(self) -> list[Member]:
        """The members that host groups, by name."""
        return [member for member in self.in_order() if member.groups]

    def place(self, shares: list[list[int]]) -> bool:
        """Give every group a member, keeping those in place; False, and nothing changed, if there are too few.

        What no member hosts of a share goes to one that hosts nothing.
        """
        spares = [member for member in self.in_order() if not member.groups]
        homeless = set(self.homeless(group for share in shares for group in share))
        given = [left for share in shares if (left := [group for group in share if group in homeless])]
        if len(spares) < len(given):
            return False
        for left, member in zip(given, spares, strict=False):
            member.groups = left
        return True

    def crowd(self, groups: list[int]) -> list[tuple[int, Member]]:
        """Give groups that have no member to whoever has the fewest, the first by name of these; who got what."""
        members, given = self.in_order(), []
        for group in self.homeless(groups):
            member = min(members, key=lambda member: len(member.groups))
            member.groups = sorted([*member.groups, group])
            given.append((group, member))
        return given

    @property
    def rate(self) -> float:
        """Messages a second that nodes send and receive, by their last two counts."""
        return sum(member.rate for member in self.members.values())

    @property
    def dropped(self) -> int:
        """Messages that nodes of the run could not use, as last counted."""
        return self.dropped_by_the_gone + sum(member.dropped for member in self.members.values())

    @property
    def sent(self) -> int:
        """Messages that all nodes of the run have sent, as last counted."""
        return self.sent_by_the_gone + sum(member.traffic.sent for member in self.members.values())


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name))

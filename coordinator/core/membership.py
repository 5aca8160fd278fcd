"""The members of a run: one for each life of a node, with the groups that it hosts."""

from __future__ import annotations

import math
import re
from collections import Counter
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
    received_ms: float
    endpoint: str = ""
    """Where peers connect to receive its data without the broker; empty if it has no such endpoint."""
    key: str = ""
    """The name of its key; empty without keys."""
    state: str = "spare"
    groups: list[int] = field(default_factory=list)
    ready: bool = False
    linked: bool = True
    """Whether it has reported that its links are proved since the coordinator's own connection broke last."""
    may_keep_snapshots: bool = False
    """Whether it may keep snapshots of its groups, because it has taken part in this run."""
    missing_snapshots: set[int] = field(default_factory=set)
    """Groups of which it has reported that it lacks the snapshot."""
    asked_since_ms: float | None = None
    """When the question that it has not answered was sent first."""
    asked_ms: float = float("-inf")
    answered_ms: float = float("-inf")
    waits: tuple[Waits, ...] = ()
    """Where its groups stood at its last answer."""
    waits_pass: int = -1
    traffic: Traffic = NOTHING_YET
    rate: float = 0.0
    """Messages sent per second, between the last two counts."""
    counted_ms: float = float("-inf")
    counted: int = 0
    dropped_before: int | None = 0
    """Messages that it had dropped before it registered with this life of the coordinator; None until it reports them."""
    sort_key: tuple[tuple[tuple[int, str], ...], bytes] = ((), b"")
    """Orders members by name; numbers in names are compared as numbers."""

    def __post_init__(self) -> None:
        self.sort_key = (_natural(self.name), self.incarnation)

    @property
    def dropped(self) -> int:
        """Messages that it has dropped since it registered with this life of the coordinator."""
        return self.traffic.dropped - (self.dropped_before or 0)

    def count(self, traffic: Traffic, now_ms: float) -> None:
        """Note a new count of the node's messages."""
        self.traffic = traffic
        if self.dropped_before is None:
            self.dropped_before = traffic.dropped
        passed_ms, messages = now_ms - self.counted_ms, traffic.sent
        if passed_ms >= COUNTED_AGAIN_MS:
            if math.isfinite(self.counted_ms):
                self.rate = max(0.0, (messages - self.counted) * 1000.0 / passed_ms)
            self.counted_ms, self.counted = now_ms, messages


class Membership:
    """Members by incarnation. A member that was removed is never registered again under the same incarnation."""

    def __init__(self) -> None:
        self.members: dict[bytes, Member] = {}
        self.lives: Counter[str] = Counter()
        """How often a node of each name has registered under a new incarnation."""
        self.gone: set[bytes] = set()
        self._in_order: list[Member] | None = []
        """None when it must be sorted again."""
        self._sent_by_removed = 0
        self._dropped_by_removed = 0

    def register(self, message: Register, now_ms: float) -> tuple[Member, Member | None]:
        """Register a node. Return its member, and the earlier life under the same name, which it supersedes."""
        incarnation = message.header.incarnation
        if known := self.members.get(incarnation):
            known.received_ms = now_ms
            return known, None
        earlier = self.named(message.name)
        if earlier:
            self.remove(earlier)
        who = (message.name, message.host, message.process, message.fingerprint)
        member = Member(incarnation, *who, now_ms, message.endpoint, message.key)
        self.members[incarnation] = member
        self.lives[message.name] += 1
        self._in_order = None
        return member, earlier

    def named(self, name: str) -> Member | None:
        """Return the member with a name."""
        return next((member for member in self.members.values() if member.name == name), None)

    def hosts_received(self, now_ms: float) -> None:
        """Note that every host of a group was alive, because a pass is complete."""
        for member in self.members.values():
            if member.groups:
                member.received_ms = now_ms

    def remove(self, member: Member) -> None:
        """Remove a life for good."""
        self._sent_by_removed += member.traffic.sent
        self._dropped_by_removed += member.dropped
        self.gone.add(member.incarnation)
        del self.members[member.incarnation]
        self._in_order = None

    def in_order(self) -> list[Member]:
        """Return the members by name; numbers in names are compared as numbers. The order of registration does not matter."""
        if self._in_order is None:
            self._in_order = sorted(self.members.values(), key=lambda member: member.sort_key)
        return self._in_order

    def host_of(self, group: int) -> Member | None:
        """Return the member that hosts a group."""
        return next((member for member in self.members.values() if group in member.groups), None)

    def addresses(self) -> dict[int, bytes]:
        """Return the address of the node that hosts each group."""
        return {group: node_address(one.incarnation) for one in self.members.values() for group in one.groups}

    def unhosted(self, groups: Iterable[int]) -> list[int]:
        """Return the groups that no member hosts."""
        placed = {group for member in self.members.values() for group in member.groups}
        return [group for group in groups if group not in placed]

    def hosting(self) -> list[Member]:
        """Return the members that host groups, by name."""
        return [member for member in self.in_order() if member.groups]

    def assign(self, shares: list[list[int]]) -> bool:
        """Assign the unhosted groups of each share to a member that hosts nothing; groups with a host keep it.

        If there are too few members, change nothing and return False.
        """
        spares = [member for member in self.in_order() if not member.groups]
        unhosted = set(self.unhosted(group for share in shares for group in share))
        given = [left for share in shares if (left := [group for group in share if group in unhosted])]
        if len(spares) < len(given):
            return False
        for left, member in zip(given, spares, strict=False):
            member.groups = left
        return True

    def regroup(self, groups: list[int]) -> list[tuple[int, Member]]:
        """Assign unhosted groups to the least loaded member, breaking ties by name; return the assignments."""
        members, given = self.in_order(), []
        for group in self.unhosted(groups):
            member = min(members, key=lambda member: len(member.groups))
            member.groups = sorted([*member.groups, group])
            given.append((group, member))
        return given

    def release_doubled(self, shares: list[list[int]]) -> int:
        """Take shares from members that host several, as many as there are members without groups; return how many."""
        share_of = {group: number for number, share in enumerate(shares) for group in share}
        spares = sum(not member.groups for member in self.members.values())
        released = 0
        for member in self.in_order():
            theirs = sorted({share_of[group] for group in member.groups})
            for number in theirs[1 : 1 + spares - released]:
                member.groups = [group for group in member.groups if share_of[group] != number]
                released += 1
        return released

    def doubled(self, shares: list[list[int]]) -> tuple[int, int]:
        """Return how many shares could move to a member of their own, and how many members host nothing."""
        share_of = {group: number for number, share in enumerate(shares) for group in share}
        hosted = [len({share_of[group] for group in member.groups}) for member in self.members.values()]
        return sum(count - 1 for count in hosted if count > 1), hosted.count(0)

    @property
    def rate(self) -> float:
        """Messages that all nodes send per second, between their last two counts."""
        return sum(member.rate for member in self.members.values())

    @property
    def dropped(self) -> int:
        """Messages that nodes of the run have dropped, as last counted."""
        return self._dropped_by_removed + sum(member.dropped for member in self.members.values())

    @property
    def sent(self) -> int:
        """Messages that all nodes of the run have sent, as last counted."""
        return self._sent_by_removed + sum(member.traffic.sent for member in self.members.values())


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name))

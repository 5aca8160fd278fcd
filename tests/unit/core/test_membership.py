"""Who is there, and who hosts what."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.membership import Member, Membership
from neuron_node.protocol import NOBODY, Header, Register, Traffic
from tests.coordinators import life


def registration(number: int, name: str = "") -> Register:
    return Register(Header(NOBODY, 0, 0, life(number)), name or f"node-{number}", "host", number, "0.1.0", "f")


def roster_of(*numbers: int) -> Membership:
    roster = Membership()
    for number in numbers:
        roster.register(registration(number), 0.0)
    return roster


def hosts(roster: Membership) -> dict[str, list[int]]:
    return {member.name: member.groups for member in roster.in_order() if member.groups}


def test_too_few_members_change_nothing() -> None:
    """All groups find a place, or none does."""
    roster = roster_of(1, 2)
    assert not roster.place([[1], [2], [3]])
    assert hosts(roster) == {}


@given(order=st.permutations(range(1, 13)))
def test_assignment_does_not_depend_on_the_order_of_registration(order: list[int]) -> None:
    """Numbers in names count as numbers."""
    roster = roster_of(*order)
    assert roster.place([[group] for group in range(1, 12)])
    assert hosts(roster) == {f"node-{number}": [number] for number in range(1, 12)}


def test_member_keeps_its_group_in_a_new_assignment() -> None:
    """A loss moves the lost group alone, to a spare."""
    roster = roster_of(1, 2, 3)
    roster.place([[1], [2]])
    roster.lose(roster.members[life(1)])
    assert roster.place([[1], [2]])
    assert hosts(roster) == {"node-2": [2], "node-3": [1]}


def test_a_share_goes_to_one_member_as_a_whole() -> None:
    """And so does what a lost one leaves, unless it has moved in with others meanwhile."""
    roster, shares = roster_of(1, 2, 3, 4), [[1, 4], [2, 5], [3, 6]]
    assert roster.place(shares)
    roster.lose(roster.members[life(2)])
    assert roster.place(shares)
    assert hosts(roster) == {"node-1": [1, 4], "node-3": [3, 6], "node-4": [2, 5]}
    roster.lose(roster.members[life(3)])
    assert not roster.place(shares)
    assert [group for group, _ in roster.crowd([1, 2, 3, 4, 5, 6])] == [3, 6]
    assert hosts(roster) == {"node-1": [1, 3, 4], "node-4": [2, 5, 6]}
    roster.lose(roster.members[life(1)])
    roster.register(registration(5), 0.0)
    assert not roster.place(shares), "what it left is of two shares"


def test_a_lost_life_is_never_readmitted_and_its_messages_still_count() -> None:
    """A later life of the same name is another member."""
    roster = roster_of(1)
    roster.members[life(1)].traffic = Traffic(10, 5, 0)
    member, earlier = roster.register(registration(2, "node-1"), 0.0)
    assert earlier is not None and earlier.incarnation == life(1)
    assert roster.gone == {life(1)} and roster.sent == 10
    member.traffic = Traffic(3, 0, 0)
    assert roster.sent == 13


def test_a_repeated_registration_is_the_same_member() -> None:
    """And a sign of life."""
    roster = roster_of(1)
    member, earlier = roster.register(registration(1), 55.0)
    assert earlier is None and member is roster.members[life(1)] and member.heard_ms == 55.0


def test_rate_of_a_member_counts_what_it_sends_between_counts_half_a_second_apart() -> None:
    """A message is counted once, where it is sent, as in `messages_per_second`; closer counts change only the total."""
    member = Member(life(1), "n", "h", 1, "f", 0.0)
    member.count(Traffic(0, 0, 0), 1_000.0)
    member.count(Traffic(50, 50, 0), 1_100.0)
    assert member.rate == 0.0
    member.count(Traffic(100, 700, 0), 2_000.0)
    assert member.rate == 100.0 and member.traffic.sent == 100

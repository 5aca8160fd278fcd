"""Who is there, and who hosts what."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.membership import Member, Membership
from neuron_node.protocol import NOBODY, Header, Register, Traffic
from tests.coordinators import life


def registration(number: int, name: str = "") -> Register:
    return Register(Header(NOBODY, 0, 0, life(number)), name or f"node-{number}", "host", number, "0.1.0", "f")


def membership_of(*numbers: int) -> Membership:
    membership = Membership()
    for number in numbers:
        membership.register(registration(number), 0.0)
    return membership


def hosts(membership: Membership) -> dict[str, list[int]]:
    return {member.name: member.groups for member in membership.in_order() if member.groups}


def test_too_few_members_change_nothing() -> None:
    """All groups find a place, or none does."""
    membership = membership_of(1, 2)
    assert not membership.assign([[1], [2], [3]])
    assert hosts(membership) == {}


@given(order=st.permutations(range(1, 13)))
def test_assignment_does_not_depend_on_the_order_of_registration(order: list[int]) -> None:
    """Numbers in names count as numbers."""
    membership = membership_of(*order)
    assert membership.assign([[group] for group in range(1, 12)])
    assert hosts(membership) == {f"node-{number}": [number] for number in range(1, 12)}


def test_member_keeps_its_group_in_a_new_assignment() -> None:
    """A loss moves the lost group alone, to a spare."""
    membership = membership_of(1, 2, 3)
    membership.assign([[1], [2]])
    membership.remove(membership.members[life(1)])
    assert membership.assign([[1], [2]])
    assert hosts(membership) == {"node-2": [2], "node-3": [1]}


def test_a_share_goes_to_one_member_as_a_whole() -> None:
    """And so does what a lost one leaves, unless it has moved in with others meanwhile."""
    membership, shares = membership_of(1, 2, 3, 4), [[1, 4], [2, 5], [3, 6]]
    assert membership.assign(shares)
    membership.remove(membership.members[life(2)])
    assert membership.assign(shares)
    assert hosts(membership) == {"node-1": [1, 4], "node-3": [3, 6], "node-4": [2, 5]}
    membership.remove(membership.members[life(3)])
    assert not membership.assign(shares)
    assert [group for group, _ in membership.regroup([1, 2, 3, 4, 5, 6])] == [3, 6]
    assert hosts(membership) == {"node-1": [1, 3, 4], "node-4": [2, 5, 6]}
    membership.remove(membership.members[life(1)])
    membership.register(registration(5), 0.0)
    assert not membership.assign(shares), "what it left is of two shares"


def test_a_lost_life_is_never_readmitted_and_its_messages_still_count() -> None:
    """A later life of the same name is another member."""
    membership = membership_of(1)
    membership.members[life(1)].traffic = Traffic(10, 5, 0)
    member, earlier = membership.register(registration(2, "node-1"), 0.0)
    assert earlier is not None and earlier.incarnation == life(1)
    assert membership.gone == {life(1)} and membership.sent == 10
    member.traffic = Traffic(3, 0, 0)
    assert membership.sent == 13


def test_a_repeated_registration_is_the_same_member() -> None:
    """And a sign of life."""
    membership = membership_of(1)
    member, earlier = membership.register(registration(1), 55.0)
    assert earlier is None and member is membership.members[life(1)] and member.received_ms == 55.0


def test_rate_of_a_member_counts_what_it_sends_between_counts_half_a_second_apart() -> None:
    """A message is counted once, where it is sent, as in `messages_per_second`; closer counts change only the total."""
    member = Member(life(1), "n", "h", 1, "f", 0.0)
    member.count(Traffic(0, 0, 0), 1_000.0)
    member.count(Traffic(50, 50, 0), 1_100.0)
    assert member.rate == 0.0
    member.count(Traffic(100, 700, 0), 2_000.0)
    assert member.rate == 100.0 and member.traffic.sent == 100

"""What befalls a simulated run. Every kind of fault is a function; which come, when, and how hard follows from the dice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from coordinator.core.state import CoordinatorState
from coordinator.local.restarts import STOPPED_AT_MOST_SECONDS, Next, is_overdue, next_of
from coordinator.storage.snapshots import DIGEST_LENGTH, MAGIC
from neuron_node.addresses import COORDINATOR
from neuron_node.codec import encode
from neuron_node.events import Interrupted, Received
from neuron_node.protocol import Header, Ready, SnapshotMissing, Traffic
from neuron_node.transport import HEARTBEAT_TIMEOUT_MS
from tests.simulation.altering import altered_later
from tests.simulation.dice import Dice
from tests.simulation.invariants import Violation
from tests.simulation.network import Life
from tests.simulation.strangers import stranger
from tests.simulation.world import FOLDER, World

Fault = Callable[[World, Dice], bool]
"""Does it; False where it can't be done now."""
LONGEST_MS = 3_000.0
SLOWEST_MS = 200.0
STRANGERS_ALONE = 0.7
"""How often a stranger comes first to a network in which nothing has gone wrong."""
METRICS = FOLDER / "metrics.csv"


def some_node(world: World, dice: Dice) -> Life | None:
    """A node that lives and runs."""
    lives = [life for life in world.nodes.values() if life.alive and not life.paused]
    return dice.pick(lives) if lives else None


def the_coordinator(world: World, _dice: Dice) -> Life | None:
    """The coordinator, if it lives and runs."""
    life = world.coordinator
    return life if life is not None and life.alive and not life.paused else None


Whom = Callable[[World, Dice], Life | None]


def _killed(whom: Whom) -> Fault:
    def fault(world: World, dice: Dice) -> bool:
        life = whom(world, dice)
        if life is None:
            return False
        world.tell(f"kill -9 of {life.name} ({life.number})")
        world.kill(life)
        return True

    return fault


def _paused(whom: Whom) -> Fault:
    def fault(world: World, dice: Dice) -> bool:
        life = whom(world, dice)
        if life is None:
            return False
        for_ms = dice.spread(2.0, LONGEST_MS)
        world.tell(f"{life.name} ({life.number}) is stopped for {for_ms:.0f} ms")
        world.pause(life)
        world.later(for_ms, lambda: world.resume(life))
        return True

    return fault


def _cut(whom: Whom, *, deaf: bool, mute: bool) -> Fault:
    def fault(world: World, dice: Dice) -> bool:
        life = whom(world, dice)
        if life is None or life.deaf or life.mute:
            return False
        for_ms = dice.spread(2.0, LONGEST_MS)
        how = "from the broker" if deaf and mute else "from what is sent to it" if deaf else "from whom it sends to"
        world.tell(f"{life.name} ({life.number}) is cut off {how} for {for_ms:.0f} ms")
        life.deaf, life.mute = deaf, mute
        noticed = dice.falls(0.5)

        def mend() -> None:
            life.deaf = life.mute = False
            if noticed and life.alive and life.linked:
                world.lose_link(life, life.tick_ms * dice.random())

        world.later(for_ms, mend)
        return True

    return fault


def _link_lost(whom: Whom) -> Fault:
    def fault(world: World, dice: Dice) -> bool:
        life = whom(world, dice)
        if life is None or not life.linked:
            return False
        world.tell(f"the link of {life.name} ({life.number}) breaks")
        world.lose_link(life, dice.spread(1.0, 1_000.0))
        return True

    return fault


def _one_link_lost(world: World, dice: Dice) -> bool:
    """Between two programs alone, and whoever hears the other there notices it late."""
    lives = [life for life in world.lives if life.alive and life.linked and life.peers]
    if not lives:
        return False
    life = dice.pick(lives)
    endpoint = dice.pick(list(life.peers))
    world.tell(f"{life.name} ({life.number}) no longer hears {endpoint}")
    world.outlets.cut(life, endpoint)
    world.outlets.notice_later(life, endpoint, dice.spread(1.0, 6_000.0))
    return True


def _broker_killed(world: World, dice: Dice) -> bool:
    if not world.broker_up:
        return False
    for_ms = dice.spread(1.0, 2_000.0)
    world.tell(f"kill -9 of the broker, for {for_ms:.0f} ms")
    world.kill_broker(for_ms)
    return True


def _power_cut(world: World, dice: Dice) -> bool:
    life = world.coordinator
    if life is None or not life.alive:
        return False
    world.tell("the coordinator's machine loses its power")
    world.kill(life)
    world.disk.cut_power()
    return True


def _everything_killed(world: World, dice: Dice) -> bool:
    world.tell("everything dies at once")
    for life in world.lives:
        if life.alive and life is not world.coordinator and world.nodes.get(life.name) is life:
            world.kill(life)
    if world.coordinator is not None and world.coordinator.alive:
        world.kill(world.coordinator)
    if dice.falls(0.5):
        world.disk.cut_power()
    if world.broker_up:
        world.kill_broker(dice.spread(1.0, 1_000.0))
    return True


def _killed_in_a_call(world: World, dice: Dice) -> bool:
    if world.disk.calls_to_live is not None:
        return False
    world.disk.calls_to_live = dice.below(12)
    world.tell(f"the coordinator's program will end in call {world.disk.calls_to_live} to the disk")
    return True


def _disk_fails(world: World, dice: Dice) -> bool:
    if world.disk.failing or not world.watch.snapshots:
        return False
    share, for_ms = dice.spread(0.05, 1.0), dice.spread(20.0, 3_000.0)
    world.tell(f"{share:.0%} of the calls to the disk fail, for {for_ms:.0f} ms")
    world.disk.failing = share

    def mend() -> None:
        world.disk.failing = 0.0

    world.later(for_ms, mend)
    return True


def _disk_full(world: World, dice: Dice) -> bool:
    if world.disk.full or not world.watch.snapshots:
        return False
    for_ms = dice.spread(20.0, 3_000.0)
    world.tell(f"the disk is full for {for_ms:.0f} ms")
    world.disk.full = True

    def mend() -> None:
        world.disk.full = False

    world.later(for_ms, mend)
    return True


def _snapshot_flipped(world: World, dice: Dice) -> bool:
    """Only the newest, and only while the one before is good: more damage than that is not promised to be survived."""
    folder = FOLDER / "snapshots"
    names = [name for name in world.disk.names(folder) if name.startswith("step-")]
    if len(names) < 2 or not all(_intact_snapshot(world, folder / name) for name in names[-2:]):
        return False
    world.tell(f"a bit of {names[-1]} turns, and the coordinator dies")
    world.disk.flip(folder / names[-1])
    if world.coordinator is not None and world.coordinator.alive:
        world.kill(world.coordinator)
    return True


def _generation_flipped(world: World, dice: Dice) -> bool:
    """One of two good copies."""
    paths = [FOLDER / "generation.0", FOLDER / "generation.1"]
    contents = [world.disk.durable(path) for path in paths]
    if contents[0] is None or contents[0] != contents[1]:
        return False
    path = dice.pick(paths)
    world.tell(f"a bit of {path.name} turns, and the coordinator dies")
    world.disk.flip(path)
    if world.coordinator is not None and world.coordinator.alive:
        world.kill(world.coordinator)
    return True


def _intact_snapshot(world: World, path: Path) -> bool:
    content = world.disk.durable(path) or b""
    start = len(MAGIC) + DIGEST_LENGTH
    return hashlib.sha256(content[start:]).digest() == content[len(MAGIC) : start]


def _spare_joins(world: World, dice: Dice) -> bool:
    world.start_spare()
    return True


def _namesake(world: World, dice: Dice) -> bool:
    """A second program under a node's name: each takes the other's place, until one of them is ended."""
    life = some_node(world, dice)
    if life is None:
        return False
    world.tell(f"another program calls itself {life.name} too")
    world.start_node(life.name, proves=dice.falls(0.5))
    world.later(dice.spread(5.0, 2_000.0), lambda: world.end_namesakes(life.name))
    return True


def _interrupted(world: World, dice: Dice) -> bool:
    life = some_node(world, dice)
    if life is None:
        return False
    world.tell(f"{life.name} ({life.number}) is asked to end by a signal")
    life.asked_to_end = True
    world.give(life, Interrupted())
    return True


def _other_arithmetic(world: World, dice: Dice) -> bool:
    """A machine of another kind offers itself."""
    world.tell("a node with another arithmetic wants to join")
    world.start_node(f"stranger-{len(world.lives)}", "another arithmetic")
    return True


def _garbage(world: World, dice: Dice) -> bool:
    """Bytes that mean nothing, to everybody who listens to anything."""
    world.tell("somebody sends garbage")
    for address in sorted(world.addresses()):
        world.inject(address + bytes(dice.below(256) for _ in range(dice.below(40))))
    return True


def _copies(name: str, what: str) -> Fault:
    def fault(world: World, dice: Dice) -> bool:
        if getattr(world.conditions, name):
            return False
        share, for_ms = dice.spread(0.02, 0.5), dice.spread(20.0, LONGEST_MS)
        world.tell(f"of {share:.0%} of the data messages {what}, for {for_ms:.0f} ms")
        setattr(world.conditions, name, share)
        world.later(for_ms, lambda: setattr(world.conditions, name, 0.0))
        return True

    return fault


def _altered_again(world: World, dice: Dice) -> bool:
    """Programs get frames again that they have taken, with other numbers."""
    if not world.had:
        return False
    world.tell("old frames come again with other numbers")
    for _ in range(8):
        life, message = dice.pick(world.had)
        if life.alive and life.linked:
            world.inject_to(life, altered_later(message, dice))
    return True


def _multipart(world: World, dice: Dice) -> bool:
    """A message of several parts: its receivers take each part for a message, also those that have no address of theirs."""
    addresses = sorted(world.addresses())
    if not addresses:
        return False
    world.tell("a stranger sends a message of several parts")
    address = dice.pick(addresses)
    parts = [bytes(dice.below(256) for _ in range(dice.between(1, 20))), address, dice.pick(addresses) + b"\0\0\0\2ab"]
    if world.had:
        parts.append(dice.pick(world.had)[1][: dice.between(1, 200)])
    for part in (address + b"\0\0\0\2ab", *parts):
        for life in world.hearers_of(address):
            world.inject_to(life, part)
    return True


def _layer_killed(world: World, dice: Dice) -> bool:
    """All programs that host groups of one stage, at the same instant."""
    stages: dict[int, list[Life]] = {}
    for life in world.nodes.values():
        for stage in {group.role.stage for group in life.machine.hosting.groups.values()} if life.alive else ():
            stages.setdefault(stage, []).append(life)
    if not stages:
        return False
    stage, lives = dice.pick(sorted(stages.items(), key=lambda one: one[0]))
    world.tell(f"kill -9 of all programs of stage {stage}")
    for life in lives:
        world.kill(life)
    return True


def _killed_again_and_again(world: World, dice: Dice) -> bool:
    """A node is killed as soon as it has started, more often than a program may end by its own fault."""
    life = some_node(world, dice)
    if life is None or not world.supervised:
        return False
    times = dice.between(5, 7)
    world.tell(f"kill -9 of {life.name} ({life.number}), and {times} times more")
    world.struck_again[life.name] = times
    world.kill(life)
    return True


def _stays_stopped(world: World, dice: Dice) -> bool:
    """SIGSTOP of a program without SIGCONT: its supervisor kills it."""
    life = (the_coordinator if dice.falls(0.2) else some_node)(world, dice)
    if life is None or not world.supervised:
        return False
    world.tell(f"{life.name} ({life.number}) is stopped, and stays so")
    world.pause(life)
    life.stuck = True
    stopped_at_ms = world.now_ms
    world.later(1000.0 * STOPPED_AT_MOST_SECONDS + 1.0, lambda: world.kill_if_overdue(life, stopped_at_ms))
    return True


def _long_pause(world: World, dice: Dice) -> bool:
    """A container is stopped for longer than ZeroMQ's heartbeat: the broker closes its connection meanwhile."""
    life = some_node(world, dice)
    if life is None or world.supervised or not life.linked:
        return False
    for_ms = dice.spread(HEARTBEAT_TIMEOUT_MS, 3 * HEARTBEAT_TIMEOUT_MS)
    world.tell(f"{life.name} ({life.number}) is stopped for {for_ms:.0f} ms, beyond its connection")
    world.pause(life)
    link = life.link

    def close() -> None:
        if life.alive and life.paused and life.link == link:
            world.lose_link(life, 0.0)

    world.later(HEARTBEAT_TIMEOUT_MS, close)
    world.later(for_ms, lambda: world.resume(life))
    return True


def _broker_stopped(world: World, dice: Dice) -> bool:
    """SIGSTOP and SIGCONT of the broker; one that stays stopped is killed."""
    if not world.broker_up or world.now_ms < world.broker_continues_ms:
        return False
    for_ms = dice.spread(2.0, 1.5 * 1000.0 * STOPPED_AT_MOST_SECONDS)
    world.tell(f"the broker is stopped for {for_ms:.0f} ms")
    world.stop_broker(for_ms)
    broker_life = world.broker_lives

    def kill() -> None:
        if world.broker_lives == broker_life and world.now_ms < world.broker_continues_ms:
            world.tell("the broker has been stopped for too long, and is killed")
            world.kill_broker(dice.spread(1.0, 100.0))

    if is_overdue(0.0, for_ms / 1000.0):
        world.later(1000.0 * STOPPED_AT_MOST_SECONDS, kill)
    return True


def _broker_slow(world: World, dice: Dice) -> bool:
    """Every message takes its time."""
    conditions = world.conditions
    slower, for_ms = dice.spread(10.0, 300.0), dice.spread(20.0, LONGEST_MS)
    if conditions.latency_ms * slower > SLOWEST_MS:
        return False
    world.tell(f"the broker is {slower:.0f} times as slow, for {for_ms:.0f} ms")
    conditions.latency_ms *= slower

    def mend() -> None:
        conditions.latency_ms /= slower

    world.later(for_ms, mend)
    return True


def _broker_ends(world: World, dice: Dice) -> bool:
    """SIGTERM of the broker: it sends what it has, and ends with 0. Its supervisor starts it again."""
    if not world.broker_up:
        return False
    if next_of("broker", 0, run_ends=world.run_ends) is not Next.STARTS_AGAIN:
        raise Violation("a broker that has ended is not started again")
    world.tell("the broker is asked to end by a signal")
    world.relay.flush()
    world.kill_broker(dice.spread(1.0, 500.0))
    return True


def _forks_fail(world: World, dice: Dice) -> bool:
    """No program can be started for a while, and one is killed meanwhile."""
    life = some_node(world, dice)
    if life is None or not world.supervised or world.now_ms < world.forks_fail_until_ms:
        return False
    for_ms = dice.spread(100.0, 10_000.0)
    world.tell(f"no program can be started for {for_ms:.0f} ms; kill -9 of {life.name} ({life.number})")
    world.forks_fail_until_ms = world.now_ms + for_ms
    world.kill(life)
    return True


def _metrics_damaged(world: World, dice: Dice) -> bool:
    """The metrics are lost, cut or flipped, and the coordinator dies. The next one must say so."""
    if METRICS.name not in world.disk.names(METRICS.parent) or not world.disk.durable(METRICS):
        return False
    world.tell(f"the metrics are {world.disk.damage(METRICS)}, and the coordinator dies")
    if world.coordinator is not None and world.coordinator.alive:
        world.kill(world.coordinator)
    return True


def _both_generations_flipped(world: World, dice: Dice) -> bool:
    """Both copies, once, while there is a good snapshot: it takes another snapshot to make the next generation known."""
    if world.counts["both generations flipped"]:
        return False
    folder, paths = FOLDER / "snapshots", [FOLDER / "generation.0", FOLDER / "generation.1"]
    names = [name for name in world.disk.names(folder) if name.startswith("step-")]
    if not names or not all(_intact_snapshot(world, folder / name) for name in names[-2:]):
        return False
    if any(not world.disk.durable(path) for path in paths):
        return False
    world.tell("a bit of both copies of the generation turns, and the coordinator dies")
    for path in paths:
        world.disk.flip(path)
    if world.coordinator is not None and world.coordinator.alive:
        world.kill(world.coordinator)
    return True


def _clock_jumps(world: World, dice: Dice) -> bool:
    """Of one program, or of all: the machine was asleep."""
    by_ms = dice.spread(4_000.0, 3_600_000.0)
    lives = [life for life in world.lives if life.alive and not life.paused]
    if not lives:
        return False
    if dice.falls(0.5):
        lives = [dice.pick(lives)]
    world.tell(f"the clock of {lives[0].name if len(lives) == 1 else 'every program'} jumps by {by_ms / 1000:.1f} s")
    for life in lives:
        life.clock_ms += by_ms
    return True


def _old_again(world: World, dice: Dice) -> bool:
    """What the coordinator heard a while ago comes once more."""
    if not world.recent:
        return False
    world.tell("old messages come again")
    for _ in range(8):
        world.inject(dice.pick(world.recent))
    return True


def _out_of_turn(world: World, dice: Dice) -> bool:
    """A node says things of a generation in which nothing has been granted yet, or everything is done."""
    life, node = the_coordinator(world, dice), some_node(world, dice)
    states = (CoordinatorState.GATHERING, CoordinatorState.IDLE)
    if life is None or node is None or life.machine.state not in states:
        return False
    world.tell(f"{node.name} ({node.number}) speaks out of turn")
    header = Header(world.plan.run, life.machine.outbox.generation, 0, node.machine.born.incarnation)
    for message in (Ready(header, Traffic(0, 0, 0)), SnapshotMissing(header, (1,))):
        # At once, for a moment later it may have been asked.
        world.give(life, Received(COORDINATOR + encode(message)))
    return True


FAULTS: dict[str, tuple[int, Fault]] = {
    "node killed": (60, _killed(some_node)),
    "node paused": (8, _paused(some_node)),
    "node deaf": (4, _cut(some_node, deaf=True, mute=False)),
    "node mute": (4, _cut(some_node, deaf=False, mute=True)),
    "node cut off": (4, _cut(some_node, deaf=True, mute=True)),
    "node's link lost": (5, _link_lost(some_node)),
    "node interrupted": (6, _interrupted),
    "coordinator killed": (24, _killed(the_coordinator)),
    "coordinator paused": (4, _paused(the_coordinator)),
    "coordinator deaf": (2, _cut(the_coordinator, deaf=True, mute=False)),
    "coordinator mute": (2, _cut(the_coordinator, deaf=False, mute=True)),
    "coordinator cut off": (2, _cut(the_coordinator, deaf=True, mute=True)),
    "coordinator's link lost": (4, _link_lost(the_coordinator)),
    "one link lost": (6, _one_link_lost),
    "power cut": (5, _power_cut),
    "killed in a call to the disk": (5, _killed_in_a_call),
    "broker killed": (5, _broker_killed),
    "everything killed": (3, _everything_killed),
    "disk fails": (5, _disk_fails),
    "disk full": (4, _disk_full),
    "snapshot flipped": (12, _snapshot_flipped),
    "generation flipped": (3, _generation_flipped),
    "spare joins": (4, _spare_joins),
    "namesake": (3, _namesake),
    "other arithmetic": (1, _other_arithmetic),
    "garbage": (1, _garbage),
    "altered duplicate": (6, _copies("altered", "a copy with other numbers follows")),
    "non-finite frame": (6, _copies("not_finite", "a copy with a NaN or an infinity comes first")),
    "altered again": (6, _altered_again),
    "large frame": (4, _copies("too_long", "a longer copy comes first")),
    "multipart": (2, _multipart),
    "layer killed": (4, _layer_killed),
    "killed again and again": (3, _killed_again_and_again),
    "stays stopped": (4, _stays_stopped),
    "long pause": (4, _long_pause),
    "broker stopped": (4, _broker_stopped),
    "broker slow": (4, _broker_slow),
    "broker ends": (3, _broker_ends),
    "forks fail": (3, _forks_fail),
    "metrics damaged": (6, _metrics_damaged),
    "both generations flipped": (2, _both_generations_flipped),
    "clock jumps": (5, _clock_jumps),
    "stranger": (12, stranger),
    "old messages": (3, _old_again),
    "out of turn": (10, _out_of_turn),
}
"""Every kind, with how often it comes, relative to the others."""
_URN = [name for name, (weight, _) in FAULTS.items() for _ in range(weight)]


def befall(world: World, dice: Dice) -> None:
    """One fault, of a kind that is possible now."""
    if world.watch.calm and dice.falls(STRANGERS_ALONE) and stranger(world, dice):
        # In a calm network nothing must come of it.
        world.counts["stranger"] += 1
        return
    if world.watch.calm and _clock_jumps(world, dice):
        # Passes may be repeated, but no program counts as dead.
        world.counts["clock jumps"] += 1
        world.watch.calm = False
        return
    world.watch.alone = False
    for _ in range(4):
        name = dice.pick(_URN)
        if world.watch.finished and dice.falls(0.15):
            # A run that stays when it has finished is short of these.
            name = "node interrupted"
        if FAULTS[name][1](world, dice):
            world.counts[name] += 1
            world.watch.calm = False
            return

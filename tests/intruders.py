"""`python -m tests.intruders KIND …`: attacks on a network with keys over TCP, each at a steady rate, bounded in count.

- `handshakes`: programs with unknown keys, and programs that expect other keys of the server.
- `frames`: connections without a handshake, which send malformed and forged frames.
- `commands`: a program with the valid key of a node, which reads every message and sends forged, changed, misdirected and old
  commands to all nodes.

Each prints one line of JSON: what was sent, and how it was taken.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path

import zmq

from neuron_node.addresses import ADDRESS_LENGTH, COORDINATOR, node_address
from neuron_node.codec import decode, encode
from neuron_node.curve import CurveClient, new_curve_pair
from neuron_node.ed25519 import new_signing_pair, signer
from neuron_node.errors import PeerError
from neuron_node.frames import split
from neuron_node.keys import BROKER, NODE, KeysFolder
from neuron_node.protocol import (
    Fetch,
    Grant,
    Header,
    Message,
    NodeStatusRequest,
    Register,
    Reject,
    Reregister,
    Stop,
    Superseded,
    Welcome,
)
from neuron_node.signing import signed
from neuron_node.transport import Endpoints
from tests.processes.attackers import GREETING, encoded

NICE = 10
HANDSHAKES_AT_ONCE = 16
SOCKETS = 4_096
FRAMES_A_CONNECTION = 25
CONNECT_SECONDS = 5.0
HEARD_AT_MOST = 1_000
HEARS_NODE_SECONDS, HEARS_COMMAND_SECONDS = 60.0, 3.0
"""How long to wait for the first message of a node, and then for a command: in calm times there are none."""
CURVE_GREETING = GREETING.replace(b"NULL".ljust(20, b"\0"), b"CURVE".ljust(20, b"\0"))
REFUSALS = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
TAKEN = zmq.EVENT_HANDSHAKE_SUCCEEDED
ENDED = REFUSALS | TAKEN | zmq.EVENT_CLOSED | zmq.EVENT_DISCONNECTED


def paced(count: int, rate: float) -> Iterator[int]:
    """Count up, at most `rate` numbers a second."""
    begun = time.monotonic()
    for number in range(count):
        early = begun + number / rate - time.monotonic()
        if early > 0:
            time.sleep(early)
        yield number


def handshakes(targets: list[str], keys: KeysFolder, count: int, rate: float, _dice: random.Random) -> Counter[str]:
    """Begin handshakes with wrong keys. A handshake that succeeds is counted as `admitted`."""
    taken: Counter[str] = Counter()
    own = [new_curve_pair() for _ in range(8)]
    server, another = keys.holder(BROKER).curve_public, new_curve_pair()[0]
    pending: deque[tuple[zmq.Socket[bytes], zmq.Socket[bytes]]] = deque()

    def finish() -> None:
        attempt, monitor = pending.popleft()
        outcome = "unanswered"
        if monitor.poll(1_000):
            event = int.from_bytes(monitor.recv_multipart()[0][:2], sys.byteorder)
            outcome = "admitted" if event == TAKEN else "refused"
        attempt.disable_monitor()
        monitor.close(0)
        attempt.close(0)
        taken[outcome] += 1

    with zmq.Context() as context:
        # libzmq needs a moment to let a closed socket go.
        context.set(zmq.MAX_SOCKETS, SOCKETS)
        for number in paced(count, rate):
            attempt = context.socket(zmq.DEALER if number % 3 else zmq.PUSH)
            attempt.setsockopt(zmq.RECONNECT_IVL, -1)
            # Every other program knows the right key of the server: the handshake then gets as far as the own key.
            CurveClient(*own[number % len(own)], server if number % 2 else another)(attempt)
            monitor = attempt.get_monitor_socket(ENDED)
            attempt.connect(targets[number % len(targets)])
            pending.append((attempt, monitor))
            if len(pending) == HANDSHAKES_AT_ONCE:
                finish()
        while pending:
            finish()
    return taken


def frames(targets: list[str], _keys: KeysFolder, count: int, rate: float, dice: random.Random) -> Counter[str]:
    """Send malformed and forged frames over connections without a handshake. A server closes each connection."""
    taken: Counter[str] = Counter()
    made = [_batch_of(kind, dice) for kind in BATCHES for _ in range(16)]
    connections = -(-count // FRAMES_A_CONNECTION)
    for number in paced(connections, rate / FRAMES_A_CONNECTION):
        host, _, port = targets[number % len(targets)].removeprefix("tcp://").rpartition(":")
        taken["sent"] += min(FRAMES_A_CONNECTION, count - number * FRAMES_A_CONNECTION)
        try:
            with socket.create_connection((host, int(port)), CONNECT_SECONDS) as connection:
                connection.sendall(made[number % len(made)])
        except ConnectionError:
            taken["connections closed while sending"] += 1
        except OSError:
            taken["connections refused"] += 1
    return taken


def _forged_frames(dice: random.Random) -> list[bytes]:
    """Frames of ZMTP that command nodes, as a broker without keys would forward them."""
    header = Header(dice.randbytes(8), 1, 0, dice.randbytes(8))
    kinds: list[Message] = [
        Stop(header),
        Superseded(header),
        Welcome(header, 1_000),
        Grant(header, ()),
        Reregister(header),
    ]
    return [encoded(node_address(dice.randbytes(8)) + encode(dice.choice(kinds))) for _ in range(FRAMES_A_CONNECTION)]


BATCHES: dict[str, Callable[[random.Random], bytes]] = {
    "noise": lambda dice: dice.randbytes(FRAMES_A_CONNECTION * 100),
    "plain": lambda dice: GREETING + encoded(b"\x05READY") + b"".join(_forged_frames(dice)),
    "before the handshake": lambda dice: CURVE_GREETING + b"".join(_forged_frames(dice)),
    "false hello": lambda dice: (
        CURVE_GREETING + b"\x04\xc8\x05HELLO" + dice.randbytes(194) + b"".join(_forged_frames(dice))
    ),
    "huge": lambda dice: (
        CURVE_GREETING + b"\x06" + (2**62).to_bytes(8, "big") + dice.randbytes(FRAMES_A_CONNECTION * 100)
    ),
    "half a greeting": lambda _dice: CURVE_GREETING[:30],
}
"""What a connection sends, by kind."""


def _batch_of(kind: str, dice: random.Random) -> bytes:
    return BATCHES[kind](dice)


def commands(targets: list[str], keys: KeysFolder, count: int, rate: float, dice: random.Random) -> Counter[str]:
    """With the valid key of a node, send commands that the coordinator has not signed for the node that gets them."""
    taken: Counter[str] = Counter()
    own = keys.own([NODE])
    secure = CurveClient(own.curve_public, own.curve_secret, keys.holder(BROKER).curve_public)
    sign = signer(new_signing_pair()[1])
    where = Endpoints(*targets[:2])
    with zmq.Context() as context, context.socket(zmq.PUSH) as push, context.socket(zmq.SUB) as sub:
        for each, endpoint in ((push, where.inward), (sub, where.outward)):
            each.linger = 0
            secure(each)
            each.connect(endpoint)
        # It may read all addresses. It needs those of nodes, and the registrations, which state incarnations.
        for letter in (b"N", COORDINATOR[:1]):
            sub.setsockopt(zmq.SUBSCRIBE, letter)
        heard: deque[bytes] = deque(maxlen=HEARD_AT_MOST)
        headers: dict[bytes, Header] = {}
        _listen(sub, headers, heard, HEARS_NODE_SECONDS, lambda: headers)
        _listen(sub, headers, heard, HEARS_COMMAND_SECONDS, lambda: heard)
        for _ in paced(count, rate):
            _listen(sub, headers, heard, 0.0, lambda: True)
            kind, message = _made(dice, headers, heard, sign)
            push.send(message)
            taken[kind] += 1
    taken["programs heard"] = len(headers)
    return taken


def _listen(
    sub: zmq.Socket[bytes],
    headers: dict[bytes, Header],
    heard: deque[bytes],
    seconds: float,
    enough: Callable[[], object],
) -> None:
    """Learn the incarnation and the run of each node from its messages; keep the commands. Wait until it is enough."""
    deadline = time.monotonic() + seconds
    while sub.poll(0 if enough() else max(0, round(1_000 * (deadline - time.monotonic())))):
        message = sub.recv()
        if message.startswith(b"N"):
            heard.append(message)
            continue
        for frame in split(message):
            try:
                said = decode(frame)
            except PeerError:
                continue
            if not isinstance(said, Register):
                headers[said.header.incarnation] = said.header


def _made(
    dice: random.Random, headers: dict[bytes, Header], heard: deque[bytes], sign: Callable[[bytes], bytes]
) -> tuple[str, bytes]:
    """Return one message to a node, and its kind."""
    incarnation = dice.choice(list(headers))
    home, kind = node_address(incarnation), dice.choice(("unsigned", "wrongly signed", "misdirected", "changed"))
    others = [message for message in heard if not message.startswith(home)]
    if kind in ("misdirected", "changed") and not others:
        kind = "unsigned"
    if kind == "misdirected":
        return kind, home + dice.choice(others)[ADDRESS_LENGTH:]
    if kind == "changed":
        message = dice.choice(list(heard))
        at = dice.randrange(ADDRESS_LENGTH, len(message))
        return kind, message[:at] + bytes([message[at] ^ dice.randint(1, 255)]) + message[at + 1 :]
    frame = encode(dice.choice(_commands(headers[incarnation], dice)))
    return kind, home + (frame if kind == "unsigned" else signed(home, frame, sign))


def _commands(header: Header, dice: random.Random) -> list[Message]:
    said = header._replace(generation=header.generation + dice.randrange(3), incarnation=dice.randbytes(8))
    return [
        Stop(said),
        Superseded(said),
        Reject(said, "out"),
        Welcome(said._replace(generation=0), 1),
        Grant(said, ()),
        Reregister(said),
        Fetch(said, dice.randrange(4), 0),
        NodeStatusRequest(said),
    ]


ATTACKS = {"handshakes": handshakes, "frames": frames, "commands": commands}


def main() -> int:
    """Attack, and print what happened."""
    parser = argparse.ArgumentParser(prog="intruders", description=__doc__)
    parser.add_argument("kind", choices=ATTACKS)
    parser.add_argument(
        "--target", action="append", required=True, help="an endpoint; repeated. The broker's come first"
    )
    parser.add_argument(
        "--keys", type=Path, required=True, help="the folder of keys; only public parts, except for commands"
    )
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="how many a second")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.nice(NICE)
    begun = time.monotonic()
    dice = random.Random(options.seed)
    taken = ATTACKS[options.kind](options.target, KeysFolder(options.keys), options.count, options.rate, dice)
    print(json.dumps({"kind": options.kind, "seconds": round(time.monotonic() - begun, 1), **taken}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

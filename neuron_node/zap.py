"""Admits only programs with a known key: a ZAP handler (https://rfc.zeromq.org/spec/27/) for the CURVE sockets of a context.

libzmq asks the handler during each handshake, and closes the connection if the answer is no. The handler also watches the folder
of public keys: when a key is revoked, replaced or removed, all connections are closed, and only valid keys get in again.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Collection, Iterable

import zmq
from zmq.auth.base import Authenticator
from zmq.utils import z85

from neuron_node.curve import ZAP_DOMAIN
from neuron_node.errors import UserError
from neuron_node.keys import KeysFolder, PublicKeys, fingerprint_of

LOOK_INTERVAL_MS = 250
"""The time between two looks at the folder of public keys: a revoked key is locked out within a heartbeat's interval."""
LEAST_LOOK_SECONDS = 0.05
"""The time between two looks, when programs connect: a flood of handshakes does not read the folder at each of them."""
PAUSE_SECONDS = 0.05
"""The time between two answers to handshakes, or to many that arrived meanwhile: each wake-up of the handler's thread delays the
thread that relays messages. A handshake that comes alone is answered at once."""
LOG_SECONDS = 60.0
WITHOUT_KEY = "refused a program: it has no key (--keys), or speaks another protocol"
HANDSHAKE_FAILED = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
"""The handshake of a peer failed, for another reason than its key."""
CAUSES_AT_MOST = 64

logger = logging.getLogger("exmachina")


class ZapHandler(Authenticator):
    """Answers whether the holder of a public key may connect, in a thread that ends with the context."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        keys: KeysFolder,
        roles: Collection[str],
        sockets: Iterable[zmq.Socket[bytes]] = (),
    ) -> None:
        """Admit the holders of these roles.

        The handler logs that a program without a key tried to connect to `sockets`, unless others watch these sockets. Start the
        handler before a socket of the context is bound.

        Raises:
            UserError: the public keys can't be read.
        """
        super().__init__(context)
        self._keys = keys
        self._roles = frozenset(roles)
        self.dismissing = threading.Event()
        """Set when the owner of the sockets must close all connections, because a key is no longer valid."""
        self._version = keys.version()
        self._holders: dict[bytes, PublicKeys] = {}
        self._said: dict[str, float] = {}
        self._look_due = 0.0
        self._read()
        self._monitors = [socket.get_monitor_socket(HANDSHAKE_FAILED) for socket in sockets]
        self.configure_curve_callback(ZAP_DOMAIN, self)
        self.start()
        threading.Thread(target=self._run, name="zap handler").start()

    def callback(self, _domain: str, key: bytes) -> bool:
        """Whether the program with this public key, in Z85, may connect. pyzmq calls this method."""
        self._look()
        public = z85.decode(key)
        holder = self._holders.get(public)
        if holder is None:
            self._say(f"refused a program: its key ({fingerprint_of(public)}) is unknown")
        elif holder.revoked:
            self._say(f"refused a program: its key {holder.name} was revoked on {holder.revoked}")
        elif holder.role not in self._roles:
            self._say(
                f"refused a program: the key {holder.name} is that of a {holder.role}, which may not connect here"
            )
        else:
            return True
        return False

    def curve_user_id(self, client_public_key: bytes) -> str:
        """Return the User-Id for a public key: `role:name`."""
        return self._holders[client_public_key].user

    def _run(self) -> None:
        awaited = [(self.zap_socket, zmq.POLLIN)]
        try:
            with contextlib.suppress(zmq.ContextTerminated):
                while True:
                    if zmq.zmq_poll(awaited, LOOK_INTERVAL_MS):
                        self._answer_all()
                        time.sleep(PAUSE_SECONDS)
                    self._look()
        finally:
            for monitor in self._monitors:
                monitor.close(0)
            self.stop()

    def _answer_all(self) -> None:
        """Answer all handshakes that wait."""
        with contextlib.suppress(zmq.Again):
            while True:
                message = self.zap_socket.recv_multipart(zmq.NOBLOCK)
                # The coroutine never waits for anything.
                with contextlib.suppress(StopIteration):
                    self.handle_zap_message(message).send(None)

    def _look(self) -> None:
        """Read failed handshakes, and the public keys if they have changed; ask for the end of all connections of an ended key."""
        now = time.monotonic()
        if now < self._look_due:
            return
        self._look_due = now + LEAST_LOOK_SECONDS
        self._read_failures()
        version = self._keys.version()
        if version == self._version:
            return
        self._version = version
        before = self._holders
        try:
            self._read()
        except UserError as fault:
            # The keys of before stay valid: a file that is written at this moment must not stop a network.
            self._say(f"the public keys can't be read: {fault}")
            return
        gone = [holder for public, holder in before.items() if self._may_connect(holder) and not self._is_valid(public)]
        if gone:
            names = ", ".join(sorted(holder.name for holder in gone))
            logger.warning("no longer valid: %s; all connections are closed, and valid keys connect again", names)
            self.dismissing.set()

    def _read_failures(self) -> None:
        """Read which handshakes have failed, many at once: each wake-up of this thread delays the thread that relays messages."""
        for monitor in self._monitors:
            failed = False
            with contextlib.suppress(zmq.Again):
                while True:
                    monitor.recv_multipart(zmq.NOBLOCK)
                    failed = True
            if failed:
                self._say(WITHOUT_KEY)

    def _is_valid(self, public: bytes) -> bool:
        holder = self._holders.get(public)
        return holder is not None and self._may_connect(holder)

    def _may_connect(self, holder: PublicKeys) -> bool:
        return not holder.revoked and holder.role in self._roles

    def _read(self) -> None:
        self._holders = {holder.curve_public: holder for holder in self._keys.holders().values()}

    def _say(self, text: str) -> None:
        """Log a line, at most once in a while for each cause."""
        now = time.monotonic()
        if now - self._said.get(text, float("-inf")) >= LOG_SECONDS and (
            text in self._said or len(self._said) < CAUSES_AT_MOST
        ):
            self._said[text] = now
            logger.warning("%s", text)


class BoundSockets:
    """Sockets that are bound over TCP, whose connections are all closed when a key is no longer valid.

    libzmq closes the connections of an endpoint with the endpoint. The thread that owns the sockets calls `poll`.
    """

    def __init__(self, handler: ZapHandler) -> None:
        self._handler = handler
        self._bound: list[tuple[zmq.Socket[bytes], str]] = []
        self._unbound: list[tuple[zmq.Socket[bytes], str]] = []

    def add(self, socket: zmq.Socket[bytes]) -> None:
        """Add a socket, with the endpoint at which it was just bound."""
        self._bound.append((socket, socket.getsockopt_string(zmq.LAST_ENDPOINT)))

    def poll(self) -> None:
        """Close all connections if a key is no longer valid, and listen again. Only programs with a valid key connect again."""
        if self._handler.dismissing.is_set():
            self._handler.dismissing.clear()
            for socket, endpoint in self._bound:
                if (socket, endpoint) not in self._unbound:
                    socket.unbind(endpoint)
                    self._unbound.append((socket, endpoint))
        # libzmq closes an endpoint a moment later, so this may take several calls.
        self._unbound = [pair for pair in self._unbound if not _bind_again(*pair)]


def _bind_again(socket: zmq.Socket[bytes], endpoint: str) -> bool:
    """Bind a socket; return False if its endpoint is still in use."""
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as fault:
        if fault.errno != zmq.EADDRINUSE:
            raise
        return False
    return True

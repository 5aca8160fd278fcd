"""Direct wiring in a simulated run: every program has an outlet, and whoever connects to it hears its data there.

A subscription reaches each peer in its own time, so it may hold at one and not yet at another. An outlet echoes a
subscription to a probe's address when that reaches it. A program notices the end of a peer at one of its ticks.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from neuron_node.codec import encode
from neuron_node.protocol import NOBODY, Echo, Header

if TYPE_CHECKING:
    from tests.simulation.network import Life, Network

LOOKS_AGAIN_MS = 50.0
PROBES = b"P"


class Outlets:
    """Who is connected to whom, and which subscriptions hold where."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def connect(self, life: Life, endpoint: str) -> None:
        """All its subscriptions are on their way to a peer."""
        life.peers[endpoint] = self._network.now_ms
        peer = self._at(endpoint)
        for address in life.subscriptions if peer else ():
            self._hold(life, endpoint, address)

    def disconnect(self, life: Life, endpoint: str) -> None:
        """They hold there no longer."""
        life.peers.pop(endpoint, None)
        self.cut(life, endpoint)

    def cut(self, life: Life, endpoint: str) -> None:
        """A connection breaks, and nobody has noticed so far."""
        if peer := self._at(endpoint):
            for hearers in peer.outlet.values():
                hearers.pop(life, None)

    def subscribe(self, life: Life, address: bytes) -> None:
        """One more subscription is on its way to all peers."""
        for endpoint in life.peers:
            self._hold(life, endpoint, address)

    def unsubscribe(self, life: Life, address: bytes) -> None:
        """It holds nowhere."""
        for endpoint in life.peers:
            if peer := self._at(endpoint):
                peer.outlet.get(address, {}).pop(life, None)

    def unlink(self, life: Life) -> None:
        """All its connections are gone."""
        for endpoint in list(life.peers):
            self.disconnect(life, endpoint)

    def ended(self, life: Life) -> None:
        """Whoever is connected to it will notice."""
        life.outlet = {}
        for other in self._network.lives:
            if other.alive and life.endpoint in other.peers:
                self.notice_later(other, life.endpoint, other.tick_ms * self._network.dice.random())

    def notice_later(self, life: Life, endpoint: str, after_ms: float) -> None:
        """A program finds a connection broken, unless it needs that no more."""
        self._network.later(after_ms, functools.partial(self._notice, life, endpoint, life.link))

    def _notice(self, life: Life, endpoint: str, link: int) -> None:
        if life.alive and life.linked and life.link == link and endpoint in life.peers:
            self._network.lose_link(life, 0.0)

    def _hold(self, life: Life, endpoint: str, address: bytes) -> None:
        network, peer = self._network, self._at(endpoint)
        if peer is None:
            return
        slow = 20.0 if network.dice.random() < 0.1 else 1.0
        reached_ms = network.now_ms + slow * network.conditions.jitter_ms * network.dice.random()
        since_ms = life.peers[endpoint] = max(life.peers[endpoint], reached_ms)
        peer.outlet.setdefault(address, {}).setdefault(life, since_ms)
        if address.startswith(PROBES):
            network.later(since_ms - network.now_ms, functools.partial(self._echo, life, peer, address, life.link))

    def _echo(self, life: Life, peer: Life, address: bytes, link: int) -> None:
        since_ms = peer.outlet.get(address, {}).get(life)
        if not (life.alive and peer.alive and life.link == link and since_ms is not None):
            return
        if peer.paused or not peer.peers or since_ms > self._network.now_ms:
            # An outlet is looked at by a program that runs and has peers.
            self._network.later(LOOKS_AGAIN_MS, functools.partial(self._echo, life, peer, address, link))
            return
        echo = address + encode(Echo(Header(NOBODY, 0, 0, peer.incarnation)))
        network = self._network
        network.deliver((peer,), peer.outlet[address], echo, network.now_ms + network.conditions.latency_ms)

    def _at(self, endpoint: str) -> Life | None:
        return next((life for life in self._network.lives if life.alive and life.endpoint == endpoint), None)

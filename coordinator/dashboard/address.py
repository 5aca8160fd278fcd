"""The address of the page: the host and the port that it listens at."""

from __future__ import annotations

import errno
import socket
from typing import NamedTuple

from coordinator.errors import UserError

DEFAULT_PORT = 8_420
TRIED = 20
"""The ports, from the default one on, of which the first free one is taken if the user names none."""
LOOPBACK = "127.0.0.1"


class Address(NamedTuple):
    """Where the page is."""

    host: str
    port: int
    names: tuple[str, ...] = ()
    """Names of this host by which browsers reach it, besides localhost."""
    public_port: int = 0
    """The port for browsers, if a container or a proxy has another one; 0: the same."""

    @property
    def anywhere(self) -> bool:
        """Whether browsers of other hosts reach the page."""
        return self.host not in (LOOPBACK, "::1", "localhost")

    def link(self, token: str) -> str:
        """Return the address for a browser."""
        host = self.names[0] if self.names else self.host
        if host in ("0.0.0.0", "::"):
            host = LOOPBACK
        return f"http://{f'[{host}]' if ':' in host else host}:{self.public_port or self.port}/?token={token}"


def listening_socket(address: Address) -> socket.socket:
    """Bind the port of the page. Raises `UserError` if that is impossible."""
    host, port = address.host, address.port
    try:
        [(family, _, _, _, place), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        made = socket.socket(family, socket.SOCK_STREAM)
    except OSError as fault:
        raise UserError(
            f"--host: {host} is no address of this machine ({fault.strerror}); try --host {LOOPBACK}"
        ) from None
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(place)
        # Two sockets with SO_REUSEADDR may have the same port until a socket listens.
        made.listen(128)
    except OSError as fault:
        made.close()
        raise UserError(_why(address, fault)) from None
    return made


def _why(address: Address, fault: OSError) -> str:
    host, port = address.host, address.port
    if fault.errno == errno.EADDRINUSE:
        return f"port {port} is in use on {host}; choose another one: --port {port + 1 if port < 65_535 else port - 1}"
    if fault.errno == errno.EACCES:
        return f"port {port} needs more rights than you have; choose one above 1023: --port {DEFAULT_PORT}"
    return f"--host: the page can't listen at {host}:{port} ({fault.strerror}); try --host {LOOPBACK}"


def free_port() -> int:
    """Return the first free port of this machine from the default one on. Raises `UserError` if many are in use."""
    for port in range(DEFAULT_PORT, DEFAULT_PORT + TRIED):
        try:
            listening_socket(Address(LOOPBACK, port)).close()
        except UserError:
            continue
        return port
    last = DEFAULT_PORT + TRIED - 1
    raise UserError(
        f"the ports {DEFAULT_PORT} to {last} are in use; start the page yourself: coordinator dashboard --port {last + 1}"
    )

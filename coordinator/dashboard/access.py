"""Decides which browsers reach the page, and what each of them may do.

A browser shows a token once, in the address. It gets a cookie for it, and is sent to the address without the token. Every
later request, and every WebSocket, is checked for its host, its origin and its cookie.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from coordinator.core.access import Access

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN = "token"
"""The name of the token in the address."""
ACCESS = "exmachina.access"
"""The key of a scope that holds the access of its browser."""
LONGEST_ADDRESS = 4_096
LARGEST_PAGE_BYTES = 4 * 1024 * 1024
NO_TOKEN = "no access: open the address with a token that `coordinator dashboard` has printed, or start it again for a new one\n"
WRONG_TOKEN = (
    "wrong token: copy the whole address that `coordinator dashboard` has printed; each start prints a new one\n"
)


class Tokens(NamedTuple):
    """The tokens of one start of the page."""

    viewer: str
    operator: str

    @classmethod
    def new(cls) -> Tokens:
        """Return two new tokens."""
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(32))

    def access(self, token: str) -> Access | None:
        """Return the access that a token gives; None if it is none of ours."""
        found = None
        for own, access in ((self.viewer, Access.VIEWER), (self.operator, Access.OPERATOR)):
            if hmac.compare_digest(own.encode(), token.encode()):
                found = access
        return found


class Refusal(NamedTuple):
    """The answer to a request that does not get in."""

    status: int
    text: str


def headers_of(scope: Scope) -> dict[str, str]:
    """Return the headers of a request. If a header is repeated, its values are joined, so that none is overlooked."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def host_of(authority: str) -> str | None:
    """Return the host of `HOST[:PORT]` in lower case, without brackets; None if it is malformed."""
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if not bracket or ":" not in host:
            return None
    else:
        host, colon, port = authority.partition(":")
        rest = colon + port
    if rest and not (rest[0] == ":" and rest[1:].isascii() and rest[1:].isdigit()):
        return None
    return host.lower() or None


def is_own_host(authority: str, names: Sequence[str], *, anywhere: bool) -> bool:
    """Whether a Host header names this server.

    A page of another site can let its own name point here, so names must be known. It can't do that with an address:
    `anywhere` admits every IP address, for a server that listens on more than the loopback interface.
    """
    host = host_of(authority)
    if host is None:
        return False
    if host == "localhost" or host in names:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return anywhere or address.is_loopback


def policy_of(nonce: str) -> str:
    """Return the content security policy of a page whose scripts have this nonce."""
    return "; ".join(
        (
            "default-src 'none'",
            # Vue compiles the templates of NiceGUI's elements in the browser, which counts as eval.
            f"script-src 'self' 'nonce-{nonce}' 'unsafe-eval'",
            # Vue and Quasar add style elements.
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data:",
            "font-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


FIXED_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
BARE_POLICY = "default-src 'none'; frame-ancestors 'none'"
"""The policy of all that is no page."""


class Guard:
    """An application that lets only the right browsers through to another one."""

    def __init__(self, app: App, tokens: Tokens, names: Sequence[str] = (), *, anywhere: bool = False) -> None:
        """`names` are the names of this host besides localhost; `anywhere` admits IP addresses other than loopback."""
        self._app = app
        self._tokens = tokens
        self._names = tuple(name.lower() for name in names)
        self._anywhere = anywhere

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse or pass on one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = headers_of(scope)
        refusal = self._foreign(scope, headers)
        if refusal is None and scope["type"] == "http" and (token := _token_in(scope)) is not None:
            if self._tokens.access(token) is not None:
                await _respond(send, 303, "", _exchange(scope, headers, token))
                return
            refusal = Refusal(403, WRONG_TOKEN)
        access = None if refusal else self._access(headers)
        if refusal is None and access is None:
            refusal = Refusal(403, NO_TOKEN)
        if refusal is not None:
            await _refuse(scope, receive, send, refusal)
            return
        scope[ACCESS] = access
        await self._app(scope, receive, send if scope["type"] == "websocket" else _Guarded(send).send)

    def _foreign(self, scope: Scope, headers: Mapping[str, str]) -> Refusal | None:
        """Return why a request does not come from a page of this server; None if it does."""
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > LONGEST_ADDRESS:
            return Refusal(414, f"the address is too long; it may have {LONGEST_ADDRESS:,} characters\n")
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            return Refusal(405, "this page takes GET only\n")
        host = headers.get("host", "")
        if not is_own_host(host, self._names, anywhere=self._anywhere):
            return Refusal(403, "unknown host: open the page by the address that `coordinator dashboard` has printed\n")
        origin = headers.get("origin")
        if origin is None:
            # A browser names the origin of every WebSocket.
            return Refusal(403, "a WebSocket without an origin\n") if scope["type"] == "websocket" else None
        if origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
            return Refusal(403, "a request from another site: open the page by its own address\n")
        return None

    def _access(self, headers: Mapping[str, str]) -> Access | None:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(cookie_name(headers["host"]))
        except CookieError:
            return None
        return self._tokens.access(cookie.value) if cookie else None


def cookie_name(host: str) -> str:
    """Return the name of the cookie of a page. Pages on other ports of the host have other cookies."""
    port = host.rpartition(":")[2]
    return f"exmachina-{port if port.isdigit() else 'page'}"


def _token_in(scope: Scope) -> str | None:
    query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    return query.get(TOKEN)


def _exchange(scope: Scope, headers: Mapping[str, str], token: str) -> list[tuple[bytes, bytes]]:
    """Return the headers that turn a token into a cookie, and lead to the address without it."""
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    rest = urlencode([(name, value) for name, value in query if name != TOKEN])
    cookie = f"{cookie_name(headers['host'])}={token}; Path=/; HttpOnly; SameSite=Strict"
    # The path is not repeated: `//elsewhere` would lead to another host.
    return [(b"location", f"/?{rest}".rstrip("?").encode()), (b"set-cookie", cookie.encode())]


async def _refuse(scope: Scope, receive: Receive, send: Send, refusal: Refusal) -> None:
    if scope["type"] == "websocket":
        await receive()
        # Before the handshake is accepted, this is a response with the status 403.
        await send({"type": "websocket.close", "code": 1008, "reason": refusal.text.strip()})
        return
    await _respond(send, refusal.status, refusal.text)


async def _respond(send: Send, status: int, text: str, more: Sequence[tuple[bytes, bytes]] = ()) -> None:
    body = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"content-security-policy", BARE_POLICY.encode()),
        *FIXED_HEADERS,
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class _Guarded:
    """Adds the headers of security to a response. The scripts of a page get a nonce, so that no other script runs."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: MutableMapping[str, Any] | None = None
        self._page = bytearray()

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = [pair for pair in message["headers"] if pair[0].lower() != b"content-security-policy"]
            kind = next((value for name, value in headers if name.lower() == b"content-type"), b"")
            if kind.startswith(b"text/html"):
                self._start = {**message, "headers": headers}
                return
            extra = [(b"content-security-policy", BARE_POLICY.encode()), *FIXED_HEADERS]
            await self._send({**message, "headers": [*headers, *extra]})
            return
        if self._start is None:
            await self._send(message)
            return
        self._page += message.get("body", b"")
        assert len(self._page) <= LARGEST_PAGE_BYTES, "a page of NiceGUI has a few hundred kilobytes"
        if not message.get("more_body"):
            await self._finish(self._start)

    async def _finish(self, start: MutableMapping[str, Any]) -> None:
        nonce = base64.b64encode(hashlib.sha256(secrets.token_bytes(32)).digest()).decode()
        # Text of the page has its angle brackets escaped, so these are elements.
        body = bytes(self._page).replace(b"<script", f'<script nonce="{nonce}"'.encode())
        headers = [pair for pair in start["headers"] if pair[0].lower() not in (b"content-length", b"cache-control")]
        headers += [
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"content-security-policy", policy_of(nonce).encode()),
            *FIXED_HEADERS,
        ]
        await self._send({**start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

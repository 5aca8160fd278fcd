"""The guard of the page: only browsers with a token get in, only from this host's own pages, and no script of others runs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.access import Access
from coordinator.dashboard.access import (
    ACCESS,
    FIXED_HEADERS,
    LONGEST_ADDRESS,
    Guard,
    Tokens,
    cookie_name,
    host_of,
    is_own_host,
)

TOKENS = Tokens("viewer-token", "operator-token")
HOST = "127.0.0.1:8420"
PAGE = b'<html><script type="module">1</script><p>&lt;script&gt;</p><script src="/a.js"></script></html>'


class Inner:
    """The application behind the guard: a page, and a WebSocket that is accepted."""

    def __init__(self) -> None:
        self.reached: list[Any] = []

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        self.reached.append(scope.get(ACCESS))
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", str(len(PAGE)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": PAGE[:20], "more_body": True})
        await send({"type": "http.response.body", "body": PAGE[20:]})


class Answer:
    """What a client receives."""

    def __init__(self, sent: list[MutableMapping[str, Any]]) -> None:
        self.first = sent[0]
        self.status = sent[0].get("status")
        self.headers = {name.decode(): value.decode() for name, value in sent[0].get("headers", [])}
        self.body = b"".join(message.get("body", b"") for message in sent[1:])


def asked(kind: str = "http", query: str = "", method: str = "GET", **headers: str) -> tuple[Answer, list[Any]]:
    """Send one request through the guard; return the answer, and the accesses with which the application was reached."""
    inner, sent = Inner(), list[MutableMapping[str, Any]]()
    scope: dict[str, Any] = {
        "type": kind,
        "method": method,
        "path": "/",
        "raw_path": b"/",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in {"host": HOST, **headers}.items()],
    }

    async def receive() -> MutableMapping[str, Any]:
        return {"type": f"{kind}.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(Guard(inner, TOKENS, ["page.example"])(scope, receive, send))
    return Answer(sent), inner.reached


def cookie(token: str, host: str = HOST) -> str:
    return f"{cookie_name(host)}={token}"


def test_a_token_becomes_a_cookie_and_leaves_the_address() -> None:
    """The browser keeps the other parameters. No script can read the cookie, and no other site can use it."""
    answer, reached = asked(query="select=hidden.3&token=viewer-token&hide=nodes")
    assert (answer.status, reached) == (303, [])
    assert answer.headers["location"] == "/?select=hidden.3&hide=nodes"
    assert answer.headers["set-cookie"] == "exmachina-8420=viewer-token; Path=/; HttpOnly; SameSite=Strict"
    assert answer.headers["referrer-policy"] == "no-referrer" and answer.headers["cache-control"] == "no-store"
    assert asked(query="token=operator-token")[0].headers["location"] == "/"


@pytest.mark.parametrize(("token", "access"), [("viewer-token", Access.VIEWER), ("operator-token", Access.OPERATOR)])
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_cookie_gives_the_access_of_its_token(kind: str, token: str, access: Access) -> None:
    """To the page and to its WebSockets."""
    answer, reached = asked(kind, cookie=cookie(token), origin=f"http://{HOST}")
    assert reached == [access]
    assert answer.status == 200 or answer.first["type"] == "websocket.accept"


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"cookie": cookie("wrong")},
        {"cookie": cookie("")},
        {"cookie": cookie("viewer-token", "127.0.0.1:9")},
        {"cookie": "exmachina-8420"},
        {"cookie": '=;"'},
    ],
)
def test_without_the_right_token_nothing_is_reached(kind: str, headers: dict[str, str]) -> None:
    """One line says how to get a right one."""
    answer, reached = asked(kind, origin=f"http://{HOST}", **headers)
    assert reached == []
    if kind == "http":
        assert answer.status == 403 and b"coordinator dashboard" in answer.body and answer.body.count(b"\n") == 1
    else:
        assert answer.first["type"] == "websocket.close"


def test_a_wrong_token_in_the_address_is_refused_in_one_line() -> None:
    """Also with a right cookie: the visitor wanted another access."""
    answer, reached = asked(query="token=viewer-tokem", cookie=cookie("viewer-token"))
    assert (answer.status, reached) == (403, [])
    assert answer.body.startswith(b"wrong token: copy the whole address") and answer.body.count(b"\n") == 1


@given(
    st.one_of(
        st.text(alphabet=st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=40),
        st.from_regex(r"(https?|null|file)(://)?[a-z0-9.\[\]:-]{0,20}", fullmatch=True),
        st.sampled_from(["null", "http://127.0.0.1", "http://127.0.0.1:84200", "http://127.0.0.1:8420.evil.example"]),
    ),
    st.sampled_from(["http", "websocket"]),
)
def test_another_origin_reaches_nothing(origin: str, kind: str) -> None:
    """Only the own origin of the page may."""
    _, reached = asked(kind, cookie=cookie("operator-token"), origin=origin)
    assert bool(reached) == (origin.lower() in (f"http://{HOST}", f"https://{HOST}"))


def test_a_websocket_names_its_origin() -> None:
    """Every browser does; a program without one could be any."""
    assert asked("websocket", cookie=cookie("operator-token"))[1] == []


@given(
    st.one_of(
        st.text(alphabet=st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=40),
        st.from_regex(r"[a-z0-9.\[\]:@-]{1,30}(:[0-9]{0,6})?", fullmatch=True),
        st.sampled_from(
            ["localhost.evil.example", "evil.example:8420", "127.0.0.1.evil.example", "[::1", "1", "0x7f.1", ""]
        ),
    )
)
def test_another_host_reaches_nothing(host: str) -> None:
    """A name of another site that points here is refused; names that were given, localhost, and loopback addresses get in."""
    _, reached = asked(host=host, cookie=cookie("operator-token", host))
    if reached:
        assert re.fullmatch(r"(localhost|page\.example|127\.\d+\.\d+\.\d+|\[[0-9a-f:.]+\])(:\d+)?", host.lower())


@pytest.mark.parametrize(
    ("authority", "loopback", "anywhere"),
    [
        ("localhost:8420", True, True),
        ("LOCALHOST", True, True),
        ("127.0.0.1:8420", True, True),
        ("[::1]:8420", True, True),
        ("page.example:1", True, True),
        ("192.168.1.5:8420", False, True),
        ("[fe80::1]", False, True),
        ("evil.example", False, False),
        ("127.0.0.1:8420, evil.example", False, False),
        ("127.0.0.1:x", False, False),
        ("user@127.0.0.1", False, False),
        ("[127.0.0.1]", False, False),
        ("", False, False),
    ],
)
def test_hosts_of_a_page_on_loopback_and_of_one_for_other_hosts(authority: str, loopback: bool, anywhere: bool) -> None:
    """An address can't be pointed elsewhere, so any address will do if the page is for other hosts."""
    assert is_own_host(authority, ["page.example"], anywhere=False) == loopback
    assert is_own_host(authority, ["page.example"], anywhere=True) == anywhere


@given(st.text(max_size=60))
def test_any_text_is_a_host_or_none(text: str) -> None:
    """Nothing raises, and a host has no upper case."""
    host = host_of(text)
    assert host is None or host == host.lower()


def test_a_page_runs_only_its_own_scripts() -> None:
    """Each response has another nonce, in the policy and in each script; text that looks like a script has none."""
    first, second = (asked(cookie=cookie("viewer-token"))[0] for _ in range(2))
    nonces = re.findall(rb'<script nonce="([^"]+)"', first.body)
    assert len(nonces) == 2 and nonces[0] == nonces[1]
    assert f"'nonce-{nonces[0].decode()}'" in first.headers["content-security-policy"]
    assert int(first.headers["content-length"]) == len(first.body)
    assert first.body != second.body
    policy = first.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    for name, value in FIXED_HEADERS:
        assert first.headers[name.decode()] == value.decode()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT"])
def test_only_get_and_head_are_taken(method: str) -> None:
    """All that changes something goes through a WebSocket, whose origin is checked."""
    answer, reached = asked(method=method, cookie=cookie("operator-token"))
    assert (answer.status, reached) == (405, [])


@given(st.text(min_size=1, max_size=20))
def test_with_any_address_the_browser_stays_on_this_host(text: str) -> None:
    """The answer to a right token leads to a path of this server, on one line."""
    answer, _ = asked(query=f"token=viewer-token&select={quote(text)}&{quote(text)}")
    location = answer.headers["location"]
    assert location.startswith("/?") and not location.startswith("//") and "\n" not in location and "\r" not in location


def test_a_long_address_is_refused() -> None:
    """In one line."""
    answer, reached = asked(query="a" * (LONGEST_ADDRESS + 1), cookie=cookie("viewer-token"))
    assert (answer.status, reached) == (414, [])


def test_new_tokens_differ_and_cannot_be_guessed() -> None:
    """Each has 256 random bits; a token of one role is none of the other."""
    first, second = Tokens.new(), Tokens.new()
    assert len({*first, *second}) == 4 and min(map(len, first)) >= 43
    assert first.access(first.viewer) is Access.VIEWER and first.access(first.operator) is Access.OPERATOR
    assert first.access(second.operator) is None and first.access("é") is None

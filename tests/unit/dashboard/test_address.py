"""The address of the page: a port in use, or an address of another machine, is refused in one line that names another way."""

from __future__ import annotations

import pytest

from coordinator.dashboard.address import DEFAULT_PORT, TRIED, Address, free_port, listening_socket
from coordinator.errors import UserError


def taken() -> tuple[Address, object]:
    made = listening_socket(Address("127.0.0.1", 0))
    return Address("127.0.0.1", made.getsockname()[1]), made


def test_a_port_in_use_is_refused_with_another_one() -> None:
    """The next one."""
    address, made = taken()
    with pytest.raises(UserError, match=f"port {address.port} is in use on 127.0.0.1; choose another one: --port "):
        listening_socket(address)
    made.close()  # type: ignore[attr-defined]
    listening_socket(address).close()


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host", "::ffff:192.0.2.1"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    """In one line that says what would do."""
    with pytest.raises(UserError, match=r"--host: .*; try --host 127\.0\.0\.1$") as refused:
        listening_socket(Address(host, 0))
    assert "\n" not in str(refused.value)


def test_a_run_takes_the_first_free_port() -> None:
    """From the default one on."""
    port = free_port()
    assert DEFAULT_PORT <= port < DEFAULT_PORT + TRIED
    with listening_socket(Address("127.0.0.1", port)):
        assert free_port() > port


@pytest.mark.parametrize(
    ("address", "link", "anywhere"),
    [
        (Address("127.0.0.1", 8420), "http://127.0.0.1:8420/?token=t", False),
        (Address("::1", 8420), "http://[::1]:8420/?token=t", False),
        (Address("0.0.0.0", 8420), "http://127.0.0.1:8420/?token=t", True),
        (Address("0.0.0.0", 8420, ("page.example",)), "http://page.example:8420/?token=t", True),
        (Address("192.168.1.5", 8420), "http://192.168.1.5:8420/?token=t", True),
    ],
)
def test_a_link_leads_to_the_page(address: Address, link: str, anywhere: bool) -> None:
    """Also from this machine if the page listens on all addresses."""
    assert address.link("t") == link and address.anywhere == anywhere

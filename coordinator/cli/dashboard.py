"""The command `dashboard`: a live page of a run, in a web server of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from coordinator.cli.finding import client_of, live_runs
from coordinator.cli.helping import HelpfulCommand
from coordinator.cli.options import door_options, runs_option
from coordinator.cli.output import errors, results
from coordinator.client import Client
from coordinator.core.access import Access
from coordinator.dashboard.address import DEFAULT_PORT, Address, free_port, listening_socket
from coordinator.errors import JobError, UserError
from coordinator.front_door import check_door
from coordinator.storage.run_folder import RunFolder
from neuron_node.keys import COORDINATOR, OPERATOR, VIEWER
from neuron_node.security import OwnKeys, own_keys
from neuron_node.transport import is_tcp

MISSING = "the page needs NiceGUI; try: pip install 'exmachina[coordinator,dashboard]'"


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator dashboard
    coordinator dashboard --run flowers --port 8421
    coordinator dashboard --door tcp://host-a:5573 --keys keys
    """,
)
@click.option(
    "--port", type=click.IntRange(1, 65_535), default=DEFAULT_PORT, show_default=True, help="The port of the page."
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="The address to listen at. With any other than this one, browsers of other hosts reach the page, unencrypted.",
)
@click.option(
    "--name",
    "names",
    multiple=True,
    help="A name of this host in the address of the page, if browsers of other hosts use one; may be repeated.",
)
@click.option(
    "--public-port",
    type=click.IntRange(0, 65_535),
    default=0,
    help="The port in the printed addresses, if a container or a proxy has another one.  [default: that of --port]",
)
@click.option(
    "--wait",
    is_flag=True,
    help="Print the addresses when the network can be seen, not at once, and again when it has been trained.",
)
@click.option("--with-parent", is_flag=True, help="End when the program ends that has started this one.")
@door_options
@runs_option
def dashboard(
    port: int,
    host: str,
    names: tuple[str, ...],
    public_port: int,
    wait: bool,
    with_parent: bool,
    runs: Path,
    **where: Any,
) -> None:
    """Show a run as a live page in the browser: the network, its neurons, curves, predictions and programs.

    The command prints two addresses: an operator may change the run, a viewer may look. The page goes on when the coordinator is
    gone, and finds it again. It ends with Ctrl-C.
    """
    check_installed()
    connect, may_operate = connector(runs, where)
    address = Address(host, port, names, public_port)
    listening = listening_socket(address)
    # These take a second and tens of megabytes; no other command needs them.
    from coordinator.dashboard.access import Tokens  # noqa: PLC0415
    from coordinator.dashboard.server import serve  # noqa: PLC0415

    tokens = Tokens.new()

    def announce() -> None:
        results.print(f"viewer    {address.link(tokens.viewer)}", markup=False, soft_wrap=True)
        if may_operate:
            results.print(f"operator  {address.link(tokens.operator)}", markup=False, soft_wrap=True)
        sys.stdout.flush()

    # A signal is the way to end a page; nothing is interrupted.
    with listening, contextlib.suppress(KeyboardInterrupt):
        serve(connect, listening, address, tokens, announce, wait=wait, with_parent=with_parent)


def check_installed() -> None:
    """Raise `UserError` if the extra of the page is not installed."""
    if importlib.util.find_spec("nicegui") is None:
        raise UserError(MISSING)


class PageOfRun:
    """The page of a run that is learned here, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def stay(self) -> None:
        """Wait until the user ends the page with Ctrl-C."""
        errors.print("the page stays open, with what it has seen of the run, until you press Ctrl-C")
        with contextlib.suppress(KeyboardInterrupt):
            self._process.wait()


@contextlib.contextmanager
def page_of(directory: RunFolder) -> Iterator[PageOfRun]:
    """Serve the page of a run, and print its addresses. Raises `UserError` and `JobError` if it can't be served."""
    command = [sys.executable, "-m", "coordinator", "dashboard", "--with-parent", "--port", str(free_port())]
    command += ["--run", directory.path.name, "--runs", str(directory.path.parent)]
    # Ctrl-C ends the run first, and then the page.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, process_group=0)
    assert process.stdout is not None
    try:
        for _ in Access:
            line = process.stdout.readline()
            if not line:
                raise JobError("the page can't be shown; the line above says why")
            errors.print(f"page for the {line.rstrip()}", markup=False, soft_wrap=True)
        yield PageOfRun(process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        process.stdout.close()


def connector(runs: Path, where: dict[str, Any]) -> tuple[Callable[[Access, float], Client], bool]:
    """Return how the page connects as a viewer or an operator, and whether it can operate at all. Raises `UserError`."""
    run_name = where["run_name"]
    door = None if run_name else where["door"] or os.environ.get("EXMACHINA_DOOR")
    if run_name:
        RunFolder.existing(runs, run_name)
    elif door:
        check_door("--door", door)
    elif len(live := live_runs(runs)) > 1:
        names = ", ".join(directory.path.name for directory in live)
        raise UserError(
            f"several runs are live in {runs}: {names}; name one: coordinator dashboard --run {live[0].path.name}"
        )
    first = live[0] if not run_name and not door and live else None
    if not (door and is_tcp(door)):
        # On `ipc://` there are no keys: the page itself tells viewers from operators.

        def connect(_access: Access, patience: float) -> Client:
            # After `coordinator restart`, another run of the service is live.
            name = run_name or (first.path.name if first is not None and first.holder() is not None else None)
            return client_of(runs, {**where, "run_name": name, "patience": patience})

        return connect, True
    return _with_keys(door, where)


def _with_keys(door: str, where: dict[str, Any]) -> tuple[Callable[[Access, float], Client], bool]:
    """Connect with the key of each role. Without an operator's key no browser can operate; without a viewer's, it serves both."""
    keys: dict[Access, OwnKeys | None] = {}
    faults: list[UserError] = []
    for access, role in ((Access.OPERATOR, OPERATOR), (Access.VIEWER, VIEWER)):
        name = where["key"] if access is Access.OPERATOR else ""
        try:
            keys[access] = own_keys([role], where["keys"], name, insecure=where["insecure"], connects=[door])
        except UserError as fault:
            faults.append(fault)
    if not keys:
        raise faults[0]
    viewer = keys.get(Access.VIEWER, keys.get(Access.OPERATOR))
    chosen = {Access.VIEWER: viewer, Access.OPERATOR: keys.get(Access.OPERATOR, viewer)}

    def connect(access: Access, patience: float) -> Client:
        own = chosen[access]
        return Client(door, patience, own.client_of(COORDINATOR) if own else None)

    return connect, Access.OPERATOR in keys

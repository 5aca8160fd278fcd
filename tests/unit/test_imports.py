"""Which module may import which, and where the nine steps stand."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGES = ("neuron_node", "coordinator")
SOURCES = sorted(path for package in PACKAGES for path in (CHECKOUT / package).rglob("*.py"))
LONGEST_NEURON = 100

WORLD = {
    "asyncio", "ctypes", "datetime", "io", "multiprocessing", "os", "pathlib", "random", "resource", "secrets", "select",
    "selectors", "shutil", "signal", "socket", "subprocess", "sys", "tempfile", "threading", "time", "uuid", "zmq", "msgpack",
}  # fmt: skip
"""Modules through which a program meets sockets, clocks, files, processes or chance."""

PURE = [
    *(CHECKOUT / "neuron_node" / f"{name}.py" for name in (
        "activations", "addresses", "copies", "drops", "errors", "events", "fields", "filtering", "frames", "group", "hosting", "inbox",
        "initial", "local_delivery", "losses", "machine", "messages", "neuron", "neuron_array", "peer", "proof", "role",
    )),
    *sorted((CHECKOUT / "coordinator" / "machine").glob("*.py")),
    *(CHECKOUT / "coordinator" / f"{name}.py" for name in (
        "schedule", "topology", "memory_network", "verify/comparison", "verify/textbook",
    )),
]  # fmt: skip
"""Sans I/O."""


def name_of(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


def imports_of(path: Path) -> set[str]:
    """The dotted names of all modules that a file imports, in functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} has a relative import"
            assert node.module is not None
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def importers_of(module: str) -> set[str]:
    return {name_of(path) for path in SOURCES if any(name.split(".")[0] == module for name in imports_of(path))}


def test_there_is_something_to_check() -> None:
    """All files are found, and the finder finds an import that is there."""
    assert len(SOURCES) > 40 and all(path.is_file() for path in PURE)
    assert "numpy" in imports_of(CHECKOUT / "neuron_node" / "neuron_array.py")


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.is_relative_to(CHECKOUT / "neuron_node")], ids=name_of
)
def test_a_node_knows_no_coordinator(path: Path) -> None:
    """And nothing but the standard library, pyzmq, msgpack and NumPy."""
    import sys

    for name in {name.split(".")[0] for name in imports_of(path)}:
        assert name in sys.stdlib_module_names or name in {"neuron_node", "numpy", "zmq", "msgpack"}, name


def test_msgpack_is_imported_in_one_file() -> None:
    """The one that encodes and decodes."""
    assert importers_of("msgpack") == {"neuron_node/codec.py"}


def test_zmq_is_imported_in_the_wiring_alone() -> None:
    """Machines, shells and command line know an interface, and no socket."""
    assert importers_of("zmq") == {"neuron_node/direct.py", "neuron_node/wiring.py"}


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_machines_know_no_world(path: Path) -> None:
    """No socket, clock, file, process or random source; nor a module of ours that does."""
    names = imports_of(path)
    assert not {name.split(".")[0] for name in names} & WORLD
    shells = {
        "neuron_node.wiring",
        "neuron_node.program",
        "neuron_node.broker",
        "coordinator.service",
        "coordinator.client",
    }
    assert not names & shells
    assert not any(name.startswith(("coordinator.cli", "coordinator.local")) for name in names)


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_machines_call_no_random_stream_and_no_hash(path: Path) -> None:
    """NumPy's generators may change with its version, and `hash` with every process."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        assert not (isinstance(node, ast.Attribute) and node.attr in {"random", "default_rng"})
        assert not (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in {"hash", "open", "print", "id"}
        )


def test_the_textbook_knows_no_neuron() -> None:
    """What `verify` compares with shares no arithmetic with what it checks, however far one follows the imports."""
    forbidden = {f"neuron_node.{name}" for name in ("neuron", "neuron_array", "group", "losses", "activations")}
    assert not imports_of(CHECKOUT / "coordinator" / "verify" / "textbook.py") & forbidden


@pytest.mark.parametrize(("name", "foreign"), [("neuron", {"math"}), ("neuron_array", {"numpy"})])
def test_the_arithmetic_knows_no_other_part(name: str, foreign: set[str]) -> None:
    """It knows what a role is, and no message, codec, event, machine or error; one neuron is plain Python numbers."""
    names = imports_of(CHECKOUT / "neuron_node" / f"{name}.py")
    ours = {known.split(".")[1] for known in names if known.startswith("neuron_node.")}
    assert ours == {"activations", "losses", "role"}
    others = {known.split(".")[0] for known in names} - {"neuron_node", "__future__", "collections"}
    assert others == foreign


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("coordinator/data", ("coordinator.cli", "coordinator.machine", "coordinator.local", "coordinator.service")),
        (
            "coordinator/machine",
            ("coordinator.cli", "coordinator.local", "coordinator.service", "coordinator.run_directory"),
        ),
        ("coordinator/local", ("coordinator.cli",)),
        ("coordinator/verify", ("coordinator.cli", "coordinator.local", "coordinator.service")),
    ],
)
def test_imports_run_one_way(folder: str, forbidden: tuple[str, ...]) -> None:
    """Machines know arithmetic and messages, shells know machines, the command line knows shells."""
    for path in (CHECKOUT / folder).rglob("*.py"):
        assert not [name for name in imports_of(path) if name.startswith(forbidden)], name_of(path)


@pytest.mark.parametrize("name", ["neuron", "neuron_array"])
def test_the_nine_steps_stand_in_order(name: str) -> None:
    """A numbered comment for each step, in both forms; one neuron is short enough to read aloud."""
    lines = (CHECKOUT / "neuron_node" / f"{name}.py").read_text(encoding="utf-8").splitlines()
    steps = [int(line.strip()[2]) for line in lines if line.strip().startswith("# ") and line.strip()[2:3].isdigit()]
    assert steps == list(range(1, 10))
    assert name != "neuron" or len(lines) < LONGEST_NEURON

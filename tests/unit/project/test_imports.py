"""The rules for imports: no cycle, one direction between folders, and no input or output in the machines.

Imports are followed to the end, also those inside functions and under TYPE_CHECKING. The `__init__` of a package counts only
where it is imported itself.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
PACKAGES = ("neuron_node", "coordinator")
SOURCES = sorted(path for package in PACKAGES for path in (CHECKOUT / package).rglob("*.py"))
LONGEST_NEURON = 100

WORLD = {
    "asyncio", "ctypes", "datetime", "io", "multiprocessing", "os", "pathlib", "random", "resource", "secrets", "select",
    "selectors", "shutil", "signal", "socket", "subprocess", "sys", "tempfile", "threading", "time", "uuid", "zmq", "msgpack",
}  # fmt: skip
"""Modules through which a program meets sockets, clocks, files, processes or chance."""

SHELL = {
    "__init__", "__main__", "broker", "console", "curve", "direct", "fingerprint", "keys", "memory", "memory_guard", "program",
    "security", "shell", "terminal", "transport", "zap",
}  # fmt: skip
"""The modules of neuron_node that know sockets, clocks, processes or the platform. All others are machines, or data of machines."""
PURE = [
    *(path for path in sorted((CHECKOUT / "neuron_node").glob("*.py")) if path.stem not in SHELL),
    *sorted((CHECKOUT / "coordinator" / "core").glob("*.py")),
    *(CHECKOUT / "coordinator" / f"{name}.py" for name in (
        "errors", "in_memory", "schedule", "scores", "topology", "verify/comparison", "verify/textbook", "verify/watching",
    )),
]  # fmt: skip
"""Sans I/O."""


FORMATS = {"neuron_node.codec": {"msgpack"}}
"""Modules that machines may reach although they import something of WORLD: they convert bytes, without input or output."""

MAY_REACH: dict[str, set[str]] = {"neuron_node": set()}
for folder, below in {
    "data": (),
    "trace": ("data",),
    "core": ("trace",),
    "storage": ("core",),
    "verify": ("core",),
    "local": ("storage", "verify"),
    "capacity": ("local",),
    "security": (),
    "bench": ("capacity", "security"),
    "page": ("storage", "verify"),
    "dashboard": ("page",),
    "cli": ("bench", "dashboard", "security"),
}.items():
    MAY_REACH[f"coordinator.{folder}"] = {f"coordinator.{name}" for name in below}.union(
        *(MAY_REACH[f"coordinator.{name}"] for name in below)
    )
"""The folders that each folder may reach, however many imports away: those that are named, and what these may reach."""


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


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__")


Graph = Mapping[str, set[str]]


@cache
def graph_of_sources() -> dict[str, set[str]]:
    """The modules of ours that each module of ours imports by name."""
    files = {module_name(path): path for path in SOURCES}
    return {name: (imports_of(path) & files.keys()) - {name} for name, path in files.items()}


def without(graph: Graph, edges: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    taken = set(edges)
    return {name: {to for to in imported if (name, to) not in taken} for name, imported in graph.items()}


def reached_from(graph: Graph, name: str) -> set[str]:
    """All modules that are imported from a module, directly or not."""
    reached: set[str] = set()
    rest = [name]
    while rest:
        new = graph[rest.pop()] - reached
        reached |= new
        rest += new
    return reached


def in_cycles(graph: Graph) -> set[str]:
    return {name for name in graph if name in reached_from(graph, name)}


def folder_of(module: str) -> str:
    """The folder of MAY_REACH that a module is in, or the name of its package."""
    return next((folder for folder in MAY_REACH if module.startswith(folder + ".")), ".".join(module.split(".")[:2]))


def may_reach(folder: str, module: str) -> bool:
    """Whether MAY_REACH lets a folder reach a module, however many imports away."""
    other = folder_of(module)
    if folder == "neuron_node":
        return other == "neuron_node"
    return other not in MAY_REACH or other in {folder, "neuron_node", *MAY_REACH[folder]}


def backward(graph: Graph) -> set[tuple[str, str]]:
    """Pairs (module, reached module) that break MAY_REACH."""
    return {
        (name, reached)
        for name in graph
        if (folder := folder_of(name)) in MAY_REACH
        for reached in reached_from(graph, name)
        if not may_reach(folder, reached)
    }


def test_import_cycle_in_a_made_graph_is_found() -> None:
    """Also one that is three imports long; a graph without one has none."""
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}
    assert in_cycles(graph) == {"a", "b", "c"}
    assert in_cycles(without(graph, [("c", "a")])) == set()


def test_backward_import_in_a_made_graph_is_found() -> None:
    """Also one by way of a module that lies in no folder with a rule."""
    graph = {
        "coordinator.data.a": {"coordinator.b"},
        "coordinator.b": {"coordinator.core.c"},
        "coordinator.core.c": {"coordinator.data.d"},
        "coordinator.data.d": set[str](),
    }
    assert backward(graph) == {("coordinator.data.a", "coordinator.core.c")}


def test_imports_have_no_cycle() -> None:
    """No module imports itself, however many imports away, also in functions and under TYPE_CHECKING."""
    assert in_cycles(graph_of_sources()) == set()


def test_imports_between_folders_run_one_way() -> None:
    """Data do not know the core, the core knows no files, local runs do not know capacity, and only cli knows cli."""
    assert backward(graph_of_sources()) == set()


def test_every_folder_has_a_direction() -> None:
    """MAY_REACH names every folder of the coordinator."""
    folders = {path.parent for path in SOURCES if path.name == "__init__.py"} - {CHECKOUT / name for name in PACKAGES}
    own = {folder.relative_to(CHECKOUT / "coordinator").parts[0] for folder in folders}
    assert {f"coordinator.{name}" for name in own} == MAY_REACH.keys() - {"neuron_node"}


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
    """And nothing but the standard library, pyzmq, msgpack, NumPy and PyNaCl."""
    import sys

    for name in {name.split(".")[0] for name in imports_of(path)}:
        assert name in sys.stdlib_module_names or name in {"neuron_node", "numpy", "zmq", "msgpack", "nacl"}, name


def test_msgpack_is_imported_in_one_file() -> None:
    """The one that encodes and decodes."""
    assert importers_of("msgpack") == {"neuron_node/codec.py"}


def test_nacl_is_imported_in_two_files() -> None:
    """The machines get signatures as functions, and a program without keys does not load the library."""
    assert importers_of("nacl") == {"neuron_node/ed25519.py", "neuron_node/x25519.py"}
    assert not any("neuron_node.ed25519" in imports_of(path) for path in PURE)


def test_zmq_is_imported_in_the_wiring_alone() -> None:
    """Machines, shells and command line know an interface, and no socket."""
    ours = {f"neuron_node/{name}.py" for name in ("curve", "direct", "memory_guard", "transport", "zap")}
    assert importers_of("zmq") == {"coordinator/front_door.py", *ours}


@cache
def world_of(module: str) -> frozenset[str]:
    """The modules of WORLD that a module of ours imports itself."""
    path = next(path for path in SOURCES if module_name(path) == module)
    return frozenset({name.split(".")[0] for name in imports_of(path)} & WORLD)


def impure_from(path: Path) -> dict[str, set[str]]:
    """What a file reaches of WORLD, by the module that imports it."""
    reached = {module_name(path)} | reached_from(graph_of_sources(), module_name(path))
    return {name: rest for name in reached if (rest := set(world_of(name) - FORMATS.get(name, set())))}


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_machine_reaches_no_input_or_output(path: Path) -> None:
    """No socket, clock, file, process or random source, however many imports away."""
    assert impure_from(path) == {}


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


def test_textbook_shares_only_the_description_of_a_network() -> None:
    """What `verify` compares with reaches errors and plain settings, and no code of the neurons or the coordinator."""
    reached = reached_from(graph_of_sources(), "coordinator.verify.textbook")
    assert reached == {"coordinator.errors", "coordinator.defaults", "neuron_node.errors"}


@pytest.mark.parametrize(("name", "foreign"), [("neuron", {"math"}), ("neuron_array", {"numpy"})])
def test_the_arithmetic_knows_no_other_part(name: str, foreign: set[str]) -> None:
    """It knows what a role is, and no message, codec, event, machine or error; one neuron is plain Python numbers."""
    names = imports_of(CHECKOUT / "neuron_node" / f"{name}.py")
    ours = {known.split(".")[1] for known in names if known.startswith("neuron_node.")}
    assert ours == {"activations", "losses", "role"}
    others = {known.split(".")[0] for known in names} - {"neuron_node", "__future__", "collections"}
    assert others == foreign


@pytest.mark.parametrize("name", ["neuron", "neuron_array"])
def test_the_nine_steps_stand_in_order(name: str) -> None:
    """A numbered comment for each step, in both forms; one neuron is short enough to read aloud."""
    lines = (CHECKOUT / "neuron_node" / f"{name}.py").read_text(encoding="utf-8").splitlines()
    steps = [int(line.strip()[2]) for line in lines if line.strip().startswith("# ") and line.strip()[2:3].isdigit()]
    assert steps == list(range(1, 10))
    assert name != "neuron" or len(lines) < LONGEST_NEURON

"""The wheel: built, installed into a clean environment elsewhere, and used there. No package index is asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).resolve().parents[3]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "neuron_node", "coordinator")
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NODE_NEEDS: list[str] = PROJECT["dependencies"]
EXTRA_NEEDS: list[str] = PROJECT["optional-dependencies"]["coordinator"]
IMPORT_ALL = """
import importlib, pkgutil, sys
for package in map(importlib.import_module, sys.argv[1:]):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
    print(package.__file__)
"""


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program far from the checkout, and without the environment of these tests."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return subprocess.run(
        command,
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def pip(*arguments: str | Path) -> None:
    done = run(sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def closure(requirements: Iterable[str]) -> set[str]:
    """The names of all distributions that these requirements need, from what is installed here."""
    found: set[tuple[str, str]] = set()
    wanted = [(Requirement(text), "") for text in requirements]
    while wanted:
        requirement, extra = wanted.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        for own_extra in ("", *requirement.extras):
            key = canonicalize_name(requirement.name), own_extra
            if key not in found:
                found.add(key)
                wanted += [(Requirement(text), own_extra) for text in distribution(key[0]).requires or ()]
    return {name for name, _ in found}


def link_distributions(names: set[str], folder: Path) -> None:
    """Make `folder` hold these distributions, by symbolic links, and no other."""
    folder.mkdir()
    for name in names:
        files = distribution(name).files
        assert files, f"{name} does not say which files it has"
        for entry in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            (folder / entry).symlink_to(Path(str(distribution(name).locate_file(entry))))


def environment_with(requirements: list[str], package: str, folder: Path) -> Path:
    """A new environment with the project from its wheel and exactly what `requirements` need; its folder of programs.

    pip checks that the wheel's own requirements are met by that.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    link_distributions(closure(requirements), folder / "libraries")
    site_packages = next(folder.glob("lib/python*/site-packages"))
    (site_packages / "libraries.pth").write_text(f"{folder / 'libraries'}\n")
    pip("--python", folder / "bin" / "python", "install", "--quiet", "--no-index", package)
    return folder / "bin"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from a copy of its sources."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source, copy = CHECKOUT / name, folder / "source" / name
        copy.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    pip("wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, folder / "source")
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def node_programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment without the coordinator's extra."""
    return environment_with(NODE_NEEDS, str(wheel), tmp_path_factory.mktemp("node") / "environment")


@pytest.fixture(scope="module")
def coordinator_programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with it."""
    folder = tmp_path_factory.mktemp("coordinator") / "environment"
    return environment_with(NODE_NEEDS + EXTRA_NEEDS, f"{wheel}[coordinator]", folder)


@pytest.fixture(scope="module")
def page_programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the extra of the live page too."""
    folder = tmp_path_factory.mktemp("dashboard") / "environment"
    needs = NODE_NEEDS + EXTRA_NEEDS + PROJECT["optional-dependencies"]["dashboard"]
    return environment_with(needs, f"{wheel}[coordinator,dashboard]", folder)


@pytest.mark.parametrize("program", ["neuron-node", "neuron-broker"])
def test_a_neurons_programs_run_without_the_extra(node_programs: Path, program: str) -> None:
    """The installed programs of a neuron start with pyzmq, msgpack and numpy alone, and know their version."""
    done = run(node_programs / program, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{program} {PROJECT['version']}\n", "")


def test_every_module_of_a_neuron_imports_without_the_extra(node_programs: Path) -> None:
    """No module of `neuron_node` needs more than pyzmq, msgpack and numpy; it is the wheel that is imported."""
    done = run(node_programs / "python", "-W", "error", "-c", IMPORT_ALL, "neuron_node")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(node_programs.parent)


@pytest.mark.parametrize("arguments", [("--version",), ("learn", "digits"), ()])
def test_coordinator_without_its_extra_says_how_to_install_it(node_programs: Path, arguments: tuple[str, ...]) -> None:
    """Whatever is asked of it, it answers with one line on stderr and exit code 2, not with an ImportError."""
    done = run(node_programs / "coordinator", *arguments)
    expected = "coordinator needs its extra: pip install 'exmachina[coordinator]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


def test_with_its_extra_the_coordinator_runs(coordinator_programs: Path) -> None:
    """With what the extra names, and nothing else, the command line starts and knows its version."""
    done = run(coordinator_programs / "coordinator", "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert PROJECT["version"] in done.stdout


def test_every_module_imports_with_the_extras(page_programs: Path) -> None:
    """No module of either package needs a library that the project does not name."""
    done = run(page_programs / "python", "-W", "error", "-c", IMPORT_ALL, "neuron_node", "coordinator")
    assert done.returncode == 0, done.stderr
    for line in done.stdout.split():
        assert Path(line).is_relative_to(page_programs.parent)


def test_the_wheel_tells_type_checkers_that_it_is_typed(coordinator_programs: Path) -> None:
    """Both packages carry their `py.typed`."""
    [site_packages] = coordinator_programs.parent.glob("lib/python*/site-packages")
    assert (site_packages / "neuron_node" / "py.typed").is_file()
    assert (site_packages / "coordinator" / "py.typed").is_file()

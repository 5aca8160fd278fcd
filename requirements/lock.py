"""Write the pinned requirements beside this file, from the ranges in pyproject.toml.

* `node.txt`, `coordinator.txt`, `dashboard.txt`, `build.txt`: for the images; Linux on amd64 and arm64, CPython 3.13, wheels only, every
  file with its SHA-256, so that `pip install --require-hashes` accepts nothing else.
* `constraints.txt`: for `make learn` and `make test`, on every Python that the project supports; versions only, since a
  hash a platform and a Python would be a thousand lines.

pip resolves, with whatever index it is configured for; no address is written down. Run it with CPython 3.13 (pip
evaluates the markers of dependencies for the Python that runs it): `make lock`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

FOLDER = Path(__file__).resolve().parent
IMAGE_PYTHON = "3.13"
SUPPORTED_PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# python:3.13-slim is Debian 13 with glibc 2.41; a wheel for any older glibc runs there, the newest is preferred.
NEWEST_GLIBC, OLDEST_GLIBC = 41, 17
ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
HEADER = "# Written by requirements/lock.py: change pyproject.toml, then run `make lock`.\n"


class Pin(NamedTuple):
    """One package at one version, with the SHA-256 of every file that may be installed for it."""

    version: str
    hashes: frozenset[str]


Pins: TypeAlias = dict[str, Pin]


def platforms(machine: str) -> list[str]:
    """The platform tags that `machine` accepts, best first, as pip on that machine would list them."""
    newest_first = range(NEWEST_GLIBC, OLDEST_GLIBC - 1, -1)
    return [*(f"manylinux_2_{minor}_{machine}" for minor in newest_first), f"manylinux2014_{machine}"]


def resolve(wanted: Iterable[str], machine: str, python: str, constraints: Mapping[str, Pin]) -> Pins:
    """Let pip choose the wheels for `wanted`, and return what it chose by name.

    Raises: SystemExit, with one line, when pip finds no solution or takes a file that only this machine has.
    """
    with tempfile.TemporaryDirectory() as folder:
        constraint_file = Path(folder, "constraints.txt")
        constraint_file.write_text("".join(f"{name}=={pin.version}\n" for name, pin in constraints.items()))
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += ["--dry-run", "--ignore-installed", "--report", "-", "--target", folder]
        command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
        command += [argument for tag in platforms(machine) for argument in ("--platform", tag)]
        command += ["--constraint", str(constraint_file), *wanted]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"lock: pip found no wheels for {machine} and Python {python}: {' '.join(wanted)}")
    pins: Pins = {}
    for item in json.loads(done.stdout)["install"]:
        name, source = item["metadata"]["name"].lower().replace("_", "-"), item["download_info"]
        if not source["url"].startswith("https:"):
            sys.exit(f"lock: {name} comes from this machine ({source['url']}); its hash would be of use to nobody else")
        pins[name] = Pin(item["metadata"]["version"], frozenset([source["archive_info"]["hashes"]["sha256"]]))
    return pins


def resolve_for_images(wanted: Iterable[str], constraints: Mapping[str, Pin]) -> Pins:
    """One version of each package for all architectures, with the hashes of each."""
    merged: Pins = dict(constraints)
    names: set[str] = set()
    for machine in ARCHITECTURES.values():
        found = resolve(wanted, machine, IMAGE_PYTHON, merged)
        if names and names != set(found):
            sys.exit(f"lock: {machine} needs other packages than the rest: {sorted(names ^ set(found))}")
        names = set(found)
        for name, pin in found.items():
            known = merged[name].hashes if name in merged else frozenset()
            merged[name] = Pin(pin.version, known | pin.hashes)
    return {name: merged[name] for name in sorted(names)}


def write_hashed(file_name: str, purpose: str, pins: Pins) -> None:
    """Write one requirements file for `pip install --require-hashes`."""
    lines = [HEADER, f"# {purpose} (Linux on {' and '.join(ARCHITECTURES)}, CPython {IMAGE_PYTHON}).\n"]
    for name, pin in pins.items():
        lines.append(
            " \\\n    ".join([f"{name}=={pin.version}", *(f"--hash=sha256:{digest}" for digest in sorted(pin.hashes))])
        )
        lines.append("\n")
    (FOLDER / file_name).write_text("".join(lines))
    print(f"requirements/{file_name}: {len(pins)} packages")


def marker(pythons: list[str]) -> str:
    """The environment marker for a run of neighbouring Python versions."""
    upper = f'python_version < "3.{int(pythons[-1].removeprefix("3.")) + 1}"'
    return upper if pythons[0] == SUPPORTED_PYTHONS[0] else f'python_version >= "{pythons[0]}" and {upper}'


def write_constraints(wanted: Iterable[str], image: Pins) -> None:
    """Write one constraints file for all supported Pythons; a newer Python than those is not constrained."""
    pythons_by_pin: dict[tuple[str, str], list[str]] = {}
    for python in SUPPORTED_PYTHONS:
        constraints = image if python == IMAGE_PYTHON else {}
        for name, pin in resolve(wanted, ARCHITECTURES["amd64"], python, constraints).items():
            pythons_by_pin.setdefault((name, pin.version), []).append(python)
    lines = [HEADER, "# What `make learn` and `make test` install, for each Python that the project supports.\n"]
    lines += [f"{name}=={version} ; {marker(pythons)}\n" for (name, version), pythons in sorted(pythons_by_pin.items())]
    (FOLDER / "constraints.txt").write_text("".join(lines))
    print(f"requirements/constraints.txt: {len(pythons_by_pin)} versions")


def main() -> None:
    """Resolve and write all five files."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" != IMAGE_PYTHON:
        here = sys.version.split()[0]
        sys.exit(f"lock: needs Python {IMAGE_PYTHON}, as in the images, not {here}: make lock LOCK_PYTHON=PATH")
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text())
    node: list[str] = project["project"]["dependencies"]
    coordinator = node + project["project"]["optional-dependencies"]["coordinator"]
    dashboard: list[str] = project["project"]["optional-dependencies"]["dashboard"]
    bench: list[str] = project["project"]["optional-dependencies"]["bench"]
    groups: dict[str, list[str]] = project["dependency-groups"]
    build: list[str] = project["build-system"]["requires"]
    everything = resolve_for_images(coordinator, {})
    write_hashed("coordinator.txt", "The coordinator's image", everything)
    with_page = resolve_for_images([*coordinator, *dashboard], everything)
    write_hashed("dashboard.txt", "The image of the live page", with_page)
    write_hashed("node.txt", "The image of neuron and broker", resolve_for_images(node, everything))
    write_hashed("build.txt", "What builds the project's wheel inside the images", resolve_for_images(build, {}))
    write_constraints([*coordinator, *bench, *(need for group in groups.values() for need in group)], with_page)


if __name__ == "__main__":
    main()

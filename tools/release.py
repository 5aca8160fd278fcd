"""Check that version, changelog, wheel and images agree: `make release`.

The version is the one in pyproject.toml. The check builds the wheel into dist/, and all images with Docker.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterable
from email.parser import HeaderParser
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGES = ("neuron_node", "coordinator")
SUFFIXES = {".css", ".html", ".js", ".py"}
IMAGES = {"node": ("neuron-node", "neuron-broker"), "coordinator": ("coordinator",), "dashboard": ("coordinator",)}
"""The programs of each image that print the version."""
HEADING = re.compile(r"^## (?P<version>\S+)(?: - (?P<date>\d{4}-\d\d-\d\d))?$", re.MULTILINE)

Run = Callable[[list[str]], str]


class Disagreement(Exception):
    """One line: two parts of the release that do not agree."""


def version_of(checkout: Path) -> str:
    """Return the version in pyproject.toml."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def check_changelog(text: str, version: str) -> None:
    """Raise `Disagreement` unless Unreleased is empty, and the next section has this version and a date."""
    headings = list(HEADING.finditer(text))
    if len(headings) < 2 or headings[0]["version"] != "Unreleased":
        raise Disagreement("CHANGELOG.md: the first two sections must be Unreleased and the version")
    if text[headings[0].end() : headings[1].start()].strip():
        raise Disagreement("CHANGELOG.md: Unreleased has entries; give them a version and a date")
    if headings[1]["version"] != version:
        raise Disagreement(
            f"CHANGELOG.md: the latest version is {headings[1]['version']}, in pyproject.toml it is {version}"
        )
    if headings[1]["date"] is None:
        raise Disagreement(f"CHANGELOG.md: {version} has no date; write ## {version} - YYYY-MM-DD")


def check_wheel(wheel: Path, version: str, sources: Iterable[str]) -> None:
    """Raise `Disagreement` unless the wheel has this version, and exactly these source files."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [metadata] = [name for name in names if name.endswith(".dist-info/METADATA")]
        found = HeaderParser().parsestr(archive.read(metadata).decode())["Version"]
    if found != version:
        raise Disagreement(f"{wheel.name}: its version is {found}, in pyproject.toml it is {version}")
    packed = {name for name in names if name.split("/")[0] in PACKAGES}
    if different := sorted(packed ^ set(sources)):
        raise Disagreement(f"{wheel.name}: {different[0]} is only in the wheel or only in the sources")


def check_images(version: str, run: Run) -> None:
    """Build all images. Raise `Disagreement` unless each program in them prints this version."""
    for target, programs in IMAGES.items():
        image = f"exmachina-{target}:{version}"
        run(["docker", "build", "--quiet", "--target", target, "--tag", image, "."])
        for program in programs:
            said = run(["docker", "run", "--rm", image, program, "--version"]).strip()
            if version not in re.split(r"[\s,]+", said):
                raise Disagreement(f"{image}: {program} --version says {said!r}, in pyproject.toml it is {version}")


def source_files(checkout: Path) -> set[str]:
    """Return the files that belong into the wheel."""
    files = (path for package in PACKAGES for path in (checkout / package).rglob("*"))
    return {
        path.relative_to(checkout).as_posix() for path in files if path.suffix in SUFFIXES or path.name == "py.typed"
    }


def _run(command: list[str]) -> str:
    try:
        return subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=True).stdout
    except FileNotFoundError:
        raise Disagreement(f"there is no command {command[0]}; a release needs it") from None
    except subprocess.CalledProcessError as fault:
        raise Disagreement(f"{' '.join(command)} ended with exit code {fault.returncode}") from None


def main() -> int:
    """Run all checks; print one line, and return 1 if two parts do not agree."""
    try:
        version = version_of(CHECKOUT)
        check_changelog((CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8"), version)
        folder = CHECKOUT / "dist"
        _run(
            [
                sys.executable,
                "-m",
                "pip",
                "wheel",
                "--quiet",
                "--no-deps",
                "--no-build-isolation",
                "--wheel-dir",
                str(folder),
                ".",
            ]
        )
        check_wheel(folder / f"exmachina-{version}-py3-none-any.whl", version, source_files(CHECKOUT))
        check_images(version, _run)
    except Disagreement as fault:
        print(f"release: {fault}", file=sys.stderr)
        return 1
    print(f"release: version, changelog, wheel and images agree on {version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

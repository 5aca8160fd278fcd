"""The files by which people and hosts know the project: workflow, hooks, changelog, release, and a clone."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tools import release

CHECKOUT = Path(__file__).resolve().parents[3]
MAKEFILE = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CHANGES = "# Changelog\n\n## Unreleased\n\n## 1.2.0 - 2026-01-31\n\n### Added\n\n- Something.\n"


def yaml(name: str) -> Any:
    return YAML(typ="safe").load((CHECKOUT / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ("vendor.github-workflows", ".github/workflows/test.yml"),
        ("vendor.dependabot", ".github/dependabot.yml"),
        ("vendor.compose-spec", "compose.yaml"),
    ],
)
def test_file_for_a_host_follows_its_schema(schema: str, name: str) -> None:
    """The schemas come with check-jsonschema; nothing is fetched."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(CHECKOUT / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_workflow_runs_what_ci_runs_on_every_supported_python() -> None:
    """On Linux .ci/run, which needs containers; on macOS the tests without them."""
    jobs = yaml(".github/workflows/test.yml")["jobs"]
    supported = [text.rsplit(" ", 1)[1] for text in PROJECT["classifiers"] if "Python :: 3." in text]
    assert jobs["linux"]["strategy"]["matrix"]["python"] == supported
    assert set(jobs["macos"]["strategy"]["matrix"]["python"]) <= set(supported)
    *_, tests, pictures = jobs["linux"]["steps"]
    assert tests == {"run": "bash .ci/run"}
    assert pictures["uses"].startswith("actions/upload-artifact@") and pictures["with"]["path"] == "build/screenshots"
    assert jobs["macos"]["steps"][-1] == {"run": "make test"}
    assert "EXMACHINA_CONTAINER_TESTS" not in str(jobs["macos"])


def test_hooks_before_a_commit_are_local_and_part_of_make_test() -> None:
    """pre-commit fetches nothing, and finds nothing that `make test` would not find."""
    [repository] = yaml(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    recipe = MAKEFILE[MAKEFILE.index("\ntest:") :].partition("\n\n")[0]
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].startswith(".venv/bin/")
        command = hook["entry"].removeprefix(".venv/bin/").removesuffix(" --force-exclude")
        assert f"$(BIN)/{command}\n" in recipe, hook["id"]


def test_help_names_every_target() -> None:
    """`make help` prints the first lines of the Makefile, and each target has a line there."""
    [targets] = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert set(re.findall(r"^# make ([\w-]+)", MAKEFILE, re.MULTILINE)) == set(targets.split()) - {"help"}


def test_clone_offers_the_commands_of_the_readme(tmp_path: Path) -> None:
    """A clone has all files that the commands in README need."""
    if not (CHECKOUT / ".git").exists():
        pytest.skip("these sources are no clone")
    clone = tmp_path / "exmachina"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", CHECKOUT, clone], check=True, capture_output=True)
    said = subprocess.run(["make", "help"], cwd=clone, capture_output=True, text=True, check=True).stdout
    assert "make learn" in said and "make test" in said
    assert (clone / "compose.yaml").is_file() and (clone / "Dockerfile").is_file()


def test_changelog_has_the_version_of_the_project() -> None:
    """The project has the version of the latest section, or the next one if Unreleased has entries."""
    text = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")
    unreleased, latest, *_ = headings = list(release.HEADING.finditer(text))
    assert unreleased["version"] == "Unreleased" and all(heading["date"] for heading in headings[1:])
    project, released = (
        tuple(int(part) for part in version.split(".")) for version in (PROJECT["version"], latest["version"])
    )
    entries = text[unreleased.end() : latest.start()].strip()
    assert project > released if entries else project == released


def test_changelog_of_a_release_is_accepted() -> None:
    """Nothing is unreleased, and the version has a date."""
    release.check_changelog(CHANGES, "1.2.0")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (CHANGES.replace("## Unreleased\n", "## Unreleased\n\n- More.\n"), "Unreleased has entries"),
        (CHANGES.replace("1.2.0", "1.1.0"), "the latest version is 1.1.0, in pyproject.toml it is 1.2.0"),
        (CHANGES.replace(" - 2026-01-31", ""), "1.2.0 has no date"),
        (CHANGES.replace("## Unreleased\n", ""), "the first two sections"),
    ],
)
def test_changelog_that_disagrees_is_refused(text: str, fault: str) -> None:
    """In one line that says what is wrong."""
    with pytest.raises(release.Disagreement, match=fault):
        release.check_changelog(text, "1.2.0")


def wheel(folder: Path, version: str, *names: str) -> Path:
    path = folder / "made.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("exmachina.dist-info/METADATA", f"Metadata-Version: 2.4\nVersion: {version}\n")
        for name in names:
            archive.writestr(name, "")
    return path


def test_wheel_must_have_the_version_and_the_sources(tmp_path: Path) -> None:
    """A file too many or too few is named."""
    sources = {"neuron_node/a.py", "coordinator/b.py"}
    release.check_wheel(wheel(tmp_path, "1.2.0", *sources), "1.2.0", sources)
    with pytest.raises(release.Disagreement, match=r"its version is 1\.1\.0"):
        release.check_wheel(wheel(tmp_path, "1.1.0", *sources), "1.2.0", sources)
    with pytest.raises(release.Disagreement, match=r"coordinator/b\.py is only in"):
        release.check_wheel(wheel(tmp_path, "1.2.0", "neuron_node/a.py"), "1.2.0", sources)
    with pytest.raises(release.Disagreement, match=r"coordinator/old\.py is only in"):
        release.check_wheel(wheel(tmp_path, "1.2.0", "coordinator/old.py", *sources), "1.2.0", sources)


def test_images_must_say_the_version() -> None:
    """Each program of each image is asked."""
    asked: list[str] = []

    def engine(command: list[str]) -> str:
        asked.append(command[-2] if command[1] == "run" else command[1])
        return "coordinator, version 1.2.0\n" if "coordinator" in command else f"{command[-2]} 1.2.0\n"

    release.check_images("1.2.0", engine)
    assert asked == ["build", "neuron-node", "neuron-broker", "build", "coordinator", "build", "coordinator"]
    with pytest.raises(release.Disagreement, match=r"neuron-node --version says 'neuron-node 1\.2\.0'"):
        release.check_images("1.2", engine)


def test_sources_of_the_wheel_are_found() -> None:
    """Among them each package's own file and its mark for type checkers; the tests are not."""
    found = release.source_files(CHECKOUT)
    assert {
        "neuron_node/__init__.py",
        "coordinator/py.typed",
        "coordinator/cli/main.py",
        "coordinator/page/picture.js",
    } <= found
    assert not any(name.startswith("tests") for name in found)
    assert release.version_of(CHECKOUT) == PROJECT["version"]


def test_each_image_has_the_packages_of_the_one_before() -> None:
    """In the same versions: an image takes these files as they are, and only adds new ones."""
    packages = [
        set(re.findall(r"^[^#\s]+==\S+", (CHECKOUT / f"requirements/{name}.txt").read_text(), re.MULTILINE))
        for name in ("node", "coordinator", "dashboard")
    ]
    assert packages[0] and packages[0] < packages[1] < packages[2]

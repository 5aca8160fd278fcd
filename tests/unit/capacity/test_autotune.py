"""What `--group-size auto` picks, what it says of it, and that a run keeps what was picked."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.capacity.autotune import BROKER, Costs, place, step_seconds
from coordinator.capacity.host import Host
from coordinator.capacity.resources import lacks, needs_of, needs_of_run
from coordinator.cli.serve import _run_of
from coordinator.errors import UserError
from coordinator.job import Job
from coordinator.settings import resolve_settings
from coordinator.storage.resumption import checked_config
from tests.commands import Terminal

LARGE = (784, 512, 512, 10)
FREE = 1e-15
"""Nothing, where a rate must not be zero."""


def machine(cores: int, *, descriptors: int | None = None, memory_megabytes: float | None = None) -> Host:
    return Host(descriptors, None, memory_megabytes, cores)


@given(
    layers=st.lists(st.integers(1, 900), min_size=2, max_size=5),
    batch=st.sampled_from([1, 16, 256]),
    cores=st.integers(1, 12),
    descriptors=st.integers(134, 2_000),
)
def test_automatic_group_size_fits_and_is_no_slower_than_plain_ones(
    layers: list[int], batch: int, cores: int, descriptors: int
) -> None:
    """By the reckoning neither whole layers nor single neurons nor as many parts as cores would be quicker, where they fit."""
    here = machine(cores, descriptors=descriptors)
    plain = [needs_of(layers, size, batch) for size in (max(layers), 1, -(-max(layers) // cores))]
    fitting = [needs for needs in plain if not lacks(needs, here)]
    if not fitting:
        return
    placement = place(layers, batch, here)
    assert lacks(placement.needs, here) == []
    assert placement.seconds == step_seconds(placement.needs, cores)
    assert placement.seconds <= min(step_seconds(needs, cores) for needs in fitting)
    assert place(layers, batch, here) == placement


@pytest.mark.parametrize("layers", [(2, 3, 1), (64, 12, 10), (256, 8, 10)])
@pytest.mark.parametrize("cores", [1, 2, 8])
def test_a_small_network_is_not_cut(layers: tuple[int, ...], cores: int) -> None:
    """Its arithmetic is nothing beside a message, whatever the machine."""
    assert place(layers, 16, machine(cores)).group_size == max(layers)


def test_one_core_gets_whole_layers() -> None:
    """Parts of a layer that can't work at the same time only cost messages."""
    assert place(LARGE, 256, machine(1)).group_size == 784


def test_a_large_network_is_shared_among_the_cores() -> None:
    """Where arithmetic is what takes the time, every core gets a part of the layer; more cores never make it slower."""
    arithmetic_only = Costs(0.0, 0.0, 1 / FREE, 0.0, BROKER.operations_per_second)
    layers = (600, 600, 600, 600)
    picked = [place(layers, 256, machine(cores), costs=arithmetic_only) for cores in (1, 2, 3, 4, 6, 12)]
    assert [placement.group_size for placement in picked] == [600, 300, 200, 150, 100, 50]
    seconds = [placement.seconds for placement in picked]
    assert seconds == sorted(seconds, reverse=True)


def test_messages_and_bytes_speak_against_cutting() -> None:
    """Dear messages, or a slow wire, keep layers whole where arithmetic would have them cut."""
    for dear in (Costs(delivery_seconds=1.0), Costs(bytes_per_second=1e6)):
        assert place(LARGE, 256, machine(4), costs=dear).group_size == 784


def test_group_sizes_that_do_not_fit_are_named_and_not_taken() -> None:
    """The quickest that fits is taken, and the line says what the quickest of all would have needed."""
    best = place(LARGE, 256, machine(2))
    whole = needs_of(LARGE, 784, 256)
    assert best.group_size < 784 and best.passed_over is None
    placement = place(LARGE, 256, machine(2, memory_megabytes=whole.memory_megabytes + 1))
    assert placement.group_size == 784
    assert placement.told == (
        f"group size auto: 784, one group per layer (4 nodes) for 2 cores; {best.group_size} might be faster, but "
        f"{best.needs.groups} nodes need about {best.needs.memory_megabytes:,.0f} MB of memory, "
        f"{whole.memory_megabytes + 1:,.0f} MB are free"
    )


def test_spares_and_a_relay_are_counted() -> None:
    """What fits alone may not fit with the nodes and the program that a disturbed run has besides."""
    limit = needs_of(LARGE, 784, 256).descriptors_broker
    assert place(LARGE, 256, machine(1, descriptors=limit)).group_size == 784
    for spares, relayed in ((1, False), (0, True)):
        with pytest.raises(UserError, match="open files"):
            place(LARGE, 256, machine(1, descriptors=limit), spares=spares, relayed=relayed)


def test_where_nothing_fits_that_is_said() -> None:
    """One line that names what is lacking, and no size that would not help."""
    with pytest.raises(UserError) as raised:
        place((64, 12, 10), 16, machine(2, memory_megabytes=1.0))
    line = str(raised.value)
    assert "MB of memory, 1 MB are free" in line and "--group-size" not in line and "\n" not in line


@pytest.mark.parametrize(
    ("layers", "batch", "cores", "line"),
    [
        ((64, 12, 10), 16, 2, "group size auto: 64, one group per layer (3 nodes) for 2 cores"),
        ((784, 512, 512, 10), 256, 1, "group size auto: 784, one group per layer (4 nodes) for 1 core"),
        ((5_000, 5_000), 64, 2, "group size auto: 2,500, layers in up to 2 groups (4 nodes) for 2 cores"),
    ],
)
def test_automatic_group_size_is_said_with_its_reason(
    layers: tuple[int, ...], batch: int, cores: int, line: str
) -> None:
    """One line: the size, what that means, and for which machine."""
    assert place(layers, batch, machine(cores)).told == line


def test_auto_can_be_given_wherever_a_group_size_can(tmp_path: Path) -> None:
    """As a flag, in the environment, in a file."""
    file = tmp_path / "settings.toml"
    file.write_text('group_size = "auto"\n', encoding="utf-8")
    assert resolve_settings({"group_size": "auto"}, {}, None).group_size == "auto"
    assert resolve_settings({}, {"EXMACHINA_GROUP_SIZE": "auto"}, None).group_size == "auto"
    assert resolve_settings({}, {}, file).group_size == "auto"


def test_a_run_holds_the_number(tmp_path: Path) -> None:
    """What a coordinator reads is a number, so it stays the same on any machine; the settings still say `auto`."""
    job = Job.from_flags({"dataset": "xor", "group_size": "auto"}, None, machine=lambda: machine(2))
    directory = job.create_run(tmp_path)
    config = checked_config(directory)
    assert (job.group_size, job.nodes) == (3, 3)
    assert (config["group_size"], config["settings"]["group_size"]) == (3, "auto")
    assert needs_of_run(config) == job.needs() == needs_of((2, 3, 1), 3, 4)


def test_a_given_size_is_no_pick() -> None:
    """Nobody looks at the machine then, and nothing is said."""

    def nowhere() -> Host:
        raise AssertionError("nobody has asked")

    job = Job.from_flags({"dataset": "xor", "group_size": "layer"}, None, machine=nowhere)
    assert (job.placement, job.group_size) == (None, 3)


def test_restarted_service_keeps_the_automatic_group_size(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """On another machine `auto` would pick another size; the run that was begun keeps its own, and says so."""
    # A batch large enough for both machines to differ.
    flags = {"dataset": "xor", "layers": "2,3000,1", "batch_size": "4096", "group_size": "auto"}

    def job(cores: int) -> Job:
        return Job.from_flags(flags, None, machine=lambda: machine(cores))

    assert job(1).group_size != job(8).group_size
    begun = _run_of(job(1), tmp_path, False)
    assert "group size auto: 3,000, one group per layer (3 nodes) for 1 core" in capfd.readouterr().err
    again = _run_of(job(8), tmp_path, False)
    assert again.path == begun.path and again.config()["group_size"] == 3_000
    assert f"group size auto: 3,000, as in the run {begun.path.name}" in capfd.readouterr().err
    other = Job.from_flags({**flags, "group_size": "1500"}, None)
    assert _run_of(other, tmp_path, False).path != begun.path


def test_a_network_that_is_too_large_is_refused_before_anything_is_started(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2, one line with the smallest size that fits, and no folder of a run; with a relay it is another size."""
    monkeypatch.setattr("coordinator.cli.learn.this_machine", lambda: machine(2, descriptors=180))
    sizes = []
    for chaos in ([], ["--chaos", "partition=1"]):
        said = Terminal(capfd).type("learn", "digits", "--runs", str(tmp_path), *chaos)
        assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
        line, _, size = said.err.strip().rpartition(" ")
        assert "open files, this machine allows 180: raise the limit (ulimit -n " in line
        assert "); it fits with --group-size" in line
        sizes.append(int(size))
    assert 1 < sizes[0] < sizes[1]
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_does_not_fit_any_more_is_not_resumed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can't change its group size, so the line says what another run would fit with."""
    directory = Job.from_flags({"dataset": "digits"}, None).create_run(tmp_path)
    monkeypatch.setattr("coordinator.cli.learn.this_machine", lambda: machine(2, descriptors=180))
    said = Terminal(capfd).type("learn", "--resume", directory.path.name, "--runs", str(tmp_path))
    assert said.code == 2 and said.err.count("\n") == 1
    assert (
        "86 nodes need 300 open files, this machine allows 180: raise the limit (ulimit -n 300); another run would fit"
        in (said.err)
    )

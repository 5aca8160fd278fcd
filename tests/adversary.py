"""An adversary: random schedules of signals to real programs. `make adversary`, or `python -m tests.adversary --help`.

The seed and the number of the schedule determine network, groups, wiring, nodes and batches, and the signals: kind, programs
and moment. Every run must end, without help or after one `--resume`, with the weights of machines in memory. Every file must
match its checksum; no process, socket or folder may be left. A failed schedule is named and can be repeated, though not to the
microsecond.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.processes.programs import Bench, Program, in_memory_sha256

SIGNALS = {
    "kill": signal.SIGKILL,
    "term": signal.SIGTERM,
    "int": signal.SIGINT,
    "hup": signal.SIGHUP,
    "stop": signal.SIGSTOP,
}
FORKED = ("neuron-node", "neuron-broker", "coordinator")
STRIKES_AT_MOST = 6
BEGIN_WITHIN_SECONDS = 4.0
FROM_START = 0.15
STOPPED_AT_LEAST_SECONDS, STOPPED_AT_MOST_SECONDS = 0.1, 20.0
HANGS_AFTER_SECONDS = 150.0
GONE_AFTER_SECONDS = 10.0


@dataclass(frozen=True)
class Strike:
    """One signal to some programs at the same instant; stopped programs continue after a time."""

    after_seconds: float
    kind: str
    victims: tuple[str, ...]
    stopped_seconds: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """A run, and the signals that its programs get."""

    number: int
    arguments: tuple[str, ...]
    strikes: tuple[Strike, ...]
    from_start: bool
    """Whether the time of the signals begins with the command line, or else when the supervisor has been started."""

    def told(self) -> str:
        """Return the schedule in one line."""
        strikes = "; ".join(
            f"{strike.after_seconds:.2f} s {strike.kind} {'+'.join(strike.victims)}"
            + (f" for {strike.stopped_seconds:.1f} s" if strike.stopped_seconds else "")
            for strike in self.strikes
        )
        begin = "" if self.from_start else "after the supervisor's start: "
        return f"learn {' '.join(self.arguments)} | {begin}{strikes}"


def drawn(seed: int, number: int) -> Schedule:
    """Return a schedule: a pure function of the arguments."""
    dice = random.Random(f"{seed}/{number}")
    return Schedule(number, _arguments(dice), tuple(_strikes(dice)), dice.random() < FROM_START)


def _arguments(dice: random.Random) -> tuple[str, ...]:
    dataset, hidden, batches, epochs = dice.choice(
        [
            ("xor", "3", ("1", "2", "4"), {"1": "500", "2": "1000", "4": "2000"}),
            ("xor", "3,2", ("2", "4"), {"2": "800", "4": "1600"}),
            ("iris", "4", ("8", "16"), {"8": "100", "16": "200"}),
        ]
    )
    batch = dice.choice(batches)
    group_size = dice.choice(("1", "1", "2", "layer"))
    arguments = ["--hidden", hidden, "--batch-size", batch, "--epochs", epochs[batch], "--group-size", group_size]
    arguments += ["--snapshot-interval-steps", dice.choice(("10", "50", "100000"))]
    if group_size == "layer" or dice.random() < 0.2:
        arguments += ["--wiring", dice.choice(("broker", "direct"))]
    if group_size == "1" and "--wiring" not in arguments and dice.random() < 0.5:
        arguments += ["--nodes", dice.choice(("1", "2", "3"))]
    if int(batch) % 2 == 0 and dice.random() < 0.3:
        arguments += ["--microbatches", "2"]
    if dice.random() < 0.3:
        arguments += ["--spares", dice.choice(("1", "2"))]
    return (dataset, *arguments)


def _strikes(dice: random.Random) -> Iterator[Strike]:
    moment = dice.uniform(0.0, BEGIN_WITHIN_SECONDS)
    for _ in range(dice.randint(1, STRIKES_AT_MOST)):
        kind = dice.choice(list(SIGNALS))
        stopped = STOPPED_AT_LEAST_SECONDS * (STOPPED_AT_MOST_SECONDS / STOPPED_AT_LEAST_SECONDS) ** dice.random()
        yield Strike(moment, kind, _victims(dice), stopped if kind == "stop" else 0.0)
        # Often the run has not yet recovered from the last signal.
        moment += dice.expovariate(1.0)


def _victims(dice: random.Random) -> tuple[str, ...]:
    """Return the programs to signal, by kernel name and number; a number counts modulo the number of such programs."""
    dart = dice.random()
    if dart < 0.35:
        return (f"neuron-node:{dice.randrange(100)}",)
    if dart < 0.5:
        return ("neuron-node",)
    if dart < 0.65:
        return ("neuron-broker",)
    if dart < 0.75:
        return ("coordinator",)
    if dart < 0.82:
        return ("supervisor",)
    if dart < 0.88:
        return ("command line",)
    some = (
        "neuron-broker",
        "coordinator",
        "supervisor",
        "command line",
        "neuron-node",
        f"neuron-node:{dice.randrange(100)}",
    )
    return tuple(dice.sample(some, dice.randint(2, 4)))


class Failed(Exception):
    """A schedule did not end as it should; the text says how."""


class Stage:
    """One schedule on real programs, in folders of its own."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.struck: Counter[str] = Counter()
        self.resumed = False
        self._folder = Path(tempfile.mkdtemp(prefix="adversary-"))
        # The path of a socket must be short.
        self._sockets = Path(tempfile.mkdtemp(prefix="xm-"))
        self._bench = Bench(self._folder, self._sockets)
        self._timers: list[threading.Timer] = []

    def play(self) -> None:
        """Play the schedule. Raises `Failed`."""
        try:
            self._play()
        finally:
            for timer in self._timers:
                timer.cancel()
            self._bench.kill_all()
            shutil.rmtree(self._sockets, ignore_errors=True)
            shutil.rmtree(self._folder, ignore_errors=True)

    def _play(self) -> None:
        program = self._bench.learn(*self.schedule.arguments, "--name", "r")
        while not self.schedule.from_start and program.process.poll() is None and not self._has_supervisor():
            time.sleep(0.05)
        begun = time.monotonic()
        for strike in self.schedule.strikes:
            while program.process.poll() is None and time.monotonic() - begun < strike.after_seconds:
                time.sleep(0.01)
            if program.process.poll() is not None:
                break
            self._strike(strike, program)
        sha256 = self._sha256(program)
        if sha256 is None:
            self.resumed = True
            self._check_gone(sockets=False)
            sha256 = self._resumed()
        folder = self._bench.runs / "r"
        wanted = in_memory_sha256(folder)
        if sha256 != wanted:
            raise Failed(f"the weights differ: {sha256}, undisturbed {wanted}")
        self._check_gone(sockets=True)
        self._check_files()

    def _has_supervisor(self) -> bool:
        return bool(self._bench.programs("supervisor"))

    def _strike(self, strike: Strike, program: Program) -> None:
        for victim in self._processes(strike.victims, program):
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.send_signal(SIGNALS[strike.kind])
                self.struck[strike.kind] += 1
                if strike.kind == "stop":
                    self._timers.append(threading.Timer(strike.stopped_seconds, _go_on, [victim]))
                    self._timers[-1].daemon = True
                    self._timers[-1].start()

    def _processes(self, names: tuple[str, ...], program: Program) -> list[psutil.Process]:
        running: dict[str, list[psutil.Process]] = {}
        for process in self._bench.programs():
            with contextlib.suppress(psutil.Error):
                name = "command line" if process.pid == program.process.pid else process.name()
                running.setdefault(name, []).append(process)
        found = []
        for text in names:
            name, _, number = text.partition(":")
            some = running.get(name, [])
            found += [some[int(number) % len(some)]] if number and some else some
        return list(dict.fromkeys(found))

    def _sha256(self, program: Program) -> str | None:
        """Return the digest that the command printed; None if a signal ended the command."""
        code = _end_of(program)
        said = program.said()
        if "Traceback" in said:
            raise Failed(f"a traceback: {said[-2_000:]}")
        if code == 0:
            return str(json.loads(program.stdout.read_text(encoding="utf-8"))["weights_sha256"])
        last = said.splitlines()[-1] if said else ""
        hit_owner = any({"command line", "supervisor"} & set(strike.victims) for strike in self.schedule.strikes)
        if code in (1, 2) and not hit_owner:
            raise Failed(f"no signal had ended it, but it ended with {code}: {last}")
        return None

    def _resumed(self) -> str:
        if not (self._bench.runs / "r" / "config.json").exists():
            # A signal ended the command before the run began.
            program = self._bench.learn(*self.schedule.arguments, "--name", "r")
        else:
            program = self._bench.learn("--resume", "r")
        code, said = _end_of(program), program.said()
        if "Traceback" in said:
            raise Failed(f"a traceback: {said[-2_000:]}")
        if code == 2 and "has finished" in said:
            return str(
                json.loads((self._bench.runs / "r" / "result.json").read_text(encoding="utf-8"))["weights_sha256"]
            )
        if code:
            raise Failed(f"--resume ended with {code}: {said.splitlines()[-1] if said else ''}")
        return str(json.loads(program.stdout.read_text(encoding="utf-8"))["weights_sha256"])

    def _check_gone(self, *, sockets: bool) -> None:
        deadline = time.monotonic() + GONE_AFTER_SECONDS
        while (left := _names_of(self._bench.programs())) or (sockets and any(self._sockets.iterdir())):
            if time.monotonic() > deadline:
                raise Failed(f"left: processes {left}, sockets {[str(path) for path in self._sockets.iterdir()]}")
            time.sleep(0.05)

    def _check_files(self) -> None:
        program = self._bench.start("coordinator", "runs", "--check", "r")
        if _end_of(program):
            raise Failed(f"files are not as they were written: {program.stdout.read_text(encoding='utf-8')}")


def _end_of(program: Program) -> int:
    try:
        return program.process.wait(HANGS_AFTER_SECONDS)
    except Exception:
        raise Failed(f"it hangs: {program.said()[-2_000:]}") from None


def _names_of(processes: Iterable[psutil.Process]) -> list[str]:
    """Return the names of the processes that still run."""
    names = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            names.append(process.name())
    return names


def _go_on(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(signal.SIGCONT)


@dataclass
class Outcome:
    """The result of a schedule; `fault` is empty if it passed."""

    schedule: Schedule
    seconds: float
    resumed: bool
    struck: Counter[str]
    fault: str


def play(seed: int, number: int) -> Outcome:
    """Play one schedule."""
    schedule = drawn(seed, number)
    stage = Stage(schedule)
    begun = time.monotonic()
    try:
        stage.play()
        fault = ""
    except Failed as failed:
        fault = str(failed)
    except Exception:
        fault = traceback.format_exc()
    return Outcome(schedule, time.monotonic() - begun, stage.resumed, stage.struck, fault)


def main(arguments: list[str] | None = None) -> int:
    """Play schedules; return 1 if a schedule failed, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.adversary", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--schedules", type=int, default=200, help="how many (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="what they are drawn from (default %(default)s)")
    parser.add_argument("--first", type=int, default=1, help="the number of the first (default %(default)s)")
    parser.add_argument("--at-once", type=int, default=2, help="how many run side by side (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=3_600.0, help="begin none after so long (default %(default)s)")
    options = parser.parse_args(arguments)
    begun = time.monotonic()
    outcomes: list[Outcome] = []

    def within_time(number: int) -> Outcome | None:
        return play(options.seed, number) if time.monotonic() - begun < options.seconds else None

    with ThreadPoolExecutor(options.at_once) as pool:
        numbers = range(options.first, options.first + options.schedules)
        for future in as_completed([pool.submit(within_time, number) for number in numbers]):
            outcome = future.result()
            if outcome is None:
                continue
            outcomes.append(outcome)
            if outcome.fault:
                print(
                    f"schedule {outcome.schedule.number} failed: {outcome.schedule.told()}\n  {outcome.fault}",
                    flush=True,
                )
                print(
                    f"  again: python -m tests.adversary --seed {options.seed} --first {outcome.schedule.number} --schedules 1"
                )
            elif len(outcomes) % 10 == 0:
                print(
                    f"{len(outcomes)} schedules, {sum(bool(o.fault) for o in outcomes)} failed",
                    file=sys.stderr,
                    flush=True,
                )
    struck = sum((outcome.struck for outcome in outcomes), Counter())
    failed = [outcome.schedule.number for outcome in outcomes if outcome.fault]
    missed = sum(not outcome.struck for outcome in outcomes)
    print(
        f"{len(outcomes)} of {options.schedules} schedules in {time.monotonic() - begun:.0f} s: {len(failed)} failed"
        f"{f' ({failed})' if failed else ''}; {sum(outcome.resumed for outcome in outcomes)} ended after one --resume, "
        f"the others by themselves, {missed} of them before the first signal; "
        f"signals sent: {', '.join(f'{kind} {struck[kind]}' for kind in SIGNALS)}; "
        f"the longest took {max((outcome.seconds for outcome in outcomes), default=0.0):.0f} s"
    )
    return 1 if failed or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main())

"""How the tests themselves take SIGTERM and SIGINT, and signals that are ignored when they start."""

from __future__ import annotations

import os
import signal

import psutil

_interrupted = False


def take_signals_as_tests_need_them(*, starts_workers: bool = False, is_worker: bool = False) -> None:
    """Make SIGTERM run the end of all fixtures, and give child programs the usual SIGINT and SIGHUP.

    pytest ends at once on SIGTERM by default; a Compose project of the tests would stay behind. A shell starts background
    jobs with SIGINT ignored, and nohup starts a program with SIGHUP ignored; every child inherits that, so a test could not
    send these signals to a program. A handler that does nothing is not inherited: the tests go on ignoring the signals,
    their children do not.

    With workers of pytest-xdist, the process that starts them passes a signal on and waits for their end. It would kill
    them a few seconds after an interruption otherwise, in the middle of removing what they have started.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _ignore)
    if is_worker:
        # Ctrl-C in a terminal reaches the workers too.
        signal.signal(signal.SIGINT, _interrupt_once)
    elif signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, _ignore)
    elif starts_workers:
        signal.signal(signal.SIGINT, _interrupt_workers_first)
    signal.signal(signal.SIGTERM, _interrupt_workers_first if starts_workers else _interrupt_once)


def end_interrupted_worker() -> None:
    """End the program of a worker whose session was interrupted, now that its fixtures have ended."""
    if _interrupted:
        os._exit(2)


def _interrupt_once(number: int, _frame: object) -> None:
    global _interrupted  # noqa: PLW0603
    _interrupted = True
    # A second signal must not stop the removal of what the tests have started.
    signal.signal(number, _ignore)
    if number == signal.SIGTERM and signal.getsignal(signal.SIGINT) is _interrupt_once:
        signal.signal(signal.SIGINT, _ignore)
    elif number == signal.SIGINT:
        signal.signal(signal.SIGTERM, _ignore)
    raise KeyboardInterrupt(signal.Signals(number).name)


def _interrupt_workers_first(number: int, _frame: object) -> None:
    signal.signal(signal.SIGTERM, _ignore)
    signal.signal(signal.SIGINT, _ignore)
    workers = psutil.Process().children()
    for worker in workers:
        worker.terminate()
    psutil.wait_procs(workers)
    raise KeyboardInterrupt(signal.Signals(number).name)


def _ignore(_number: int, _frame: object) -> None:
    """Do nothing."""

"""How the tests themselves take SIGTERM and an ignored SIGINT."""

from __future__ import annotations

import signal


def take_signals_as_tests_need_them() -> None:
    """Make SIGTERM run the end of all fixtures, and give child programs the usual SIGINT.

    pytest ends at once on SIGTERM by default; a Compose project of the tests would stay behind. A shell starts background
    jobs with SIGINT ignored, and every child inherits that, so a test could not interrupt a program. A handler that does
    nothing is not inherited: the tests go on ignoring SIGINT, their children do not.
    """
    signal.signal(signal.SIGTERM, _interrupt_once)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, _ignore)


def _interrupt_once(number: int, _frame: object) -> None:
    # A second signal must not stop the removal of what the tests have started.
    signal.signal(number, _ignore)
    raise KeyboardInterrupt("SIGTERM")


def _ignore(_number: int, _frame: object) -> None:
    """Do nothing."""

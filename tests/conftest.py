"""Rules for all tests: the same examples every time, no settings from outside, and an end that runs all fixtures."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from coordinator.settings import ENVIRONMENT_PREFIX
from tests.signals import end_interrupted_worker, take_signals_as_tests_need_them

settings.register_profile(
    "exmachina",
    # Failures must be the same on every machine, and a busy machine must not cause one.
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=50,
    phases=(Phase.explicit, Phase.generate, Phase.target, Phase.shrink),
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.function_scoped_fixture),
)
settings.load_profile("exmachina")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Before the first test."""
    is_worker = hasattr(session.config, "workerinput")
    starts_workers = bool(getattr(session.config.option, "numprocesses", None)) and not is_worker
    take_signals_as_tests_need_them(starts_workers=starts_workers, is_worker=is_worker)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """After the end of all fixtures."""
    yield
    if hasattr(session.config, "workerinput"):
        end_interrupted_worker()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Give all tests of a file to one worker, and all tests of some folders: they share programs, a browser, or containers.

    The mark `xdist_group` has no effect: pytest-xdist 3.8 changes the id of a test, which pytest 9.2 does not read.
    """
    from tests.scheduling import FilesOfAWorker

    return FilesOfAWorker(config, log)


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove all settings of the project from the environment."""
    for name in list(os.environ):
        if name.startswith(ENVIRONMENT_PREFIX) and name != "EXMACHINA_CONTAINER_TESTS":
            monkeypatch.delenv(name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show how long the tests of each folder took in all."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds["/".join(report.nodeid.split("/")[:2])] += report.duration
    terminalreporter.section("seconds by folder")
    for folder, sum_of_tests in sorted(seconds.items(), key=lambda item: -item[1]):
        terminalreporter.write_line(f"{sum_of_tests:7.1f} s  {folder}")

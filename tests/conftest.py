"""Rules for all tests: the same examples every time, no settings from outside, and an end that runs all fixtures."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings

from coordinator.settings import ENVIRONMENT_PREFIX
from tests.signals import end_interrupted_worker, take_signals_as_tests_need_them

settings.register_profile(
    "exmachina",
    # A failure must be the same for everybody, and a busy machine is no failure.
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run all tests with containers in one worker, one after the other: they share images and networks."""
    for item in items:
        if item.get_closest_marker("containers"):
            item.add_marker(pytest.mark.xdist_group("containers"))


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

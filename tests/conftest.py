"""Rules for all tests: the same examples every time, no settings from outside, and an end that runs all fixtures."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings

from coordinator.settings import ENVIRONMENT_PREFIX
from tests.signals import take_signals_as_tests_need_them

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


def pytest_sessionstart() -> None:
    """Before the first test."""
    take_signals_as_tests_need_them()


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove all settings of the project from the environment."""
    for name in list(os.environ):
        if name.startswith(ENVIRONMENT_PREFIX) and name != "EXMACHINA_CONTAINER_TESTS":
            monkeypatch.delenv(name)

"""What holds for all tests: the same examples every time, and no settings from outside."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings

from coordinator.settings import ENVIRONMENT_PREFIX

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


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever runs the tests changes none of them."""
    for name in list(os.environ):
        if name.startswith(ENVIRONMENT_PREFIX) and name != "EXMACHINA_CONTAINER_TESTS":
            monkeypatch.delenv(name)

"""compose.yaml and .env.example against the settings that the coordinator knows."""

from __future__ import annotations

import re
from pathlib import Path

from coordinator.settings import LearnSettings, variable_of

CHECKOUT = Path(__file__).resolve().parents[3]
SETTINGS = {variable_of(name) for name in LearnSettings.model_fields}
OF_THE_CONTAINERS = {
    "EXMACHINA_CONFIG",
    "EXMACHINA_CONFIG_FOLDER",
    "EXMACHINA_MAX_MESSAGE",
    "EXMACHINA_PORT",
    "EXMACHINA_PORT_EVENTS",
    "EXMACHINA_PORT_PAGE",
}


def test_compose_hands_on_every_setting() -> None:
    """Every setting of the coordinator can be given to `docker compose up`, and no other is handed on."""
    compose = (CHECKOUT / "compose.yaml").read_text(encoding="utf-8")
    handed_on = set(re.findall(r"^ +(EXMACHINA_[A-Z_]+):$", compose, re.MULTILINE))
    assert handed_on == SETTINGS | {"EXMACHINA_CONFIG"}


def test_the_example_shows_every_setting() -> None:
    """`.env.example` names every setting, and nothing that has no effect."""
    example = (CHECKOUT / ".env.example").read_text(encoding="utf-8")
    shown = set(re.findall(r"^#(EXMACHINA_[A-Z_]+)=", example, re.MULTILINE))
    assert shown == SETTINGS | OF_THE_CONTAINERS


def test_example_of_settings_unchanged_has_no_effect() -> None:
    """Copied to `.env` without a change, the example sets nothing."""
    lines = (CHECKOUT / ".env.example").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []

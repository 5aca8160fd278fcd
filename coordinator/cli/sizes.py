"""Lists of whole numbers on the command lines of `bench` and `plan`."""

from __future__ import annotations

from collections.abc import Sequence

from coordinator.errors import UserError
from coordinator.settings import MOST_LAYERS, MOST_NEURONS
from neuron_node.frames import MAX_PARTS

LARGEST_BATCH = 65_536


def layers_of(text: str) -> tuple[int, ...]:
    """Parse `64,12,10` or `64-12-10`. Raises `UserError`."""
    sizes = tuple(_whole("--layers", part, MOST_NEURONS) for part in text.replace("-", ",").split(","))
    if not 2 <= len(sizes) <= MOST_LAYERS:
        raise UserError(f"--layers needs 2 to {MOST_LAYERS} sizes, such as 64,12,10, not {text[:60]!r}")
    return sizes


def batch_sizes_of(option: str, text: str) -> list[int]:
    """Parse `1,64`. Raises `UserError`."""
    return [_whole(option, part, LARGEST_BATCH) for part in text.split(",")]


def parts_of(option: str, text: str) -> list[int]:
    """Parse `1,4`. Raises `UserError`."""
    return [_whole(option, part, MAX_PARTS) for part in text.split(",")]


def nodes_of(option: str, text: str) -> list[int | None]:
    """Parse `group,2`; the word `group` means one program per group. Raises `UserError`."""
    return [
        None if part.strip() == "group" else _whole(option, part, MOST_NEURONS, " or group") for part in text.split(",")
    ]


def group_sizes_of(option: str, text: str, words: Sequence[str] = ("layer",)) -> list[int | str]:
    """Parse `1,4,layer`; the words that are allowed stand for sizes. Raises `UserError`."""
    besides = f" or {words[0]}" if len(words) == 1 else f", {' or '.join(words)}"
    return [
        part.strip() if part.strip() in words else _whole(option, part, MOST_NEURONS, besides)
        for part in text.split(",")
    ]


def _whole(option: str, text: str, highest: int, besides: str = "") -> int:
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 9 and 1 <= int(digits) <= highest):
        raise UserError(f"{option}: {text[:60]!r} is not a whole number from 1 to {highest:,}{besides}")
    return int(digits)

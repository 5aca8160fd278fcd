"""Lists of whole numbers on a command line, as `bench` and `plan` take them."""

from __future__ import annotations

from collections.abc import Sequence

from coordinator.errors import UserError
from coordinator.settings import MOST_LAYERS, MOST_NEURONS
from neuron_node.frames import MAX_PARTS

LARGEST_BATCH = 65_536


def layers_of(text: str) -> tuple[int, ...]:
    """`64,12,10` or `64-12-10`. Raises `UserError`."""
    sizes = tuple(_whole("--layers", part, MOST_NEURONS) for part in text.replace("-", ",").split(","))
    if not 2 <= len(sizes) <= MOST_LAYERS:
        raise UserError(f"--layers needs 2 to {MOST_LAYERS} sizes, as 64,12,10, not {text[:60]!r}")
    return sizes


def batch_sizes_of(option: str, text: str) -> list[int]:
    """`1,64`. Raises `UserError`."""
    return [_whole(option, part, LARGEST_BATCH) for part in text.split(",")]


def parts_of(option: str, text: str) -> list[int]:
    """`1,4`. Raises `UserError`."""
    return [_whole(option, part, MAX_PARTS) for part in text.split(",")]


def nodes_of(option: str, text: str) -> list[int | None]:
    """`group,2`, where the word stands for one program a group. Raises `UserError`."""
    return [
        None if part.strip() == "group" else _whole(option, part, MOST_NEURONS, " or group") for part in text.split(",")
    ]


def group_sizes_of(option: str, text: str, words: Sequence[str] = ("layer",)) -> list[int | str]:
    """`1,4,layer`, where some words stand for sizes. Raises `UserError`."""
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

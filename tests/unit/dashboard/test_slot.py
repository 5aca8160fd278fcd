"""The slot of a browser: it gets the latest values, and a browser that does not read costs no more than one set of them."""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from coordinator.dashboard.slot import Slot, frame_of

VALUES = st.dictionaries(
    st.sampled_from("abcde"),
    st.one_of(st.integers(-9, 9), st.text(max_size=5), st.binary(max_size=9), st.none()),
    max_size=5,
)


def read(frame: bytes) -> dict[str, Any]:
    """Read a frame as a browser does."""
    (length,) = struct.unpack_from("<I", frame)
    header = json.loads(frame[4 : 4 + length])
    assert (4 + length) % 4 == 0
    at, found = 4 + length, dict(header["values"])
    for name, size in header["bytes"]:
        found[name] = frame[at : at + size]
        at += size
    assert at == len(frame)
    return found


@given(VALUES)
def test_a_frame_has_all_values(values: dict[str, Any]) -> None:
    """Plain ones and bytes, in any mixture; the bytes begin where a browser can use them in place."""
    assert read(frame_of(values)) == values


@given(st.lists(VALUES, max_size=8))
def test_a_browser_gets_the_latest_value_of_each_name(puts: list[dict[str, Any]]) -> None:
    """However many were put before it reads, it gets one set, and then waits."""

    async def taken() -> dict[str, Any]:
        slot = Slot()
        for values in puts:
            slot.put(values)
        first = await slot.take()
        waiting = asyncio.ensure_future(slot.take())
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
        return first

    expected = {name: value for values in puts for name, value in values.items()}
    if expected:
        assert asyncio.run(taken()) == expected


def test_a_value_wakes_a_browser_that_waits() -> None:
    """The values that were put together arrive together."""

    async def taken() -> dict[str, Any]:
        slot = Slot()
        waiting = asyncio.ensure_future(slot.take())
        await asyncio.sleep(0)
        slot.put({"a": 1, "b": b"2"})
        return await waiting

    assert asyncio.run(taken()) == {"a": 1, "b": b"2"}

"""What a browser has not received yet: the latest value of each name, and nothing older."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Mapping
from typing import Any

LENGTH = struct.Struct("<I")


class Slot:
    """The values that wait for one browser. A newer value takes the place of an older one with its name.

    So a browser that does not read costs as much memory as one set of values, and sees the latest when it reads again.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, Any] = {}
        self._filled = asyncio.Event()

    def put(self, values: Mapping[str, Any]) -> None:
        """Add values; those of type bytes are sent as they are, all others as JSON."""
        self._waiting |= values
        if self._waiting:
            self._filled.set()

    async def take(self) -> dict[str, Any]:
        """Wait until there are values, and return and forget them."""
        await self._filled.wait()
        taken, self._waiting = self._waiting, {}
        self._filled.clear()
        return taken


def frame_of(values: Mapping[str, Any]) -> bytes:
    """Return the binary frame for values: the length of a header, the header in JSON, and the bytes.

    The header has `values`, the plain ones, and `bytes`, the name and length of each of the others.
    """
    blobs = {name: value for name, value in values.items() if isinstance(value, bytes)}
    plain = {name: value for name, value in values.items() if name not in blobs}
    lengths = [[name, len(value)] for name, value in blobs.items()]
    header = json.dumps({"values": plain, "bytes": lengths}, allow_nan=False, separators=(",", ":")).encode()
    # Numbers must begin at a multiple of 4, so that a browser can use them in place.
    header += b" " * (-(LENGTH.size + len(header)) % 4)
    return b"".join((LENGTH.pack(len(header)), header, *blobs.values()))

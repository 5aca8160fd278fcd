"""Small pictures of rows of inputs, as PNG files in data addresses."""

from __future__ import annotations

import base64
import functools
import struct
import zlib
from collections.abc import Sequence

import numpy as np

from coordinator.data.table import Floats

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY_8_BIT = (8, 0, 0, 0, 0)
"""Bits per pixel, grey, and the only methods of compression, filter and interlacing."""
KEPT = 2_048
"""The pictures that are kept: the same samples come again in each epoch."""


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(shares: Floats) -> bytes:
    """Return the picture of shares of white (rows, columns), 0 to 1."""
    rows, columns = shares.shape
    return _png_of(np.rint(255 * np.clip(shares, 0.0, 1.0)).astype(np.uint8).tobytes(), rows, columns)


@functools.lru_cache(KEPT)
def _png_of(grey: bytes, rows: int, columns: int) -> bytes:
    # Each line begins with the number of its filter; 0 is none.
    lines = b"".join(b"\0" + grey[begin : begin + columns] for begin in range(0, rows * columns, columns))
    header = struct.pack(">IIBBBBB", columns, rows, *GREY_8_BIT)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(lines)) + _chunk(b"IEND", b"")


def address_of(row: Sequence[float], shape: Sequence[int], scale: Floats, offset: Floats, span: Sequence[float]) -> str:
    """Return the data address of a row of inputs as dark ink on white, as the encoding scaled them."""
    low, high = span
    ink = (np.asarray(row) * scale + offset - low) / ((high - low) or 1.0)
    return "data:image/png;base64," + base64.b64encode(png_of(1.0 - ink.reshape(*shape))).decode()

"""Small pictures of rows of inputs, as PNG files in data addresses."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np

from coordinator.data.table import Floats

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY_8_BIT = (8, 0, 0, 0, 0)
"""Bits per pixel, grey, and the only methods of compression, filter and interlacing."""


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(shares: Floats) -> bytes:
    """Return the picture of shares of white (rows, columns), 0 to 1."""
    rows, columns = shares.shape
    grey = np.rint(255 * np.clip(shares, 0.0, 1.0)).astype(np.uint8)
    # Each line begins with the number of its filter; 0 is none.
    lines = np.concatenate([np.zeros((rows, 1), np.uint8), grey], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", columns, rows, *GREY_8_BIT)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(lines)) + _chunk(b"IEND", b"")


def address_of(row: Sequence[float], shape: Sequence[int], scale: Floats, offset: Floats, span: Sequence[float]) -> str:
    """Return the data address of a row of inputs as dark ink on white, as the encoding scaled them."""
    low, high = span
    ink = (np.asarray(row) * scale + offset - low) / ((high - low) or 1.0)
    return "data:image/png;base64," + base64.b64encode(png_of(1.0 - ink.reshape(*shape))).decode()

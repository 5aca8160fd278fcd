"""The small pictures of samples are PNG files that any reader reads."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from coordinator.dashboard.pictures import address_of, png_of


def test_a_png_has_the_greys_of_its_shares() -> None:
    """Read by Pillow; shares beyond 0 and 1 are black and white."""
    shares = np.array([[0.0, 0.5, 1.0], [-3.0, 0.2, 7.0]])
    image = Image.open(io.BytesIO(png_of(shares)))
    assert image.size == (3, 2) and image.mode == "L"
    assert np.asarray(image).tolist() == [[0, 128, 255], [0, 51, 255]]


def test_a_row_is_dark_ink_on_white_as_it_was_before_it_was_scaled() -> None:
    """The encoding divides by the scale and subtracts the offset."""
    address = address_of([0.0, 1.0, 0.5, 0.25], (2, 2), np.full(4, 16.0), np.zeros(4), (0.0, 16.0))
    head, content = address.split(",")
    assert head == "data:image/png;base64"
    image = Image.open(io.BytesIO(base64.b64decode(content)))
    assert np.asarray(image).tolist() == [[255, 0], [128, 191]]

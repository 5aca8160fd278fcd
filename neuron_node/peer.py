"""Whom a program hears in direct wiring."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from neuron_node.schema import Blob, Text

LONGEST_ENDPOINT = 512

Endpoint = Annotated[str, Text(LONGEST_ENDPOINT)]


class Peer(NamedTuple):
    """A program whose data are heard where it sends them: its incarnation, and where that is."""

    incarnation: Annotated[bytes, Blob(8)]
    endpoint: Endpoint

"""The peer of a program in direct wiring."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from neuron_node.schema import Blob, Text

LONGEST_ENDPOINT = 512

Endpoint = Annotated[str, Text(LONGEST_ENDPOINT)]


class Peer(NamedTuple):
    """A program that sends data frames directly: its incarnation, and the endpoint of its outlet."""

    incarnation: Annotated[bytes, Blob(8)]
    endpoint: Endpoint

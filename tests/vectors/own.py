"""This project's own encoder as a command for `python -m tests.vectors`: an example of the contract."""

from __future__ import annotations

import json
import sys
from typing import Any

from neuron_node.activations import quiet
from neuron_node.addresses import ADDRESS_LENGTH
from neuron_node.errors import PeerError
from neuron_node.frames import parse, split
from tests.vectors import data_of, fields_of_data


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """What one line is answered with."""
    match question["do"]:
        case "encode":
            return {"frame": data_of(question["fields"]).encode().hex()}
        case "split":
            message = bytes.fromhex(question["message"])
            return {"address": message[:ADDRESS_LENGTH].hex(), "frames": [frame.hex() for frame in split(message)]}
    try:
        return {"fields": fields_of_data(parse(bytes.fromhex(question["frame"])))}
    except PeerError as fault:
        return {"reason": fault.reason}


if __name__ == "__main__":
    with quiet():
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line))))

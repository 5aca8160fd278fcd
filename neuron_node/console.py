"""The parts that the console scripts `neuron-node`, `neuron-broker` and `coordinator serve` share."""

from __future__ import annotations

import logging
import os
import sys

from neuron_node.limits import MESSAGE_BYTES, checked_message_bytes

LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"
MESSAGE_VARIABLE = "EXMACHINA_MAX_MESSAGE"


def log_to_stderr(level: int) -> None:
    """Print the log of this program to standard error, from this level on."""
    logging.basicConfig(level=level, format=LOG_FORMAT, stream=sys.stderr)


def stated_message_bytes(option: str | None) -> int:
    """Return the size of the largest message: from the option `--max-message`, its variable, or the default.

    Raises:
        UserError: it is no size, or out of bounds.
    """
    if option is not None:
        return checked_message_bytes("--max-message", option)
    return checked_message_bytes(MESSAGE_VARIABLE, os.environ.get(MESSAGE_VARIABLE) or str(MESSAGE_BYTES))

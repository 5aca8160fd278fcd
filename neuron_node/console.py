"""The parts that the console scripts `neuron-node`, `neuron-broker` and `coordinator serve` share."""

from __future__ import annotations

import argparse
import logging
import os
import sys

from neuron_node.keys import VARIABLE as KEYS_VARIABLE
from neuron_node.limits import MESSAGE_BYTES, checked_message_bytes

LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"
MESSAGE_VARIABLE = "EXMACHINA_MAX_MESSAGE"


def log_to_stderr(level: int) -> None:
    """Print the log of this program to standard error, from this level on."""
    logging.basicConfig(level=level, format=LOG_FORMAT, stream=sys.stderr)


def add_key_options(parser: argparse.ArgumentParser, *, key: bool = False) -> None:
    """Add the options for connections over TCP: --keys, --insecure, and with `key` also --key."""
    parser.add_argument(
        "--keys", metavar="FOLDER", help=f"folder with the keys of this program, for TCP (default ${KEYS_VARIABLE})"
    )
    if key:
        parser.add_argument(
            "--key", default="", metavar="NAME", help="name of the key of this program, if the folder has several"
        )
    parser.add_argument(
        "--insecure", action="store_true", help="use TCP without keys and encryption, on this machine only"
    )


def stated_message_bytes(option: str | None) -> int:
    """Return the size of the largest message: from the option `--max-message`, its variable, or the default.

    Raises:
        UserError: it is no size, or out of bounds.
    """
    if option is not None:
        return checked_message_bytes("--max-message", option)
    return checked_message_bytes(MESSAGE_VARIABLE, os.environ.get(MESSAGE_VARIABLE) or str(MESSAGE_BYTES))

"""A broker in a thread of a test, for links that need one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from neuron_node.transport import PUB, PULL, Endpoints, bound_socket, new_context, relay


class ThreadBroker:
    """Relays messages until its context ends, in a folder whose path is short enough for a socket."""

    def __init__(self, folder: Path, pass_on: Callable[[Any, Any], None] = relay) -> None:
        """Start the thread. `pass_on` forwards messages between the two sockets."""
        self.folder = folder
        self.endpoints = Endpoints(f"ipc://{folder}/in", f"ipc://{folder}/out")
        self._context = new_context()
        ends = (
            bound_socket(self._context, PULL, self.endpoints.inward),
            bound_socket(self._context, PUB, self.endpoints.outward),
        )
        threading.Thread(target=pass_on, args=ends).start()

    def end(self) -> None:
        """End the context, which closes both sockets."""
        self._context.term()

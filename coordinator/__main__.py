"""The entry point of `coordinator` and `python -m coordinator`; it reports a missing extra in one line."""

from __future__ import annotations

import resource
import sys
from importlib.util import find_spec

# The import names of the extra `coordinator` in pyproject.toml.
EXTRA = ("click", "pydantic", "rich", "safetensors", "sklearn")
MEGABYTE = 1024 * 1024
LEAST_MEGABYTES = 512
"""The address space that importing the libraries takes. With less, the import ends in a traceback, or never."""


def main() -> int:
    """Run the command line and return its exit code; without the extra or too little memory, say what to do and return 2."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < LEAST_MEGABYTES * MEGABYTE:
        print(
            f"coordinator: one process may use {limit // MEGABYTE} MB of memory, but {LEAST_MEGABYTES} MB are needed; "
            f"raise the limit (ulimit -v {LEAST_MEGABYTES * 1024})",
            file=sys.stderr,
        )
        return 2
    if any(find_spec(name) is None for name in EXTRA):
        print("coordinator needs its extra: pip install 'exmachina[coordinator]'", file=sys.stderr)
        return 2
    # The command line imports the extra, so import it only after the check.
    from coordinator.cli.main import run  # noqa: PLC0415

    return run()


if __name__ == "__main__":
    sys.exit(main())

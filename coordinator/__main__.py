"""The entry point of `coordinator` and `python -m coordinator`; it reports a missing extra in one line."""

from __future__ import annotations

import sys
from importlib.util import find_spec

# The import names of the extra `coordinator` in pyproject.toml.
EXTRA = ("click", "pydantic", "rich", "safetensors", "sklearn")


def main() -> int:
    """Run the command line and return its exit code; without the extra, say how to install it and return 2."""
    if any(find_spec(name) is None for name in EXTRA):
        print("coordinator needs its extra: pip install 'exmachina[coordinator]'", file=sys.stderr)
        return 2
    # The command line imports the extra, so import it only after the check.
    from coordinator.cli.main import run  # noqa: PLC0415

    return run()


if __name__ == "__main__":
    sys.exit(main())

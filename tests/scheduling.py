"""Which tests one worker runs, one after the other."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

TOGETHER = ("tests/containers/", "tests/pages/", "tests/unit/page/")
"""Folders whose files share images and networks, a page, or a browser."""


class FilesOfAWorker(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a file, or a folder of those above, to one worker."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


def scope_of(nodeid: str) -> str:
    """Return the name of the tests that belong together: a file, or one of the folders."""
    file = nodeid.partition("::")[0]
    return next((folder for folder in TOGETHER if file.startswith(folder)), file)

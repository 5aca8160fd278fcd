"""Hooks of MkDocs: pages link to files outside docs/, so show these files as pages of the site too."""

from __future__ import annotations

import os.path
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

CHECKOUT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(?<=\]\()(?P<path>\.\./[^)#\s]+)(?P<part>#[^)\s]+)?(?=\))")
MARKED_FENCE = re.compile(r"^```console [\w -]+$", re.MULTILINE)
"""The marks are for tests/docs/console.py. With them, MkDocs takes the end of the block for its beginning."""
FENCES = {".py": "python", ".env": "shell", ".yaml": "yaml", ".example": "shell"}


def on_files(files: Files, config: Any) -> Files:
    """Add a page for every file and folder outside docs/ that a page links to."""
    for page in list(files.documentation_pages()):
        for match in LINK.finditer(page.content_string):
            if (target := outside(page.src_uri, match["path"])) and shown_at(target) not in files.src_uris:
                files.append(File.generated(config, shown_at(target), content=shown(target)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links that leave docs/ to the page that shows their file, and remove the marks of terminal sessions."""

    def pointed(match: re.Match[str]) -> str:
        target = outside(page.file.src_uri, match["path"])
        if target is None:
            return match[0]
        return os.path.relpath(shown_at(target), PurePosixPath(page.file.src_uri).parent) + (match["part"] or "")

    if page.file.src_uri.startswith("source/"):
        return markdown
    return LINK.sub(pointed, MARKED_FENCE.sub("```console", markdown))


def outside(page: str, link: str) -> str | None:
    """Return the path of a link's file in the repository, or None if the file is inside docs/."""
    target = PurePosixPath(os.path.normpath(PurePosixPath("docs", page).parent / link))
    return None if target.parts[0] == "docs" else str(target)


def shown_at(target: str) -> str:
    """Return the page that shows a file or folder of the repository. MkDocs leaves out names that begin with a dot."""
    return f"source/{target.replace('/.', '/').lstrip('.')}.md"


def shown(target: str) -> str:
    """Return the page's text: the file in a fence, or the names in the folder."""
    path = CHECKOUT / target
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith(("_", ".")))
        return f"# {target}\n\n" + "".join(f"- `{name}`\n" for name in names)
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    fence = FENCES.get(path.suffix, "text")
    return f"# {target}\n\n````{fence}\n{path.read_text(encoding='utf-8')}\n````\n"

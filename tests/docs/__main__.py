"""Write all tables that are made from the code into the documents: `python -m tests.docs`."""

from __future__ import annotations

from tests.docs import reference, tables

tables.write()
reference.write()

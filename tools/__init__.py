"""Programs for the maintainers of the project: release and documentation site."""

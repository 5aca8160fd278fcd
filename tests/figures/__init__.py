"""Measurements on real processes. They take long and want an idle machine, so they are no tests: `make figures`."""

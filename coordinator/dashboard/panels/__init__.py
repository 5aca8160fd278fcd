"""The parts of the page: each builds its elements once, and then changes only what is new."""

"""Is the network of programs the network of the textbook? Every number of every step, compared."""

"""How fast a network of programs is, beside the bare wire and beside matrices: `coordinator bench`."""

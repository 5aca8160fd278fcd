"""A whole network on this machine: a supervisor with broker, coordinator and one process per node."""

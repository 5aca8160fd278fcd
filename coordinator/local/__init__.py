"""A whole network on this machine: one supervisor, and under it the broker, the coordinator and a process for each group."""

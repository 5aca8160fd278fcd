"""The command line of the coordinator."""

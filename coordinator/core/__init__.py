"""The coordinator as a state machine: events in, actions out. It knows no socket, clock, file, process or random source."""

"""One neuron program: arithmetic, messages, state machine and ZeroMQ shell. Depends on pyzmq, msgpack and numpy only."""

__version__ = "0.1.0"

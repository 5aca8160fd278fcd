"""The real thing: images, Compose, a container a neuron."""

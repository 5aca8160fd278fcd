"""Files in a run folder, and models: written whole, and checked when they are read."""

__all__ = ["model_file"]

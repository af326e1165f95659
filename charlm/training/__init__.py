"""The training loop and everything that belongs to it."""

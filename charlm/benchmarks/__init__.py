"""Benchmarks of speed and memory: our networks and the classic torch.nn loop take turns."""

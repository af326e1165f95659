"""Everything the command line does, as functions: train, open, evaluate, generate, and run sweeps."""

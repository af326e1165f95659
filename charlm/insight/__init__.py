"""Look inside a network: gradients by lag, memory used, gates and neurons."""

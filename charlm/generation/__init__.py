"""Writing: from logits to characters."""

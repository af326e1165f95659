"""Generate text: from logits to characters."""

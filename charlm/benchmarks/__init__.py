"""How fast and how large our networks are, against the classic torch.nn loop, in turn."""

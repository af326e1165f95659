"""The coder: a text in as few bits as a model needs to predict it, and back."""

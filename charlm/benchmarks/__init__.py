"""How fast whole training steps are, against the classic loop."""

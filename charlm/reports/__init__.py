"""Many runs at once: what they came to, side by side."""

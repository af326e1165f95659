"""What a trained network does inside: gates, memory, and units that follow a feature of the text."""

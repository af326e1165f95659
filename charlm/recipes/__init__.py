"""What to train for a text, a time and a machine: settings chosen by formulas, with the evidence beside them."""

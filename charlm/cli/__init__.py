"""The command line: one short file for each command; errors become one clean sentence and an exit code."""

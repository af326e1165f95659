"""The command line: one short file for each command; errors become one clear sentence and an exit code."""

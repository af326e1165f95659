"""A trained network as one HTML page, which opens from disk and makes no requests: its parts, and how they are joined.

The scripts are in `script`, one small module for each purpose; `bundling` joins them.
"""

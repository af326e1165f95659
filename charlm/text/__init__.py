"""Turn a corpus into ids and windows."""

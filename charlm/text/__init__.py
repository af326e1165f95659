"""From a corpus to ids and windows."""

"""What the command line does, as functions: train, open, evaluate, generate."""

from charlm.library.measuring import assess, evaluate, score_gaps
from charlm.library.models import Model, open_run
from charlm.library.writing import generate
from charlm.settings.layers import load_settings
from charlm.training.launch import train, train_reports

__all__ = [
    "Model",
    "assess",
    "evaluate",
    "generate",
    "load_settings",
    "open_run",
    "score_gaps",
    "train",
    "train_reports",
]

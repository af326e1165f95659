"""What the command line does, as functions: train, open, evaluate, generate, many runs."""

from charlm.library.adapting import evaluate_dynamically
from charlm.library.copying import novelty
from charlm.library.measuring import assess, evaluate, score_gaps
from charlm.library.models import Model, open_run
from charlm.library.scoring import score, score_lines
from charlm.library.writing import generate
from charlm.reports.comparison import compare
from charlm.reports.plotting import plot_curves
from charlm.settings.loading import load_settings
from charlm.sweeps.sweeping import sweep, sweep_reports
from charlm.training.launch import train, train_reports

__all__ = [
    "Model",
    "assess",
    "compare",
    "evaluate",
    "evaluate_dynamically",
    "generate",
    "load_settings",
    "novelty",
    "open_run",
    "plot_curves",
    "score",
    "score_gaps",
    "score_lines",
    "sweep",
    "sweep_reports",
    "train",
    "train_reports",
]

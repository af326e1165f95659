"""Everything the command line does, as functions: train, open, evaluate, generate, and run sweeps."""

# Imported here for `charlm`, whose __all__ lists the public names.
# ruff: noqa: F401
# pyright: reportUnusedImport=false
from charlm.library.adapting import evaluate_dynamically
from charlm.library.copying import novelty
from charlm.library.items import new_items
from charlm.library.measuring import assess, evaluate, score_gaps
from charlm.library.models import Model, open_run
from charlm.library.scoring import next_characters, score, score_lines
from charlm.library.training import sweep, train
from charlm.library.writing import generate, stream
from charlm.reports.comparison import compare
from charlm.reports.plotting import plot_curves
from charlm.settings.loading import load_settings
from charlm.sweeps.sweeping import sweep_reports
from charlm.training.launch import train_reports

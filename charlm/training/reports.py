"""The former name of events.py: scripts import a run's events from here."""

from charlm.training.events import Divergence, End, Evaluation, Samples, Start, Step, Unsaved

__all__ = ["Divergence", "End", "Evaluation", "Samples", "Start", "Step", "Unsaved"]

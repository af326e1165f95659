"""Identify the model that a measurement belongs to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Subject:
    """A run's model, as it is named next to its results.

    Args:
        run: the run's name.
        step: the checkpoint's step; None for an ensemble.
        warning: the sentence that must accompany every result of a leaky model; None for other models.
    """

    run: str
    step: int | None
    warning: str | None = None

    @property
    def heading(self) -> str:
        """How it is named above its results."""
        return f"run {self.run}" if self.step is None else f"run {self.run}, step {self.step:,}"

    def as_record(self) -> dict[str, object]:
        """Return the run and the step as JSON values."""
        return {"run": self.run, "step": self.step}

    def warning_record(self) -> dict[str, object]:
        """Return the warning as a JSON value, or an empty mapping if there is none."""
        return {"warning": self.warning} if self.warning else {}

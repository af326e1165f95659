"""Which model a measurement is of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Subject:
    """A run's model, as it is named beside its figures.

    Args:
        run: its name.
        step: of the checkpoint.
        warning: what must stand beside every figure of a leaky model; None for the others.
    """

    run: str
    step: int
    warning: str | None = None

    def as_record(self) -> dict[str, object]:
        """Return the run and the step as JSON values."""
        return {"run": self.run, "step": self.step}

    def warning_record(self) -> dict[str, object]:
        """Return the warning as a JSON value, nothing where there is none."""
        return {"warning": self.warning} if self.warning else {}

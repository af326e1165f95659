"""What the measures of `charlm eval` share: the text that is measured, and the rule that only one is chosen.

A measure is a dataclass of command-line options, each None where it was not given. The first option selects the
measure; the others belong to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Protocol, TypedDict

from charlm.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from charlm.evaluation.assessment import Assessment
    from charlm.library.models import Model
    from charlm.settings.corpus import UnknownPolicy

    class Measure(DataclassInstance, Protocol):
        """A measure that `charlm eval` offers in place of the plain perplexity."""

        def check(self) -> None:
            """Refuse values that make no sense, before anything is opened."""

        def show(self, model: Model, request: Request) -> None:
            """Measure a model and print the result."""


class Where(TypedDict):
    """Which text is measured: a split of the run's own corpus, or files where any are given; and how it is read."""

    split: str
    files: Sequence[str]
    unknown: UnknownPolicy | None


@dataclass(frozen=True)
class Request:
    """Which text of a run is measured, and how the result is printed.

    Args:
        where: the text.
        has_baselines: whether n-grams and compressors are measured too.
        as_json: whether one JSON object is printed instead of rows.
    """

    where: Where
    has_baselines: bool
    as_json: bool

    @property
    def text(self) -> str:
        """The name of the text, as printed with its results."""
        return ", ".join(self.where["files"]) or f"the {self.where['split']} split"

    def assess(self, model: Model) -> Assessment:
        """Measure the text, with a progress bar on standard error."""
        from charlm.console.evaluation import evaluation_progress
        from charlm.evaluation.adaptive import has_ppmd
        from charlm.library.measuring import assess

        with evaluation_progress() as report:
            beside = {"baselines": self.has_baselines, "adaptive": self.has_baselines and has_ppmd()}
            return assess(model, **self.where, **beside, report=report)

    def adaptive_record(self, measured: Assessment) -> dict[str, object]:
        """Return the key of the adaptive baseline, which is null where it was not measured."""
        return {"adaptive": measured.adaptive and measured.adaptive.as_record()}

    def heading(self, model: Model) -> dict[str, object]:
        """Return the keys that every JSON object begins with."""
        # Scripts know a split by this name.
        text = self.text if self.where["files"] else f"the {self.where['split']} part"
        return {**model.subject.as_record(), "text": text}


def choose_measure(*measures: Measure) -> Measure | None:
    """Return the selected measure after checking it, or None where none was selected.

    Raises:
        ConfigError: for two measures at once, for options of a measure that was not selected, and for values that make
            no sense.
    """
    flags = {f"--{fields(measure)[0].name}": measure for measure in measures}
    chosen = [flag for flag, measure in flags.items() if getattr(measure, flag[2:]) not in (None, False)]
    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(chosen)} are different measures: choose one at a time")
    for flag, measure in flags.items():
        given = [field.name for field in fields(measure)[1:] if getattr(measure, field.name) is not None]
        if given and flag not in chosen:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise ConfigError(f"{names} {'belongs' if len(given) == 1 else 'belong'} to {flag}")
    if not chosen:
        return None
    measure = flags[chosen[0]]
    measure.check()
    return measure

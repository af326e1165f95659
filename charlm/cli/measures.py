"""What the measures of `charlm eval` have in common: the text they are of, and that one is asked for at a time.

A measure is a dataclass of command-line options, None where one was not given: the first asks for the measure, the
others belong to it.
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
        """What can be asked for instead of the plain figure."""

        def check(self) -> None:
            """Refuse values that have no sense, before anything is opened."""

        def show(self, model: Model, request: Request) -> None:
            """Measure a model and print what was found."""


class Where(TypedDict):
    """Which text is measured: a part of the run's own corpus, or files if there are any; and how these are read."""

    split: str
    files: Sequence[str]
    unknown: UnknownPolicy | None


@dataclass(frozen=True)
class Request:
    """Which text of a run is measured, and how the result is printed.

    Args:
        where: the text.
        has_baselines: whether n-grams and compressors are measured beside the model.
        as_json: whether one JSON object is printed instead of rows.
    """

    where: Where
    has_baselines: bool
    as_json: bool

    @property
    def text(self) -> str:
        """What the text is called beside its figures."""
        return ", ".join(self.where["files"]) or f"the {self.where['split']} part"

    def assess(self, model: Model) -> Assessment:
        """Measure the text, with a bar on standard error."""
        from charlm.console.evaluation import evaluation_progress
        from charlm.library import assess

        with evaluation_progress() as report:
            return assess(model, **self.where, baselines=self.has_baselines, report=report)

    def heading(self, model: Model) -> dict[str, object]:
        """Return what every JSON object begins with."""
        return {**model.subject.as_record(), "text": self.text}


def choose_measure(*measures: Measure) -> Measure | None:
    """Return the one that was asked for, checked, or None.

    Raises:
        ConfigError: for two measures at once, for options of one that was not asked for, and for values of no sense.
    """
    flags = {f"--{fields(measure)[0].name}": measure for measure in measures}
    chosen = [flag for flag, measure in flags.items() if getattr(measure, flag[2:]) not in (None, False)]
    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(chosen)} are different measures: ask for one at a time")
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

"""`charlm eval --dynamic`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.measures import Request
from charlm.errors import UnknownCharactersWarning

if TYPE_CHECKING:
    from charlm.library.models import Model

PANEL = "Dynamic evaluation"
MAX_SEGMENT = 1_000_000
DynamicOption = Annotated[
    bool,
    typer.Option(
        "--dynamic",
        help="Also measure the model while it learns from the text it has read.",
        rich_help_panel=PANEL,
    ),
]
RateOption = Annotated[
    float | None,
    typer.Option(
        help="The learning rate of each step.", metavar="X", show_default="tuned on validation", rich_help_panel=PANEL
    ),
]
DecayOption = Annotated[
    float | None,
    typer.Option(
        help="The rate of decay back to the trained weights.",
        metavar="X",
        show_default="tuned on validation",
        rich_help_panel=PANEL,
    ),
]
SegmentOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MAX_SEGMENT,
        help="Characters between two learning steps.",
        metavar="N",
        show_default="20",
        rich_help_panel=PANEL,
    ),
]


@dataclass(frozen=True)
class DynamicEvaluation:
    """Measure a text with the model as it was trained, and with the model as it learns while reading."""

    dynamic: bool
    learning_rate: float | None
    decay: float | None
    segment_chars: int | None

    def check(self) -> None:
        """Check nothing here: the library knows which values are possible."""

    def show(self, model: Model, request: Request) -> None:
        """Measure both results and print them."""
        from charlm.console.evaluation import evaluation_progress, show_dynamic
        from charlm.console.terminal import print_json
        from charlm.evaluation.dynamic import DEFAULT_SEGMENT_CHARS
        from charlm.library.adapting import evaluate_dynamically

        with evaluation_progress("learning") as report:
            learned = evaluate_dynamically(
                model,
                **request.where,
                learning_rate=self.learning_rate,
                decay=self.decay,
                segment_chars=self.segment_chars or DEFAULT_SEGMENT_CHARS,
                report=report,
            )
        with warnings.catch_warnings():
            # The first reading has already warned about unknown characters.
            warnings.simplefilter("ignore", UnknownCharactersWarning)
            measured = request.assess(model)
        main = measured.figures.main
        if request.as_json:
            static = {"nats": main.nats, **measured.as_record(), **measured.unknown.as_record()}
            figures = {"static": static, "dynamic": learned.as_record(), "saving": learned.saving(main)}
            print_json(request.heading(model) | figures | request.adaptive_record(measured))
        else:
            show_dynamic(model.subject, request.text, measured, learned)

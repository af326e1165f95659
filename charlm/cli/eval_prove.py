"""`charlm eval --prove`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.measures import Request
from charlm.errors import UnknownCharactersWarning

if TYPE_CHECKING:
    from charlm.library.models import Model

ProveOption = Annotated[
    bool,
    typer.Option("--prove", help="Also code the text and decode it, as a proof."),
]


@dataclass(frozen=True)
class Proving:
    """Measure a text, and prove the result: code the text with the model, decode it, and count the bytes."""

    prove: bool

    def check(self) -> None:
        """Check nothing here: the library knows which models can code."""

    def show(self, model: Model, request: Request) -> None:
        """Measure and prove the result, and print both."""
        from charlm.console.evaluation import evaluation_progress, show_figures
        from charlm.console.terminal import print_json
        from charlm.library.compressing import prove

        with evaluation_progress("coding") as report:
            proof = prove(model, **request.where, report=report)
        with warnings.catch_warnings():
            # The first reading has already warned about unknown characters.
            warnings.simplefilter("ignore", UnknownCharactersWarning)
            measured = request.assess(model)
        if request.as_json:
            nats = {"nats": measured.figures.main.nats, "proof": proof.as_record()}
            beside = measured.unknown.as_record() | model.subject.warning_record()
            print_json(request.heading(model) | nats | measured.as_record() | beside)
        else:
            show_figures(model.subject, request.text, measured, proved_bytes=proof.num_bytes)

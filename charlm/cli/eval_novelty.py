"""`charlm eval --novelty`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.arguments import MAX_DIGITS, shown
from charlm.cli.measures import Request
from charlm.errors import ConfigError

if TYPE_CHECKING:
    from charlm.library.models import Model

PANEL = "Novelty"
MAX_SAMPLE_LENGTH = 1_000_000
NoveltyOption = Annotated[
    bool,
    typer.Option(
        "--novelty",
        help="Measure how much of a sample is copied from the training split.",
        rich_help_panel=PANEL,
    ),
]
NgramsOption = Annotated[
    str | None,
    typer.Option(
        help="The n-gram lengths to compare.", metavar="N,...", show_default="4,8,...,50", rich_help_panel=PANEL
    ),
]
LengthOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MAX_SAMPLE_LENGTH,
        help="The length of the sample, in characters.",
        metavar="N",
        show_default="10000",
        rich_help_panel=PANEL,
    ),
]
PrefixOption = Annotated[
    str | None,
    typer.Option(
        help="The prefix that the sample continues.",
        metavar="TEXT",
        show_default="the start of the held-out text",
        rich_help_panel=PANEL,
    ),
]
TemperatureOption = Annotated[
    float | None,
    typer.Option(help="The sampling temperature.", metavar="X", show_default="1.0", rich_help_panel=PANEL),
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=2**63 - 1,
        help="The random seed for sampling.",
        metavar="N",
        show_default="0",
        rich_help_panel=PANEL,
    ),
]


@dataclass(frozen=True)
class SampleNovelty:
    """Measure how much of a sample is copied from the training split."""

    novelty: bool
    ngrams: str | None
    length: int | None
    prefix: str | None
    temperature: float | None
    seed: int | None

    def check(self) -> None:
        """Refuse n-gram lengths that make no sense."""
        self._sizes()

    def show(self, model: Model, request: Request) -> None:
        """Write a sample, compare it with the training split and print the result."""
        from charlm.console.evaluation import evaluation_progress, show_novelty
        from charlm.console.terminal import print_json
        from charlm.library.copying import DEFAULT_LENGTH, DEFAULT_NGRAMS, novelty

        temperature, seed = 1.0 if self.temperature is None else self.temperature, self.seed or 0
        with evaluation_progress("comparing") as report:
            found = novelty(
                model,
                **request.where,
                ngrams=self._sizes() or DEFAULT_NGRAMS,
                length=self.length or DEFAULT_LENGTH,
                prefix=self.prefix,
                temperature=temperature,
                seed=seed,
                report=report,
            )
        if request.as_json:
            drawn = {"temperature": temperature, "seed": seed}
            print_json(request.heading(model) | drawn | found.as_record() | model.subject.warning_record())
        else:
            show_novelty(model.subject, request.text, found, temperature=temperature, seed=seed)

    def _sizes(self) -> list[int]:
        """Parse `4,8,12`; return an empty list where the option was not given."""
        if self.ngrams is None:
            return []
        parts = [part.strip() for part in self.ngrams.split(",")]
        if not all(part.isdecimal() and len(part) <= MAX_DIGITS and int(part) >= 1 for part in parts):
            raise ConfigError(f"--ngrams must be numbers of characters such as 4,8,12, got {shown(self.ngrams)}")
        return [int(part) for part in parts]

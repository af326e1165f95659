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
        help="Measure how much of a sample is copied from the training part.",
        rich_help_panel=PANEL,
    ),
]
NgramsOption = Annotated[
    str | None,
    typer.Option(help="Lengths that are compared.", metavar="N,...", show_default="4,8,...,50", rich_help_panel=PANEL),
]
LengthOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MAX_SAMPLE_LENGTH,
        help="Characters in the sample.",
        metavar="N",
        show_default="10000",
        rich_help_panel=PANEL,
    ),
]
PrefixOption = Annotated[
    str | None,
    typer.Option(
        help="Text the sample begins after.",
        metavar="TEXT",
        show_default="from the text",
        rich_help_panel=PANEL,
    ),
]
TemperatureOption = Annotated[
    float | None,
    typer.Option(help="Temperature of the sampling.", metavar="X", show_default="1.0", rich_help_panel=PANEL),
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=2**63 - 1,
        help="Random seed for sampling.",
        metavar="N",
        show_default="0",
        rich_help_panel=PANEL,
    ),
]


@dataclass(frozen=True)
class SampleNovelty:
    """How much of a sample stands in the training part."""

    novelty: bool
    ngrams: str | None
    length: int | None
    prefix: str | None
    temperature: float | None
    seed: int | None

    def check(self) -> None:
        """Refuse n-grams that have no sense."""
        self._sizes()

    def show(self, model: Model, request: Request) -> None:
        """Write, compare and print."""
        from charlm.console.evaluation import evaluation_progress, show_novelty
        from charlm.console.terminal import print_json
        from charlm.library import novelty
        from charlm.library.copying import DEFAULT_LENGTH, DEFAULT_NGRAMS

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
        """Read `4,8,12`; none where it was not given."""
        if self.ngrams is None:
            return []
        parts = [part.strip() for part in self.ngrams.split(",")]
        if not all(part.isdecimal() and len(part) <= MAX_DIGITS and int(part) >= 1 for part in parts):
            raise ConfigError(f"--ngrams must look like 4,8,12, numbers of characters, got {shown(self.ngrams)}")
        return [int(part) for part in parts]

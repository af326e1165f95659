"""`charlm eval --gaps`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.arguments import MAX_DIGITS, shown
from charlm.cli.measures import Request
from charlm.errors import ConfigError

if TYPE_CHECKING:
    from charlm.library.models import Model

PANEL = "Gap filling (bidirectional models)"
GapsOption = Annotated[
    str | None,
    typer.Option(
        help="Measure how well gaps are filled; 5/25 hides 5 of every 25 characters.",
        metavar="G/N",
        rich_help_panel=PANEL,
    ),
]
PassesOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1_000_000,
        help="Gibbs sampling passes over each gap.",
        metavar="N",
        show_default="20",
        rich_help_panel=PANEL,
    ),
]


@dataclass(frozen=True)
class GapFilling:
    """Measure the cost of filling gaps, from the left side alone and from both sides."""

    gaps: str | None
    passes: int | None

    def check(self) -> None:
        """Refuse sizes that make no sense."""
        self._sizes()

    def show(self, model: Model, request: Request) -> None:
        """Measure and print the result."""
        from charlm.console.evaluation import evaluation_progress, show_gaps
        from charlm.console.terminal import print_json
        from charlm.evaluation.gaps import DEFAULT_PASSES
        from charlm.library.measuring import score_gaps

        gap, every = self._sizes()
        passes = self.passes or DEFAULT_PASSES
        with evaluation_progress() as report:
            score = score_gaps(model, gap=gap, every=every, passes=passes, **request.where, report=report)
        if request.as_json:
            print_json(request.heading(model) | score.as_record())
        else:
            show_gaps(model.subject, request.text, score)

    def _sizes(self) -> tuple[int, int]:
        """Parse `5/25` into the length of a gap and the distance from one gap to the next, in characters."""
        assert self.gaps is not None
        gap, slash, every = self.gaps.partition("/")
        are_numbers = all(part.isdecimal() and len(part) <= MAX_DIGITS for part in (gap, every))
        if not (slash and are_numbers and 1 <= int(gap) < int(every)):
            raise ConfigError(f"--gaps must look like 5/25 (5 of every 25 characters), got {shown(self.gaps)}")
        return int(gap), int(every)

"""`charlm train --ensemble`: several networks in the time of one, joined with n-grams."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from charlm.cli.asked import Asked
from charlm.cli.ensemble import make_ensemble
from charlm.cli.quoting import program, shell_line
from charlm.cli.training import check_ended, train_run
from charlm.errors import ConfigError

# The share of the minutes of an ensemble in which its weights are fitted and it is measured.
JOINING_SHARE = 0.05
EnsembleOption = Annotated[
    bool,
    typer.Option(
        "--ensemble", help="Divide the minutes among several networks where that is better; join them with n-grams."
    ),
]


def train_ensemble(
    context: typer.Context,
    asked: Asked,
    name: str | None,
    runs_dir: Path | None,
    *,
    is_one: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train the members of an ensemble one after another, and join them with n-grams."""
    settings = asked.settings
    if not is_one or settings is None or settings.train.recipe is None or settings.train.fit_minutes is None:
        raise ConfigError(
            "--ensemble divides minutes among networks: give a text and --minutes, and neither --config, --resume nor "
            "--seeds"
        )
    from charlm.runs.creation import check_new_name
    from charlm.runs.run import runs_folder
    from charlm.training.choosing import choose_members

    folder, name = runs_folder(runs_dir), name or f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-ensemble"
    number = choose_members(settings)
    members = [f"{name}-{count}" for count in range(1, number + 1)]
    for each in (name, *members):
        check_new_name(each, folder)
    minutes = settings.train.fit_minutes * (1 - JOINING_SHARE) / number
    if not quiet:
        networks = "one network" if number == 1 else f"{number} networks, one after another"
        typer.echo(f"charlm: {networks}, {minutes:.2g} minutes for each; then n-grams join them", err=True)
    joining = shell_line([*program(), "ensemble", name, *members, "--ngrams"])
    for count, member in enumerate(members):
        own = settings.replaced({"train.fit_minutes": minutes, "train.seed": settings.train.seed + count})
        end = train_run(context, Asked(own), member, runs_dir, resume=False, quiet=quiet)
        check_ended(end, runs_dir, f"; the ensemble: {joining}, with the members that there are")
    make_ensemble(name, members, ngrams=True, as_json=as_json, runs_dir=runs_dir)

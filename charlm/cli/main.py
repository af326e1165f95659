"""The command `charlm`: its options and its commands, each in a file of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from charlm import __version__
from charlm.cli.bench import bench_command
from charlm.cli.compare import compare
from charlm.cli.config import config_app
from charlm.cli.corpus import corpus_app
from charlm.cli.eval import eval_command
from charlm.cli.exits import clean_exit, clean_output
from charlm.cli.generate import generate_command
from charlm.cli.info import info
from charlm.cli.score import score_command
from charlm.cli.signals import Signals
from charlm.cli.streams import open_streams
from charlm.cli.sweep import sweep
from charlm.cli.train import train
from charlm.cli.verify import verify

app = typer.Typer(
    name="charlm",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train character-level language models with recurrent networks, and write with them.",
    epilog="Begin with: charlm train",
)
app.command("train")(clean_exit(train))
app.command("sweep")(clean_exit(sweep))
app.command("generate")(clean_exit(generate_command))
app.command("eval")(clean_exit(eval_command))
app.command("score")(clean_exit(score_command))
app.command("info")(clean_exit(info))
app.command("compare")(clean_exit(compare))
app.command("verify")(clean_exit(verify))
app.command("bench")(clean_exit(bench_command))
app.add_typer(corpus_app, name="corpus")
app.add_typer(config_app, name="config")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"charlm {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Hold the options that stand before a command."""


def run(signals: Signals) -> None:
    """Run the command line; text and consoles are UTF-8 on every system.

    Args:
        signals: what the signals that ask a process to end do; `charlm train` makes requests of them.
    """
    open_streams()
    # Commands see to their own output; help and the version are written by Typer.
    with clean_output():
        app(obj=signals)

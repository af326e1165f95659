"""The command `charlm`: its options and its commands, each of which has its own file."""

from __future__ import annotations

from typing import Annotated

import typer

from charlm import __version__
from charlm.cli.bench import bench_command
from charlm.cli.chat import chat_command
from charlm.cli.compare import compare
from charlm.cli.compress import compress
from charlm.cli.config import config_app
from charlm.cli.corpus import corpus_app
from charlm.cli.decompress import decompress
from charlm.cli.ensemble import ensemble_command
from charlm.cli.eval import eval_command
from charlm.cli.exits import clean_exit, clean_output
from charlm.cli.export import export
from charlm.cli.generate import generate_command
from charlm.cli.guide import guide
from charlm.cli.info import info
from charlm.cli.inspect import inspect
from charlm.cli.page import page
from charlm.cli.plot import plot
from charlm.cli.prune import prune
from charlm.cli.rm import rm
from charlm.cli.score import score_command
from charlm.cli.signals import Signals
from charlm.cli.streams import open_streams
from charlm.cli.sweep import sweep
from charlm.cli.train import train
from charlm.cli.usage import dress
from charlm.cli.verify import verify

HELP = """Train recurrent character-level language models, and generate text with them.

Examples:

    charlm train

    charlm train poems.txt --minutes 5

    charlm generate "The "
"""

app = typer.Typer(
    name="charlm",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=HELP,
    epilog="charlm COMMAND --help describes a command in detail, with examples.",
)
app.command("train")(clean_exit(train))
app.command("sweep")(clean_exit(sweep))
app.command("ensemble", short_help="Join runs into one model that predicts better.")(clean_exit(ensemble_command))
app.command("generate", short_help="Generate text that continues a prefix.")(clean_exit(generate_command))
app.command("export", short_help="Write a run's model into one file, to pass it on.")(clean_exit(export))
app.command("page", short_help="Write a run's network into one HTML page that runs in any browser.")(clean_exit(page))
app.command("chat", short_help="Write with a model in a conversation on a terminal.")(clean_exit(chat_command))
app.command("eval", short_help="Measure a run's perplexity on a whole text.")(clean_exit(eval_command))
app.command("score", short_help="Show which characters or lines of a text surprise a model.")(clean_exit(score_command))
app.command("compress", short_help="Compress a file with a model.")(clean_exit(compress))
app.command("decompress", short_help="Get a compressed file back, byte for byte.")(clean_exit(decompress))
app.command("info")(clean_exit(info))
app.command("compare", short_help="Compare runs: the settings that differ and the results.")(clean_exit(compare))
app.command("plot", short_help="Draw learning curves, or the results of a sweep.")(clean_exit(plot))
app.command("inspect", short_help="Look inside networks: gradients, memory, gates, single units.")(clean_exit(inspect))
app.command("verify", short_help="Check that a run's checkpoints are whole.")(clean_exit(verify))
app.command("rm", short_help="Remove runs, after showing what goes and asking.")(clean_exit(rm))
app.command("prune", short_help="Remove the checkpoints that runs do not need.")(clean_exit(prune))
app.command("bench", short_help="Measure the speed of the networks, compared with torch.nn.")(clean_exit(bench_command))
app.add_typer(corpus_app, name="corpus")
app.add_typer(config_app, name="config")
app.command("guide", short_help="Read the guide: its pages, and what each setting does.")(clean_exit(guide))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"charlm {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("-V", "--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Hold the options that may precede a command."""


dress(app)


def run(signals: Signals) -> None:
    """Run the command line; its streams use UTF-8 on every system.

    Args:
        signals: how signals that ask the process to end are handled; `charlm train` turns them into requests.
    """
    open_streams()
    # Commands handle errors of their own output; help and the version are written by Typer.
    with clean_output():
        app(obj=signals)

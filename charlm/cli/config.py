"""`charlm config`: show, check, schema, init; none of them needs torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from charlm.cli.arguments import ConfigOption, SetOption
from charlm.cli.exits import clean_exit

HELP = """Show, check and write configurations.

Example:

    charlm config show --config lyrics-gru
"""
config_app = typer.Typer(no_args_is_help=True, help=HELP)


@config_app.command("show")
@clean_exit
def show(config: ConfigOption = None, set_: SetOption = None) -> None:
    """Print the configuration that `charlm train` would run, every default spelled out.

    Example:

        charlm config show --config lyrics-gru --set model.hidden_size=128
    """
    from charlm.settings.loading import dump_settings, load_settings

    typer.echo(dump_settings(load_settings(*(config or []), overrides=set_ or [])), nl=False)


@config_app.command("check")
@clean_exit
def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="YAML files or names of shipped configurations.")],
    set_: SetOption = None,
) -> None:
    """Check configurations laid over one another, and tell all problems at once.

    Example:

        charlm config check my.yaml
    """
    from charlm.errors import printable
    from charlm.settings.layers import MAX_NAME
    from charlm.settings.loading import load_settings

    load_settings(*files, overrides=set_ or [])
    typer.echo(f"{', '.join(printable(file, MAX_NAME) for file in files)}: good")


@config_app.command("schema")
@clean_exit
def schema() -> None:
    """Print the JSON schema of a configuration: every key, its bounds, its default and what it means.

    Example:

        charlm config schema
    """
    from charlm.settings.schema import Settings

    typer.echo(json.dumps(Settings.model_json_schema(), indent=2, ensure_ascii=False))


@config_app.command("init")
@clean_exit
def init(
    file: Annotated[Path, typer.Argument(help="The file to write; an existing one is left alone.")] = Path(
        "charlm.yaml"
    ),
) -> None:
    """Write a configuration with every setting, its default and what it means.

    Example:

        charlm config init my.yaml
    """
    from charlm.errors import ConfigError, StorageError
    from charlm.settings.template import commented_defaults

    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(commented_defaults())
    except FileExistsError as error:
        raise ConfigError(f"{file} exists already and is left alone: name another file") from error
    except OSError as error:
        raise StorageError(f"cannot write {file}: {(error.strerror or '').lower()}") from error
    typer.echo(f"{file} written; train from it with: charlm train --config {file}")

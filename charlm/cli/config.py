"""`charlm config` with its commands show, check, schema and init; none of them imports torch."""

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
    """Print the configuration that `charlm train` would use, with every default spelled out.

    Example:

        charlm config show --config lyrics-gru --set model.hidden_size=128
    """
    from charlm.settings.loading import dump_settings, load_settings

    typer.echo(dump_settings(load_settings(*(config or []), overrides=set_ or [])), nl=False)


@config_app.command("check")
@clean_exit
def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="YAML files or names of bundled configurations.")],
    set_: SetOption = None,
) -> None:
    """Check configurations, later files overriding earlier ones, and report all problems at once.

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
    """Print the JSON schema of a configuration: every key with its bounds, default and meaning.

    Example:

        charlm config schema
    """
    from charlm.settings.schema import Settings

    typer.echo(json.dumps(Settings.model_json_schema(), indent=2, ensure_ascii=False))


@config_app.command("init")
@clean_exit
def init(
    file: Annotated[Path, typer.Argument(help="The file to write; an existing file is never overwritten.")] = Path(
        "charlm.yaml"
    ),
) -> None:
    """Write a configuration file that lists every setting with its default and meaning.

    Example:

        charlm config init my.yaml
    """
    from charlm.errors import ConfigError, StorageError
    from charlm.settings.template import commented_defaults

    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(commented_defaults())
    except FileExistsError as error:
        raise ConfigError(f"{file} already exists and is not overwritten: name another file") from error
    except OSError as error:
        raise StorageError(f"cannot write {file}: {(error.strerror or '').lower()}") from error
    typer.echo(f"{file} is written; train with it: charlm train --config {file}")

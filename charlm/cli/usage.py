"""Commands and groups with our own help and error messages; `dress` applies them to a whole app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from charlm.cli.exits import clean_errors
from charlm.cli.help import help_text
from charlm.cli.refusals import UsageError, empty_name, extra_argument, no_such_command, refusal
from charlm.cli.words import ALIASES
from charlm.errors import ConfigError

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter
    from typer._click.core import Command as AnyCommand

HELP = ("help", "-h", "--help")


class Command(TyperCommand):
    """A command with our own help and error messages."""

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the help."""
        formatter.write(help_text(self, ctx))

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Read what was typed.

        Raises:
            ConfigError: for options and arguments that the command does not have, and for empty names.
        """
        typed = list(args)
        try:
            given, extra, _ = self.make_parser(ctx).parse_args(args=list(typed))
            if not given.get("help") and not ctx.resilient_parsing:
                problem = extra_argument(given, extra, self, ctx) if extra else empty_name(self, given)
                if problem:
                    raise ConfigError(problem)
            return super().parse_args(ctx, args)
        except UsageError as error:
            raise ConfigError(refusal(error, self, ctx, typed)) from error


class Group(TyperGroup):
    """A group of commands; names that other programs use work too, or are answered with ours."""

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the help."""
        formatter.write(help_text(self, ctx))

    def make_context(
        self, info_name: str | None, args: list[str], parent: Context | None = None, **extra: Any
    ) -> Context:
        """Read the options before a command and report what is wrong with them."""
        with clean_errors():
            return super().make_context(info_name, args, parent, **extra)

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Read what was typed; `help train` and `--help train` are `train --help`, `version` is `--version`.

        Raises:
            ConfigError: for an option that does not exist.
        """
        if args == ["version"]:
            args = ["--version"]
        elif args and args[0] in HELP:
            args = [*(word for word in args[1:] if word not in HELP), "--help"]
        typed = list(args)
        if not typed and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            raise typer.Exit(ConfigError.exit_code)
        try:
            return super().parse_args(ctx, args)
        except UsageError as error:
            raise ConfigError(refusal(error, self, ctx, typed)) from error

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, AnyCommand | None, list[str]]:
        """Find the command that was typed.

        Raises:
            ConfigError: where it does not exist, naming the one that was probably meant.
        """
        word = ALIASES.get(ctx.command_path, {}).get(args[0], args[0])
        if word not in self.commands and not ctx.resilient_parsing:
            raise ConfigError(no_such_command(word, self, ctx.command_path))
        return super().resolve_command(ctx, [word, *args[1:]])

    def invoke(self, ctx: Context) -> object:
        """Run the command that was typed, and report it where it is refused."""
        with clean_errors():
            try:
                return super().invoke(ctx)
            except UsageError as error:
                path = ctx.command_path
                raise ConfigError(f"{path} needs a command; {path} --help lists the commands") from error


def dress(app: typer.Typer) -> None:
    """Give all commands and groups of an app our own help and error messages."""
    app.info.cls = Group
    for command in app.registered_commands:
        command.cls = Command
    for group in app.registered_groups:
        group.cls = Group
        if group.typer_instance:
            dress(group.typer_instance)

"""Refuse what was typed wrongly, with one sentence that names it and says what to do."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from pydantic import ValidationError
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from charlm.cli.arguments import shown
from charlm.cli.help import described, metavar
from charlm.cli.words import meant_argument, meant_command, meant_option, missing_option
from charlm.errors import printable
from charlm.settings.nearest import did_you_mean, nearest_choice

if TYPE_CHECKING:
    from typer._click import Context

# The base class of Typer's own refusals has no public name, so it is reached through a class that has one.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]
# Parameters that hold texts, not names: whether they may be empty is for the command to decide.
TEXTS = ("words", "prefix", "suffix", "stop", "text", "next", "next_")
NUMBER = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?")
# A larger bound, such as that of a seed, is shown as a power of two.
MAX_TOLD = 10**15


def refusal(error: Exception, command: TyperCommand | TyperGroup, context: Context, typed: Sequence[str]) -> str:
    """Return the sentence that replaces one of Typer's own error messages.

    Args:
        error: the error that Typer raised.
        command: the command that raised it.
        context: the context of the command.
        typed: the words that followed the command's name.
    """
    parameter, option = getattr(error, "param", None), getattr(error, "option_name", None)
    if isinstance(option, str) and hasattr(error, "possibilities"):
        return _no_such_option(option, command, context, typed)
    if isinstance(option, str):
        known = next((each for each in command.params if option in each.opts), None)
        value = metavar(known) if isinstance(known, TyperOption) else ""
        return f"{option} needs a value: {option} {value}" if value else f"{option} takes no value"
    if isinstance(parameter, TyperArgument | TyperOption):
        is_missing = hasattr(error, "param_type")
        return _missing(command, context, parameter) if is_missing else _bad_value(error, parameter)
    return f"{context.command_path}: {error}"


def no_such_command(word: str, group: TyperGroup, path: str) -> str:
    """Return the sentence for a command that does not exist, with the one that was probably meant."""
    names = [name for name, each in group.commands.items() if not each.hidden]
    meant = meant_command(word, path, names)
    if meant is None and "train" in names and (Path(word).is_file() or word.endswith(".txt")):
        meant = f"train {shlex.quote(word)}"
    remedy = did_you_mean(meant and f"{path} {meant}") or f"; {path} --help lists the commands"
    return f"there is no command {path} {printable(word)}{remedy}"


def extra_argument(given: Mapping[str, object], extra: Sequence[str], command: TyperCommand, context: Context) -> str:
    """Return the sentence for arguments that a command does not take.

    Args:
        given: the values of its parameters.
        extra: the arguments that are left over.
    """
    path, word = context.command_path, extra[0]
    single = [each for each in command.params if isinstance(each, TyperArgument) and each.nargs == 1]
    if meant := meant_argument(word, options_of(command)):
        return f"{path} takes no argument {shown(word)}{did_you_mean(meant)}"
    if len(single) == 1:
        whole = shlex.quote(" ".join([str(given.get(single[0].name) or ""), *extra]))
        return f"{path} takes one {metavar(single[0])}; if it has spaces, put quotes around it: {printable(whole, 200)}"
    return f"{path} takes no argument {shown(word)}; {path} --help shows its options"


def empty_name(command: TyperCommand, given: Mapping[str, object]) -> str | None:
    """Return the sentence for a name that is empty, or None where no name is.

    An unset shell variable would otherwise mean the current folder, or the newest run.
    """
    for parameter in command.params:
        value = given.get(parameter.name)
        if parameter.name in TEXTS or not (value == "" or (isinstance(value, list | tuple) and "" in value)):
            continue
        if isinstance(parameter, TyperOption | TyperArgument):
            name = parameter.opts[0] if isinstance(parameter, TyperOption) else metavar(parameter)
            return f"{name} is empty: give it a value, or leave it out (perhaps a shell variable is unset)"
    return None


def options_of(command: TyperCommand | TyperGroup) -> list[str]:
    """Return the names of all options that a command's help shows."""
    options = [each for each in command.params if isinstance(each, TyperOption) and not each.hidden]
    return ["--help", *(name for option in options for name in (*option.opts, *option.secondary_opts))]


def _no_such_option(option: str, command: TyperCommand | TyperGroup, context: Context, typed: Sequence[str]) -> str:
    # For -epochs Typer names only the first letter, and for --epochs=3 it leaves the value out.
    end = "=" if option.startswith("--") else ""
    whole = next((word for word in typed if word == option or word.startswith(option + end)), option)
    word, equals, value = whole.partition("=")
    if not equals and whole in typed:
        value = next((each for each in typed[typed.index(whole) + 1 :][:1] if not each.startswith("-")), "")
    options = options_of(command)
    meant = meant_option(word, value or None, options)
    remedy = did_you_mean(meant) or f"; {missing_option(word, context.command_path, _others(command, context))}"
    return f"{context.command_path} has no option {printable(word)}{remedy}"


def _others(command: TyperCommand | TyperGroup, context: Context) -> dict[str, Collection[str]]:
    """Return the options of all other commands, by the path of the command."""
    root = context.find_root()
    commands = _commands(root.command, root.info_name or "charlm") if isinstance(root.command, TyperGroup) else ()
    return {path: options_of(each) for path, each in commands if each is not command}


def _commands(group: TyperGroup, path: str) -> Iterator[tuple[str, TyperCommand]]:
    for name, each in group.commands.items():
        if isinstance(each, TyperGroup):
            yield from _commands(each, f"{path} {name}")
        elif isinstance(each, TyperCommand):
            yield f"{path} {name}", each


def _missing(command: TyperCommand | TyperGroup, context: Context, parameter: TyperArgument | TyperOption) -> str:
    examples = described(command.help or "").examples
    example = f", as in: {examples[0]}" if examples else ""
    return f"{context.command_path} needs {metavar(parameter)}{example}"


def _bad_value(error: Exception, parameter: TyperArgument | TyperOption) -> str:
    """Return the sentence for a value of the wrong type, or outside its bounds."""
    name = parameter.opts[0] if isinstance(parameter, TyperOption) else metavar(parameter)
    cause = error.__cause__
    if not isinstance(cause, ValidationError):
        return f"{name}: {error}"
    given = str(cause.errors()[0]["input"])
    kind = parameter.type_descriptor
    if choices := [str(choice) for choice in kind.choices or ()]:
        listed = f"{', '.join(choices[:-1])} or {choices[-1]}"
        return f"{name} must be {listed}, got {shown(given)}{did_you_mean(nearest_choice(given, choices))}"
    what = "a whole number" if kind.annotation is int else "a number"
    got = given if NUMBER.fullmatch(given) else shown(given)
    return f"{name} must be {what}{_bounds(parameter)}, got {got}"


def _bounds(parameter: TyperArgument | TyperOption) -> str:
    low, high = parameter.min, parameter.max
    if low is None:
        return "" if high is None else f", at most {high:,}"
    if high is None:
        return f", at least {low:,}"
    return f" from {low:,} to {high:,}" if high < MAX_TOLD else f" from {low:,} to 2^{int(high).bit_length()} - 1"

"""Format help as plain lines: the purpose of a command, examples, then its options, the most used first.

A docstring holds a purpose, examples and further notes. The notes are printed last, so that the first screen shows
what most people look for.
"""

from __future__ import annotations

import inspect
import re
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args, get_origin

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

if TYPE_CHECKING:
    from typer._click import Context

MIN_WIDTH = 40
MAX_WIDTH = 100
# An option with a longer name has its help on the next line.
MAX_NAME_WIDTH = 26
COMMANDS = "Commands"
OPTIONS = "Options"
REMARK = re.compile(r" {2,}\((.*)\)$")
KINDS = {int: "N", float: "X", Path: "PATH"}


@dataclass(frozen=True)
class Described:
    """The parts of a docstring.

    Args:
        purpose: the first paragraph.
        examples: commands, one per line.
        notes: all other paragraphs.
    """

    purpose: str
    examples: tuple[str, ...]
    notes: tuple[str, ...]


def described(text: str) -> Described:
    """Split a docstring into its parts."""
    paragraphs = [paragraph for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)) if paragraph.strip()]
    examples: list[str] = []
    notes: list[str] = []
    is_example = False
    for paragraph in paragraphs[1:]:
        is_head = paragraph.strip() in ("Example:", "Examples:")
        is_example = is_head or (is_example and paragraph.startswith(" "))
        if not is_example:
            notes.append(" ".join(paragraph.split()))
        elif not is_head:
            examples += [REMARK.sub(r"  # \1", line.strip()) for line in paragraph.splitlines()]
    return Described(" ".join("".join(paragraphs[:1]).split()), tuple(examples), tuple(notes))


def help_text(command: TyperCommand | TyperGroup, context: Context) -> str:
    """Return a command's help, as wide as the terminal but at most 100 columns."""
    width = min(max(shutil.get_terminal_size().columns, MIN_WIDTH), MAX_WIDTH)
    parts = described(command.help or "")
    blocks = [_wrapped(usage(command, context), "Usage: ", width), _wrapped(parts.purpose, "", width)]
    if parts.examples:
        lines = [line for example in parts.examples for line in _wrapped_command(example, width)]
        blocks.append([f"Example{'s' * (len(parts.examples) > 1)}:", *lines])
    panels = panels_of(command, context)
    commands = panels.pop(COMMANDS, [])
    for group in ({COMMANDS: commands} if commands else {}, panels):
        longest = max((len(name) for rows in group.values() for name, _ in rows), default=0)
        for panel, rows in group.items():
            entries = (line for row in rows for line in _row(*row, min(longest, MAX_NAME_WIDTH), width))
            blocks.append([f"{panel}:", *entries])
    blocks += [_wrapped(paragraph, "", width) for paragraph in (*parts.notes, command.epilog or "") if paragraph]
    return "\n\n".join("\n".join(block) for block in blocks)


def usage(command: TyperCommand | TyperGroup, context: Context) -> str:
    """Return how a command is called: `charlm sweep [OPTIONS] FILE`."""
    arguments = [_argument(each) for each in command.params if isinstance(each, TyperArgument) and not each.hidden]
    if isinstance(command, TyperGroup):
        return " ".join((context.command_path, "COMMAND", "[OPTIONS]"))
    return " ".join((context.command_path, "[OPTIONS]", *arguments))


def metavar(parameter: TyperOption | TyperArgument) -> str:
    """Return the placeholder of a parameter's value: nothing for a flag, N for a whole number, a|b for a choice."""
    if isinstance(parameter, TyperOption) and parameter.is_flag:
        return ""
    if parameter.metavar is not None:
        return parameter.metavar
    if choices := parameter.type_descriptor.choices:
        return "|".join(str(choice) for choice in choices)
    if isinstance(parameter, TyperArgument):
        return parameter.name.upper()
    kind = parameter.type_descriptor.annotation
    kind = get_args(kind)[0] if get_origin(kind) is list else kind
    return KINDS.get(kind, "TEXT")


def panels_of(command: TyperCommand | TyperGroup, context: Context) -> dict[str, list[tuple[str, str]]]:
    """Return the names and helps of each panel of a command's help, in the order in which they are declared."""
    panels: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(context):
        if isinstance(parameter, TyperArgument) and not parameter.hidden:
            panels.setdefault("Arguments", []).append((_argument(parameter, bare=True), _help(parameter)))
    if isinstance(command, TyperGroup):
        commands = {name: command.commands[name] for name in command.list_commands(context)}
        visible = [(name, each) for name, each in commands.items() if not each.hidden]
        panels[COMMANDS] = [(name, each.short_help or described(each.help or "").purpose) for name, each in visible]
    for parameter in command.get_params(context):
        if isinstance(parameter, TyperOption) and not parameter.hidden:
            names = _names(parameter)
            panels.setdefault(parameter.rich_help_panel or OPTIONS, []).append((names, _help(parameter)))
    return panels


def _names(option: TyperOption) -> str:
    names = ", ".join(sorted(option.opts, key=len))
    turned_off = f"/{', '.join(option.secondary_opts)}" if option.secondary_opts else ""
    return f"{names}{turned_off} {metavar(option)}".rstrip()


def _argument(argument: TyperArgument, *, bare: bool = False) -> str:
    name = metavar(argument)
    several = "..." if argument.nargs != 1 and not name.endswith("...") else ""
    return f"{name}{several}" if bare or argument.required else f"[{name}]{several}"


def _help(parameter: TyperOption | TyperArgument) -> str:
    """Return a parameter's help with its default and its environment variable."""
    parts = [parameter.help or ""]
    if default := _default(parameter):
        parts.append(f"[default: {default}]")
    if parameter.show_envvar and isinstance(parameter.envvar, str):
        parts.append(f"[or {parameter.envvar}]")
    return " ".join(part for part in parts if part)


def _default(parameter: TyperOption | TyperArgument) -> str:
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    default = parameter.default
    if not parameter.show_default or default is None or callable(default) or isinstance(default, list | tuple):
        return ""
    if isinstance(default, bool):
        is_told = default and isinstance(parameter, TyperOption) and parameter.secondary_opts
        return parameter.opts[0] if is_told else ""
    return str(default)


def _row(name: str, text: str, name_width: int, width: int) -> Iterator[str]:
    indent = " " * (name_width + 4)
    lines = textwrap.wrap(text, width - len(indent), break_on_hyphens=False) or [""]
    if len(name) > name_width:
        yield f"  {name}"
    else:
        yield f"  {name:<{name_width}}  {lines.pop(0)}".rstrip()
    yield from (f"{indent}{line}" for line in lines)


def _wrapped(text: str, head: str, width: int) -> list[str]:
    lines = textwrap.wrap(text, width - len(head), break_on_hyphens=False)
    indents = [head, *[" " * len(head)] * len(lines)]
    return [indent + line for indent, line in zip(indents, lines, strict=False)]


def _wrapped_command(example: str, width: int) -> list[str]:
    """Break an example before its options, so that the lines can still be pasted into a shell."""
    lines = [f"  {example}"]
    while len(lines[-1]) > width and (at := lines[-1].rfind(" --", 6, width - 1)) > 0:
        lines[-1:] = [f"{lines[-1][:at]} \\", f"      {lines[-1][at + 1 :]}"]
    return lines

"""`charlm chat`."""

from __future__ import annotations

import sys
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, TextIO

import typer

from charlm.cli.arguments import CheckpointOption, DeviceOption, RunOption, RunsDirOption, read_checkpoint_choice
from charlm.cli.seeds import read_seed
from charlm.cli.signals import Signals
from charlm.cli.writing_options import (
    MinPOption,
    PieceLengthOption,
    SeedOption,
    TemperatureOption,
    TopKOption,
    TopPOption,
)
from charlm.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from charlm.console.chat import ChatScreen
    from charlm.library.chat_events import Event
    from charlm.library.conversation import Conversation

HOW_TO = "Type a prompt; an empty line continues the text. :help helps, Ctrl-D ends."
LINES = (
    ("TEXT", "begin a text with this prompt; ::TEXT begins it with a colon"),
    ("an empty line", "continue the text, or begin one without a prompt"),
)


def chat_command(
    context: typer.Context,
    run: RunOption = None,
    temperature: TemperatureOption = 0.8,
    length: PieceLengthOption = None,
    seed: SeedOption = "0",
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    min_p: MinPOption = None,
    checkpoint: CheckpointOption = "best",
    device: DeviceOption = "auto",
    runs_dir: RunsDirOption = None,
) -> None:
    """Write with a model in a conversation: type how a text begins, and the model goes on.

    Examples:

        charlm chat

        charlm chat --run my-lyrics -t 0.6 --length 300

    A prompt begins the text that charlm generate writes for it with the same seed; an empty line continues it, and
    Ctrl-C stops it. :help shows the commands, such as :t 0.5 for another temperature, :again for another text and :top
    for the likeliest next characters.
    """
    choice = read_checkpoint_choice(checkpoint)
    _refuse_pipes()
    number = read_seed(seed)
    from charlm.console.chat import ChatScreen
    from charlm.console.chat_history import history_path
    from charlm.library.conversation import Conversation, completions
    from charlm.library.models import Filters, open_run

    filters = Filters(temperature, top_k, top_p, min_p)
    open_one = partial(open_run, runs_dir=runs_dir, device=device)
    # The number of a step belongs to one run.
    open_other = partial(open_one, checkpoint="best" if isinstance(choice, int) else choice)
    model = open_one(run, checkpoint=choice)
    conversation = Conversation(model, filters=filters, length=length, seed=number, open_other=open_other)
    signals = context.obj if isinstance(context.obj, Signals) else Signals()
    with signals.hold_interrupts() as is_interrupted:
        _converse(conversation, ChatScreen(history_path(), completions), is_interrupted)


def _refuse_pipes() -> None:
    """Refuse to hold a conversation with a file or a program."""
    if not (_is_terminal(sys.stdin) and _is_terminal(sys.stdout)):
        raise ConfigError(
            "charlm chat needs a terminal for its input and output: in pipes and scripts, use charlm generate"
        )


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def _converse(conversation: Conversation, screen: ChatScreen, is_interrupted: Callable[[], bool]) -> None:
    """Answer each line until the conversation is over; an interrupt ends the answer."""
    screen.show_note(f"{conversation.settings}\n{HOW_TO}")
    while not conversation.is_over and (line := screen.read()) is not None:
        is_interrupted()
        with closing(conversation.say(line)) as answer, screen.answering():
            for event in answer:
                _show(event, screen)
                if is_interrupted():
                    break


def _show(event: Event, screen: ChatScreen) -> None:
    from charlm.console.surprise import Shape, show_characters
    from charlm.library.chat_events import Choices, Help, Note, Repeated, Surprise, Written

    match event:
        case Repeated(text):
            screen.show_repeated(text)
        case Written(text):
            screen.show_written(text)
        case Note(text, is_refusal):
            screen.show_note(text, is_refusal=is_refusal)
        case Choices(text, expected):
            screen.show_choices(text, expected)
        case Surprise(subject, characters, num_unknown, has_cloze):
            show_characters(subject, characters, Shape(has_cloze=has_cloze, num_unknown=num_unknown))
        case Help(settings, commands):
            screen.show_help([*LINES, *((each.usage, each.meaning) for each in commands)], settings)

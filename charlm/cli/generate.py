"""`charlm generate`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.arguments import (
    CheckpointOption,
    DeviceOption,
    JsonOption,
    RunOption,
    RunsDirOption,
    read_checkpoint_choice,
)
from charlm.errors import ConfigError, TextError, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from charlm.generation.filters import Filters
    from charlm.library.models import Model

DEFAULT_LENGTH = 200
DEFAULT_PASSES = 20
MAX_LENGTH = 1_000_000_000
# A text that is not streamed is held in memory, with those that are drawn beside it.
MAX_WHOLE_LENGTH = 1_000_000
MAX_SHOWN_NAME = 1_000
MAX_PREFIX_BYTES = 10_000_000
PrefixFileOption = Annotated[
    str | None, typer.Option(help="Read the prefix from a file, - for standard input.", metavar="FILE")
]
LengthOption = Annotated[
    int | None,
    typer.Option(
        min=0, max=MAX_LENGTH, help="Characters written, at most; exactly so many in a gap.", show_default="200"
    ),
]
PassesOption = Annotated[
    int | None, typer.Option("--passes", min=0, max=1_000_000, help="Gibbs passes over a gap.", show_default="20")
]
MinPOption = Annotated[float | None, typer.Option(help="Draw from those at least P times as likely as the likeliest.")]


def generate_command(
    prefix: Annotated[str | None, typer.Option(help="The text to write on from.")] = None,
    prefix_file: PrefixFileOption = None,
    run: RunOption = None,
    checkpoint: CheckpointOption = "best",
    suffix: Annotated[str | None, typer.Option(help="The text to write towards; with a prefix, a gap to fill.")] = None,
    length: LengthOption = None,
    passes: PassesOption = None,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest character each time.")] = 0.8,
    top_k: Annotated[int | None, typer.Option(help="Draw from the K likeliest characters.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from the likeliest that make up probability P.")] = None,
    min_p: MinPOption = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of the draws.")] = 0,
    num_samples: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many texts.")] = 1,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text; may be repeated.")] = None,
    stop_at_newline: Annotated[bool, typer.Option("--stop-at-newline", help="End at the end of a line.")] = False,
    json_: JsonOption = False,
    device: DeviceOption = "auto",
    runs_dir: RunsDirOption = None,
) -> None:
    """Write on from a prefix, with the newest run's best checkpoint unless told otherwise.

    Examples:

        charlm generate --prefix "The "

        charlm generate --prefix "Nora" --num-samples 5 --stop-at-newline --temperature 0.6

        charlm generate --prefix "He opened the " --suffix " and went in." --length 12   (bidirectional models)
    """
    choice = read_checkpoint_choice(checkpoint)
    text = _prefix(prefix, prefix_file, suffix)
    stops = [*(stop or []), *(["\n"] if stop_at_newline else [])]
    is_streamed = num_samples == 1 and not json_ and suffix is None
    _check(text, suffix, stops, length, passes)
    written = _length(length, is_streamed=is_streamed)
    from charlm.generation.filters import Filters
    from charlm.library import open_run
    from charlm.library.writing import write_texts

    filters = Filters(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    model = open_run(run, checkpoint=choice, runs_dir=runs_dir, device=device)
    if is_streamed:
        _stream(model, text or "", filters=filters, seed=seed, length=written, stops=stops)
        return
    write = partial(write_texts, passes=DEFAULT_PASSES if passes is None else passes, num_samples=num_samples)
    texts = write(model, text, suffix=suffix, filters=filters, seed=seed, length=written, stops=stops)
    facts = {**model.subject.as_record(), "seed": seed, "prefix": text, "suffix": suffix}
    _print_whole(texts, facts, as_json=json_)


def _check(prefix: str | None, suffix: str | None, stops: list[str], length: int | None, passes: int | None) -> None:
    """Refuse options that do not go together."""
    is_gap = prefix is not None and suffix is not None
    if "" in stops:
        raise ConfigError("--stop is empty: give the text to end before")
    if is_gap and length is None:
        raise ConfigError("--length N says how many characters lie between --prefix and --suffix")
    if is_gap and stops:
        raise ConfigError("--stop has no meaning between --prefix and --suffix: the gap has --length characters")
    if passes is not None and not is_gap:
        raise ConfigError("--passes belongs to a gap: give --prefix and --suffix")


def _length(given: int | None, *, is_streamed: bool) -> int:
    """Return how many characters are written; refuse what is too much to hold at once."""
    length = DEFAULT_LENGTH if given is None else given
    if length > MAX_WHOLE_LENGTH and not is_streamed:
        raise ConfigError(
            f"--length must be at most {MAX_WHOLE_LENGTH:,}, got {length:,}: only a single text without --suffix and "
            "--json is written as it is drawn, and may be longer"
        )
    return length


def _prefix(prefix: str | None, file: str | None, suffix: str | None) -> str | None:
    if prefix is not None and file is not None:
        raise ConfigError("give either --prefix or --prefix-file")
    if prefix is None and file is None and suffix is None:
        raise ConfigError('give --prefix TEXT, --prefix-file FILE or --suffix TEXT, such as --prefix "The "')
    if file is None:
        return prefix
    name = printable(file, MAX_SHOWN_NAME)
    try:
        return _content(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextError(f"the prefix file {name} is not UTF-8: byte at offset {error.start:,}") from error
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise TextError(f"cannot read the prefix file {name}: {reason.lower()}") from error


def _content(file: str) -> bytes:
    """Read a prefix's bytes; a pipe or a device may be without end."""
    if file == "-":
        content = sys.stdin.buffer.read(MAX_PREFIX_BYTES + 1)
    else:
        with Path(file).open("rb") as stream:
            content = stream.read(MAX_PREFIX_BYTES + 1)
    if len(content) > MAX_PREFIX_BYTES:
        raise TextError(f"the prefix file {printable(file, MAX_SHOWN_NAME)} is longer than {MAX_PREFIX_BYTES:,} bytes")
    return content


def _stream(model: Model, prefix: str, *, filters: Filters, seed: int, length: int, stops: list[str]) -> None:
    """Write one sample to standard output as it is drawn."""
    from charlm.console.terminal import shown_safely
    from charlm.generation.sampling import sample_text

    network = model.writer()
    cleaned, ids = model.encode(prefix, "prefix")
    is_watched = sys.stdout.isatty()
    sys.stdout.write(shown_safely(cleaned))
    vocabulary = model.checkpoint.vocabulary
    for character in sample_text(network, vocabulary, ids, seed=seed, length=length, filters=filters, stops=stops):
        sys.stdout.write(shown_safely(character))
        if is_watched:
            sys.stdout.flush()
    sys.stdout.write("\n")


def _print_whole(texts: Iterable[str], facts: Mapping[str, object], *, as_json: bool) -> None:
    from charlm.console.terminal import print_json, shown_safely

    known = {key: value for key, value in facts.items() if value is not None}
    for sample, text in enumerate(texts):
        if as_json:
            print_json({"sample": sample, **known, "text": text})
        else:
            typer.echo(("\n" if sample else "") + shown_safely(text))

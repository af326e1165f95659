"""`charlm generate`."""

from __future__ import annotations

import sys
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
from charlm.errors import ConfigError, TextError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from charlm.generation.filters import Filters
    from charlm.library import Model


def generate(
    prefix: Annotated[str | None, typer.Option(help="The text to write on from.")] = None,
    prefix_file: Annotated[
        str | None, typer.Option(help="Read the prefix from a file, - for standard input.", metavar="FILE")
    ] = None,
    run: RunOption = None,
    checkpoint: CheckpointOption = "best",
    length: Annotated[int, typer.Option(min=0, help="Characters after the prefix, at most.")] = 200,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest character each time.")] = 0.8,
    top_k: Annotated[int | None, typer.Option(help="Draw from the K likeliest characters.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from the likeliest that make up probability P.")] = None,
    min_p: Annotated[
        float | None, typer.Option(help="Draw from those at least P times as likely as the likeliest.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    num_samples: Annotated[int, typer.Option(min=1, help="How many texts.")] = 1,
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
    """
    choice = read_checkpoint_choice(checkpoint)
    text = _prefix(prefix, prefix_file)
    stops = [*(stop or []), *(["\n"] if stop_at_newline else [])]
    if "" in stops:
        raise ConfigError("--stop is empty: give the text to end before")
    from charlm.generation.filters import Filters
    from charlm.library import open_run

    filters = Filters(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    model = open_run(run, checkpoint=choice, runs_dir=runs_dir, device=device)
    if num_samples == 1 and not json_:
        _stream(model, text, filters=filters, seed=seed, length=length, stops=stops)
    else:
        _print_whole(model, text, filters, seed=seed, length=length, stops=stops, number=num_samples, as_json=json_)


def _prefix(prefix: str | None, file: str | None) -> str:
    if (prefix is None) == (file is None):
        raise ConfigError('give either --prefix TEXT or --prefix-file FILE, such as --prefix "The "')
    if file is None:
        return prefix or ""
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextError(f"the prefix file {file} is not UTF-8: byte at offset {error.start:,}") from error
    except OSError as error:
        raise TextError(f"cannot read the prefix file {file}: {(error.strerror or '').lower()}") from error


def _stream(model: Model, prefix: str, *, filters: Filters, seed: int, length: int, stops: list[str]) -> None:
    """Write one sample to standard output as it is drawn."""
    from charlm.console.terminal import shown_safely
    from charlm.generation.sampling import sample_text

    cleaned, ids = model.encode_prefix(prefix)
    vocabulary = model.checkpoint.vocabulary
    is_watched = sys.stdout.isatty()
    sys.stdout.write(shown_safely(cleaned))
    characters: Iterable[str] = sample_text(
        model.network, vocabulary, ids, seed=seed, length=length, filters=filters, stops=stops
    )
    for character in characters:
        sys.stdout.write(shown_safely(character))
        if is_watched:
            sys.stdout.flush()
    sys.stdout.write("\n")


def _print_whole(
    model: Model,
    prefix: str,
    filters: Filters,
    *,
    seed: int,
    length: int,
    stops: list[str],
    number: int,
    as_json: bool,
) -> None:
    from charlm.console.terminal import print_json, shown_safely
    from charlm.generation.sampling import sample_texts

    cleaned, ids = model.encode_prefix(prefix)
    texts = sample_texts(
        model.network,
        model.checkpoint.vocabulary,
        ids,
        num_samples=number,
        seed=seed,
        length=length,
        filters=filters,
        stops=stops,
    )
    for sample, text in enumerate(texts):
        if as_json:
            record = {"sample": sample, "seed": seed, "prefix": cleaned, "text": cleaned + text}
            print_json({"run": model.run.name, "step": model.checkpoint.step, **record})
        else:
            typer.echo(("\n" if sample else "") + shown_safely(cleaned + text))

"""`charlm generate`."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.arguments import (
    CheckpointOption,
    DeviceOption,
    JsonOption,
    RunOption,
    RunsDirOption,
    UnknownOption,
    read_checkpoint_choice,
)
from charlm.cli.new_items import NewOption, between, told
from charlm.cli.prompts import Prompt, read_prompt
from charlm.cli.seeds import read_seed
from charlm.cli.writing_options import (
    LengthOption,
    MinPOption,
    SeedOption,
    TemperaturesOption,
    TopKOption,
    TopPOption,
    read_temperatures,
)
from charlm.errors import ConfigError
from charlm.text.escapes import unescape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from charlm.generation.filters import Filters
    from charlm.library.models import Model
    from charlm.library.openings import Opening

DEFAULT_PASSES = 20
# A text that is not streamed is held in memory, together with the other texts of its batch.
MAX_WHOLE_LENGTH = 1_000_000
PrefixArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PREFIX",
        help="The text to continue; - is standard input. Without a prefix, texts begin as the lines of the corpus do.",
        show_default=False,
    ),
]
PrefixOption = Annotated[str | None, typer.Option(help="Same as PREFIX.", metavar="TEXT")]
PrefixFileOption = Annotated[
    str | None,
    typer.Option(help="Read the prefix from a file, without its last line end; - is standard input.", metavar="FILE"),
]
SuffixOption = Annotated[
    str | None,
    typer.Option(help="The text to write towards; with a prefix, fill the gap between the two.", metavar="TEXT"),
]
EscapesOption = Annotated[
    bool,
    typer.Option(
        "--escapes",
        help="Interpret \\n, \\t, \\\\, \\xNN and \\uNNNN in prefix, suffix and stops, like $'...' in bash.",
    ),
]
NumSamplesOption = Annotated[
    int, typer.Option("--num-samples", "-n", min=1, max=1_000_000, help="Number of texts.", metavar="N")
]
StopOption = Annotated[list[str] | None, typer.Option(help="Stop before this text; may be repeated.", metavar="TEXT")]
StopAtNewlineOption = Annotated[bool, typer.Option("--stop-at-newline", help="Stop at the end of a line.")]
PassesOption = Annotated[
    int | None,
    typer.Option(
        "--passes", min=0, max=1_000_000, help="Gibbs sampling passes over a gap.", show_default="20", metavar="N"
    ),
]


def generate_command(
    words: PrefixArgument = None,
    num_samples: NumSamplesOption = 1,
    temperature: TemperaturesOption = "0.8",
    length: LengthOption = None,
    run: RunOption = None,
    prefix: PrefixOption = None,
    prefix_file: PrefixFileOption = None,
    suffix: SuffixOption = None,
    new: NewOption = False,
    stop_at_newline: StopAtNewlineOption = False,
    stop: StopOption = None,
    escapes: EscapesOption = False,
    seed: SeedOption = "0",
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    min_p: MinPOption = None,
    passes: PassesOption = None,
    unknown: UnknownOption = None,
    checkpoint: CheckpointOption = "best",
    json_: JsonOption = False,
    device: DeviceOption = "auto",
    runs_dir: RunsDirOption = None,
) -> None:
    """Continue a prefix, by default with the best checkpoint of the newest run.

    Examples:

        charlm generate "The "

        charlm generate "Nora" -n 5 -t 0.6 --stop-at-newline

        charlm generate --run names --new -n 20   (runs of items)
        charlm generate "He opened the " --suffix " and went in." --length 12   (bidirectional models)
    """
    choice, number = read_checkpoint_choice(checkpoint), read_seed(seed)
    stops = _stops(stop, escapes=escapes, at_newline=stop_at_newline, is_new=new)
    prompt = read_prompt(words or [], prefix=prefix, file=prefix_file, suffix=suffix, escapes=escapes)
    is_streamed = _check(prompt, stops, length, passes, is_single=num_samples == 1 and not (json_ or new))
    from charlm.library.models import Filters, open_run

    temperatures = read_temperatures(temperature)
    choices = [Filters(each, top_k, top_p, min_p) for each in temperatures]
    model = open_run(run, checkpoint=choice, runs_dir=runs_dir, device=device).with_unknown(unknown)
    prompt, start = _decoded(prompt, model)
    write = partial(_texts, model, prompt, num_samples=num_samples, length=length, seed=number)
    for place, filters in enumerate(choices):
        facts = _facts(model, prompt, start, number)
        if len(choices) > 1:
            facts["temperature"] = filters.temperature
            _head(filters.temperature, is_first=place == 0, as_json=json_)
        if is_streamed and not (start and start.is_backward):
            _stream(model, prompt, filters=filters, seed=number, length=length, stops=stops)
        else:
            texts = write(filters=filters, stops=stops, passes=passes, is_new=new)
            _print_whole(texts, facts, between=between(model), as_json=json_)


def _head(temperature: float, *, is_first: bool, as_json: bool) -> None:
    """Print a heading above the texts of one of several temperatures; JSON has a field instead."""
    from charlm.console.terminal import show_heading

    if not as_json:
        typer.echo("" if is_first else "\n", nl=False)
        show_heading(f"temperature {temperature:g}")


def _texts(
    model: Model,
    prompt: Prompt,
    *,
    num_samples: int,
    length: int | None,
    seed: int,
    filters: Filters,
    stops: list[str],
    passes: int | None,
    is_new: bool,
) -> Iterator[str]:
    """Return the texts, or only the new items among them, as they are written."""
    from charlm.library.items import find_new_items
    from charlm.library.writing import most_characters, write_texts

    _refuse_long(length)
    ends, most = {"prefix": prompt.prefix, "suffix": prompt.suffix}, most_characters(model, length)
    if is_new:
        items = find_new_items(model, **ends, num_items=num_samples, length=most, seed=seed, filters=filters)
        return told(items, num_samples)
    return write_texts(
        model,
        **ends,
        length=most,
        num_samples=num_samples,
        seed=seed,
        filters=filters,
        stops=stops,
        passes=DEFAULT_PASSES if passes is None else passes,
    )


def _stops(given: list[str] | None, *, escapes: bool, at_newline: bool, is_new: bool) -> list[str]:
    typed = given or []
    if "" in typed:
        raise ConfigError("--stop is empty: give the text to end before")
    if is_new and (typed or at_newline):
        raise ConfigError("--new writes whole items, which end by themselves: leave --stop and --stop-at-newline out")
    return [*(unescape(stop, "--stop") if escapes else stop for stop in typed), *(["\n"] if at_newline else [])]


def _decoded(prompt: Prompt, model: Model) -> tuple[Prompt, Opening | None]:
    """Return the prompt as text, and how texts begin where no prompt was given."""
    return prompt.decoded(model.checkpoint.settings.corpus.encoding), _opening(model) if prompt.is_absent else None


def _opening(model: Model) -> Opening:
    """Return how texts begin without a prompt, and print a note that says so."""
    from charlm.library.openings import opening

    start = opening(model)
    if start.is_item:
        return start
    if start.is_line_end:
        how = "ends where a line of the corpus ends" if start.is_backward else "begins as a line of the corpus does"
    else:
        how = f"{'ends' if start.is_backward else 'begins'} with {start.text!r}, recorded from the corpus"
    words = 'charlm generate --suffix "TEXT"' if start.is_backward else 'charlm generate "TEXT"'
    typer.echo(f"charlm: no prompt was given, so each text {how}; to choose the prompt: {words}", err=True)
    return start


def _check(prompt: Prompt, stops: list[str], length: int | None, passes: int | None, *, is_single: bool) -> bool:
    """Return whether a text can be written as it is drawn; refuse options that cannot be combined.

    Args:
        is_single: whether there is only one text, and it is printed as it is.
    """
    if prompt.is_gap and length is None:
        raise ConfigError(
            "filling the gap between --prefix and --suffix needs --length N, the number of characters in the gap"
        )
    if prompt.is_gap and stops:
        raise ConfigError(
            "--stop cannot be used with both --prefix and --suffix: the gap always has --length characters"
        )
    if passes is not None and not prompt.is_gap:
        raise ConfigError("--passes applies to filling a gap: it needs --prefix and --suffix")
    is_streamed = is_single and prompt.suffix is None
    if not is_streamed:
        _refuse_long(length)
    return is_streamed


def _refuse_long(length: int | None) -> None:
    if length is not None and length > MAX_WHOLE_LENGTH:
        raise ConfigError(
            f"--length must be at most {MAX_WHOLE_LENGTH:,}, got {length:,}: only a single text, without --suffix and "
            "--json, is streamed and may be longer"
        )


def _facts(model: Model, prompt: Prompt, start: Opening | None, seed: int) -> dict[str, object]:
    """Return what a JSON line holds besides the text itself."""
    facts = {**model.subject.as_record(), "seed": seed, "prefix": prompt.prefix, "suffix": prompt.suffix}
    if start is not None:
        facts["suffix" if start.is_backward else "prefix"] = start.shown
        facts["opening"] = "line end" if start.is_line_end else "item" if start.is_item else "sample prefix"
    return facts


def _stream(
    model: Model,
    prompt: Prompt,
    *,
    filters: Filters,
    seed: int,
    length: int | None,
    stops: list[str],
) -> None:
    """Write one sample to standard output as it is drawn."""
    from charlm.console.terminal import shown_safely
    from charlm.library.writing import stream

    is_watched = sys.stdout.isatty()
    for piece in stream(model, prompt.prefix, filters=filters, seed=seed, length=length, stops=stops):
        sys.stdout.write(shown_safely(piece))
        if is_watched:
            sys.stdout.flush()
    sys.stdout.write("\n")


def _print_whole(texts: Iterable[str], facts: Mapping[str, object], *, between: str, as_json: bool) -> None:
    from charlm.console.terminal import print_json, shown_safely

    known = {key: value for key, value in facts.items() if value is not None}
    for sample, text in enumerate(texts):
        if as_json:
            print_json({"sample": sample, **known, "text": text})
        else:
            typer.echo((between if sample else "") + shown_safely(text))

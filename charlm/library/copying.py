"""How much of what a model writes stands in the text that it was trained on, beside a text that nobody copied."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlm.errors import ConfigError
from charlm.evaluation.novelty import Copying, measure_copying
from charlm.generation.filters import Filters
from charlm.generation.sampling import sample_text, writing_half
from charlm.library.known_parts import choose_text, of_total, read_known_parts
from charlm.library.models import Model, open_run
from charlm.runs.run import Run
from charlm.text.vocabulary import Ids

DEFAULT_NGRAMS = (4, 8, 12, 16, 20, 30, 50)
DEFAULT_LENGTH = 10_000
# The text and what is known of its n-grams are held in memory.
MAX_LENGTH = 1_000_000
PREFIX_CHARS = 100


@dataclass(frozen=True)
class Novelty:
    """What of a sample stands in the training part, and what of a held-out text of the same length at most.

    Args:
        prefix: what the sample was written on from; of a backward model, the suffix that it was written towards.
        text: the sample, without the prefix.
        sample: what of the sample is in the training part.
        held_out: what of the held-out text is: what is normal for this kind of text.
        longest: the sample's longest stretch that is.
        held_out_longest: the held-out text's.
    """

    prefix: str
    text: str
    sample: Copying
    held_out: Copying
    longest: str
    held_out_longest: str

    def as_record(self) -> dict[str, Any]:
        """Return JSON values; shares are null where a text has fewer characters than the n-gram."""
        shares = zip(self.sample.shares.items(), self.held_out.shares.values(), strict=True)
        return {
            "prefix": self.prefix,
            "sample_chars": self.sample.num_chars,
            "held_out_chars": self.held_out.num_chars,
            "ngrams": [{"n": n, "sample": share, "held_out": other} for (n, share), other in shares],
            "longest": {"chars": self.sample.longest, "text": self.longest},
            "held_out_longest": {"chars": self.held_out.longest, "text": self.held_out_longest},
        }


def novelty(
    model: Model | Run,
    *,
    split: str = "test",
    files: Sequence[str | Path] = (),
    ngrams: Sequence[int] = DEFAULT_NGRAMS,
    length: int = DEFAULT_LENGTH,
    prefix: str | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> Novelty:
    """Have a model write a sample, and say what share of its n-grams stand in the run's training part.

    Texts are compared as the model sees them: cleaned, and with one symbol for all characters that it does not know.

    Args:
        model: from `open_run`, or a run, whose best checkpoint is taken. A bidirectional model's forward half writes.
        split: val or test, the held-out text; not used when files are given.
        files: a held-out text instead.
        ngrams: each n.
        length: characters written, 1 to 1,000,000; the held-out text is cut to as many.
        prefix: what the sample is written on from; None takes the first 100 characters of the held-out text, of which
            the rest then goes on as the sample does. A backward model writes towards the last 100.
        temperature: of the draws.
        seed: of the draws.
        report: called with the characters written or read and how many that will be, first of the one, then of the
            other.
    Raises:
        ConfigError: for a size or a length out of range, the training part as held-out text, a backward model's prefix.
        TextError: for a prefix with characters the model has never seen, and a corpus that is gone or has changed.
        RunError: for a part that the run does not have.
    """
    sizes = _checked(ngrams, length, split, files)
    model = model if isinstance(model, Model) else open_run(model)
    before = None if prefix is None else _given_prefix(model, prefix)
    filters = Filters(temperature=temperature)
    parts = read_known_parts(model, "novelty")
    held_out = choose_text(model, parts, split, files)
    if before is None:
        cut = min(PREFIX_CHARS, len(held_out) - 1)
        before, held_out = held_out[:cut], held_out[cut:]
    held_out = held_out[:length]
    vocabulary = model.checkpoint.vocabulary
    options: dict[str, Any] = {"seed": seed, "length": length, "filters": filters}
    writing = sample_text(writing_half(model.network), vocabulary, before, **options)
    sample = vocabulary.encode("".join(_counted(writing, length, report)))
    train, reading = parts.train.ids, of_total(report, 2 * len(parts.train.ids))
    of_sample = measure_copying(sample, train, sizes, report=reading)
    of_held_out = measure_copying(held_out, train, sizes, report=lambda done: reading(len(train) + done))

    def shown(ids: Ids) -> str:
        return vocabulary.decode(ids[::-1] if model.direction == "backward" else ids)

    stretches = (shown(_stretch(sample, of_sample)), shown(_stretch(held_out, of_held_out)))
    return Novelty(shown(before), shown(sample), of_sample, of_held_out, *stretches)


def _checked(ngrams: Sequence[int], length: int, split: str, files: Sequence[str | Path]) -> list[int]:
    """Return the sizes, each once and in order; refuse what cannot be asked for."""
    if not ngrams or min(ngrams) < 1:
        raise ConfigError("the n of n-grams must be numbers from 1 upwards, at least one of them")
    if not 1 <= length <= MAX_LENGTH:
        raise ConfigError(f"the length of the sample must be in 1 to {MAX_LENGTH:,}, got {length:,}")
    if split == "train" and not files:
        raise ConfigError("the sample is compared with a text that was held out, not with the train part: val or test")
    return sorted(set(ngrams))


def _given_prefix(model: Model, prefix: str) -> Ids:
    if model.direction == "backward":
        raise ConfigError(
            f"the model of run {model.run.name} reads backwards and writes on from no prefix: leave it out, and it "
            "writes towards the end of the held-out text"
        )
    return model.encode(prefix, "prefix")[1]


def _counted(writing: Iterator[str], length: int, report: Callable[[int, int], None] | None) -> Iterator[str]:
    advance = of_total(report, length)
    for done, character in enumerate(writing, 1):
        advance(done)
        yield character


def _stretch(ids: Ids, copying: Copying) -> Ids:
    return ids[copying.position : copying.position + copying.longest]

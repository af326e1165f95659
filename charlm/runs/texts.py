"""The texts that a run's model is evaluated on: a split of its own corpus, if that is unchanged, or other files."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from charlm.errors import CharlmWarning, TextError
from charlm.runs.checkpoints import Checkpoint
from charlm.runs.model_file import ModelFile
from charlm.runs.run import Run
from charlm.settings.corpus import UnknownPolicy
from charlm.text.corpus import load_corpus, read_cleaned
from charlm.text.decoding import Decoding, read_files
from charlm.text.encoding import EncodedText, Source, encode_text
from charlm.text.files import find_corpus, hash_files, locate_corpus
from charlm.text.inheriting import KnownSymbols
from charlm.text.items import boundary_character, ended_items
from charlm.text.splits import Split, split_corpus

STANDARD_INPUT = "standard input"


def encode_files(
    checkpoint: Checkpoint, files: Sequence[str | Path], *, unknown: UnknownPolicy, remedy: str = ""
) -> EncodedText:
    """Encode files in order, with the encoding and cleaning of a checkpoint; after each item stands the boundary.

    Args:
        checkpoint: the model's checkpoint.
        files: text files, compressed or not; a folder means its texts, which the model's `corpus.glob` chooses, and -
            means standard input. What is left out of a folder is a `CharlmWarning` if it is most of it.
        unknown: what becomes of characters that the model does not know.
        remedy: the end of an error's sentence about such characters.
    Raises:
        TextError: for a file that cannot be read, and for unknown characters.
    """
    corpus = checkpoint.settings.corpus.model_copy(update={"name": None, "max_chars": None})
    located: list[tuple[str, Path]] = []
    for entry in map(str, files):
        found = find_corpus(corpus.model_copy(update={"path": (entry,)}), is_trained=False)
        located += [(STANDARD_INPUT if entry == "-" else str(path), path) for path in found.files]
        for notice in found.notices:
            if notice.is_warning:
                warnings.warn(notice.sentence, CharlmWarning, stacklevel=4)
    line_end = boundary_character(corpus) or "\n"
    if corpus.items is not None:
        decoding = Decoding(corpus.encoding, is_chosen=False)
        sources = [Source(name, ended_items(read_files([path], decoding), corpus)) for name, path in located]
    elif corpus.clean.letters:
        # A run of other characters may reach from one file into the next, and there are no lines to end anyway.
        sources = [Source(None, read_cleaned([path for _, path in located], corpus))]
    else:
        *before, last = ((name, read_cleaned([path], corpus)) for name, path in located)
        is_ended = corpus.between_files == "newline"
        sources = [Source(name, _ended(chunks) if is_ended else chunks) for name, chunks in before]
        sources.append(Source(*last))
    return encode_text(sources, checkpoint.vocabulary, unknown=unknown, remedy=remedy, line_end=line_end)


def _ended(chunks: Iterable[str]) -> Iterator[str]:
    """Yield a file's characters, and a line end if it does not end with one, so that the next file begins a line."""
    last = ""
    for chunk in chunks:
        last = chunk or last
        yield chunk
    if last and not last.endswith("\n"):
        yield "\n"


def read_split(run: Run | ModelFile, checkpoint: Checkpoint) -> Split:
    """Return the splits of a run's own corpus.

    Raises:
        TextError: if the corpus is gone or has changed.
    """
    settings = checkpoint.settings
    recorded = run.environment().corpus_sha256
    try:
        found, _ = hash_files(locate_corpus(settings.corpus))
    except TextError as error:
        if isinstance(run, Run):
            raise
        raise TextError(f"{run.name} holds a model without the text that it has learned: {error}") from error
    if found != recorded:
        raise TextError(
            f"the corpus has changed since the run {run.name} was trained (SHA-256 {found[:12]}, recorded "
            f"{recorded[:12]}): restore that text, or evaluate another with --corpus"
        )
    # A run that started from another has symbols that its own text may lack.
    known = KnownSymbols(checkpoint.vocabulary, "drop")
    return split_corpus(load_corpus(settings.corpus, settings.vocabulary, known=known), settings.corpus)

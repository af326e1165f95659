"""The texts that a run's model is measured on: a part of its own corpus, found unchanged, or other files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from charlm.errors import TextError
from charlm.runs.checkpoints import Checkpoint
from charlm.runs.run import Run
from charlm.text.corpus import load_corpus, read_cleaned
from charlm.text.encoding import encode_text
from charlm.text.files import hash_files, locate_corpus
from charlm.text.splits import Split, split_corpus
from charlm.text.vocabulary import Ids


def encode_files(checkpoint: Checkpoint, files: Sequence[str | Path]) -> Ids:
    """Return the ids of files, one after the other, with the encoding, cleaning and unknown policy of a checkpoint.

    Raises:
        TextError: for a file that cannot be read, and for unknown characters.
    """
    corpus = checkpoint.settings.corpus.model_copy(
        update={"name": None, "path": tuple(str(file) for file in files), "max_chars": None}
    )
    chunks = read_cleaned(locate_corpus(corpus), corpus)
    return encode_text(chunks, checkpoint.vocabulary, unknown=corpus.unknown)


def read_split(run: Run, checkpoint: Checkpoint) -> Split:
    """Return the parts of a run's own corpus.

    Raises:
        TextError: for a corpus that is gone or has changed.
    """
    settings = checkpoint.settings
    recorded = run.environment().corpus_sha256
    found, _ = hash_files(locate_corpus(settings.corpus))
    if found != recorded:
        raise TextError(
            f"the corpus has changed since the run {run.name} was trained (SHA-256 {found[:12]}, recorded "
            f"{recorded[:12]}): bring that text back, or measure another with --corpus"
        )
    return split_corpus(load_corpus(settings.corpus, settings.vocabulary), settings.corpus)

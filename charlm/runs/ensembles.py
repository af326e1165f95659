"""An ensemble on disk: a run folder that names other runs, their weights in a mixture, and the text of its n-grams.

It has no checkpoint of its own. What it names is recognised by hashes, so that a member that has changed is refused.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load, save

from charlm.errors import RunError, printable
from charlm.runs.durable import sha256
from charlm.runs.json_records import Count, Flag, Line, Number, Record, Sha256, Text, from_json
from charlm.runs.memory import require_room
from charlm.runs.run import ENSEMBLE, Run
from charlm.runs.untrusted import open_regular, parse_json
from charlm.text.vocabulary import Ids

FORMAT = 1
NGRAM_TEXT = "ngrams.safetensors"
MAX_RECORD_BYTES = 1 << 20
MAX_TEXT_BYTES = 1 << 28
MAX_MEMBERS = 64
MAX_ORDER = 64
_KEY = "ids"
Weights = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Member(Record):
    """A network of an ensemble.

    Args:
        name: the name of its run, or of its exported file.
        path: its path, from the folder of the ensemble's runs if it is in there.
        step: the step of its checkpoint.
        sha256: SHA-256 of its settings, vocabulary and weights.
        model: cell, layers and hidden size.
        val_nats_per_char: its own result on the validation split.
    """

    name: Line
    path: Text
    step: Count
    sha256: Sha256
    model: Line
    val_nats_per_char: Number


@dataclass(frozen=True, eq=False, kw_only=True)
class NgramMember(Record):
    """The n-gram model of an ensemble.

    Args:
        order: the highest n.
        num_chars: number of characters that were counted.
        is_cut: whether these are only the last of the training split.
        sha256: SHA-256 of the file with their ids.
        val_nats_per_char: its own result on the validation split.
    """

    order: Annotated[Count, Field(ge=1, le=MAX_ORDER)]
    num_chars: Count
    is_cut: Flag
    sha256: Sha256
    val_nats_per_char: Number


@dataclass(frozen=True, eq=False, kw_only=True)
class Ensemble(Record):
    """The content of ensemble.json.

    Args:
        format: number of the format.
        members: its networks.
        ngrams: its n-gram model; None if it has none.
        weights: of each member, n-grams last, for each length of the longest known context: (lengths, members).
    """

    format: Annotated[int, Field(strict=True, ge=1)]
    members: Annotated[tuple[Member, ...], Field(min_length=1, max_length=MAX_MEMBERS)]
    ngrams: NgramMember | None
    weights: Annotated[tuple[tuple[Number, ...], ...], Field(min_length=1, max_length=MAX_ORDER)]

    @property
    def description(self) -> str:
        """Its members in a few words."""
        count = len(self.members)
        networks = "1 network" if count == 1 else f"{count} networks"
        return f"{networks} + {self.ngrams.order}-gram" if self.ngrams else networks

    @property
    def table(self) -> Weights:
        """The weights as an array."""
        return np.array(self.weights, np.float64)


def is_ensemble(run: Run) -> bool:
    """Say whether a run is an ensemble of others."""
    return (run.path / ENSEMBLE).is_file()


def refuse_ensemble(run: Run, needs: str = "this") -> None:
    """Refuse a run that is an ensemble where a network's own checkpoint is needed.

    Args:
        run: the run.
        needs: what needs it, as the subject of a sentence.
    Raises:
        RunError: naming its members.
    """
    if is_ensemble(run):
        names = ", ".join(printable(member.name) for member in read_ensemble(run).members)
        raise RunError(f"{run.name} is an ensemble, and {needs} needs one network: name one of its members: {names}")


def read_ensemble(run: Run) -> Ensemble:
    """Read what an ensemble consists of.

    Raises:
        RunError: if it is missing, damaged or too new.
    """
    path = run.path / ENSEMBLE
    with open_regular(path) as file:
        content = file.read(MAX_RECORD_BYTES)
    try:
        found = from_json(Ensemble, parse_json(content, path))
    except ValueError as error:
        raise RunError(f"{path} is not that of an ensemble: {error}") from error
    if found.format > FORMAT:
        raise RunError(
            f"{path} has format {found.format}, and this charlm reads up to {FORMAT}: install a newer charlm"
        )
    number = len(found.members) + (found.ngrams is not None)
    if any(len(row) != number for row in found.weights) or not np.isfinite(found.table).all():
        raise RunError(f"{path} is damaged: its weights do not fit its members")
    return found


def read_ngram_text(run: Run, ngrams: NgramMember, vocab_size: int) -> Ids:
    """Return the ids that an ensemble's n-grams are counted in.

    Raises:
        RunError: if they are missing or have changed.
    """
    path = run.path / NGRAM_TEXT
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_TEXT_BYTES:
            raise RunError(f"{path} is not the text of n-grams: it has {size:,} bytes")
        require_room(2 * size)
        content = file.read(size)
    try:
        if sha256(content) != ngrams.sha256:
            raise RunError(f"{path} has changed since the ensemble {run.name} was made")
        ids: Ids = load(content)[_KEY]
    except (SafetensorError, KeyError) as error:
        raise RunError(f"{path} is damaged: {printable(str(error), 300)}") from error
    if ids.ndim != 1 or ids.dtype.kind != "u" or len(ids) == 0 or int(ids.max()) >= vocab_size:
        raise RunError(f"{path} is damaged: it holds no text of this vocabulary")
    return ids


def pack_ngram_text(ids: Ids) -> bytes:
    """Return ids as the bytes of the file that `read_ngram_text` reads."""
    return save({_KEY: np.ascontiguousarray(ids)})


def member_path(run: Run, member: Member) -> Path:
    """Return where a member of an ensemble is."""
    return run.path.parent / member.path


def recorded_path(path: Path, folder: Path) -> str:
    """Return a member's path as an ensemble in this folder records it."""
    real, home = path.resolve(), folder.resolve()
    return str(real.relative_to(home)) if real.is_relative_to(home) else str(real)

"""What a run is made with and on, as environment.json holds it: which text, which network, which machine.

A fact that an older charlm did not write, or a stranger wrote wrongly, is None.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from charlm.runs.json_records import Count, Flag, Inline, Line, Number, Record, Sha256, Text, Told
from charlm.text.notices import name_few

MAX_FACTS = 40
MAX_FACT = 2_000
ShortLine = Annotated[Line, Field(max_length=MAX_FACT)]
FactName = Annotated[str, Field(strict=True, pattern="^[a-z0-9_]{1,40}$")]
# What bits depend on beside configuration and text; whichever of it differs is shown.
Fingerprint = Annotated[
    Mapping[FactName, Flag | Annotated[int, Field(strict=True)] | Number | ShortLine | None],
    Field(max_length=MAX_FACTS),
]


@dataclass(frozen=True, eq=False, kw_only=True)
class PartFacts(Record):
    """A part of a corpus: its length in characters, and the SHA-256 of its text."""

    chars: Count
    sha256: Sha256


@dataclass(frozen=True, eq=False, kw_only=True)
class SplitFacts(Record):
    """How a corpus is cut; a part that it does not have is None."""

    train: PartFacts
    val: PartFacts | None = None
    test: PartFacts | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Versions(Record):
    """Which versions compute."""

    charlm: Text
    python: Text
    torch: Text
    numpy: Text


@dataclass(frozen=True, eq=False, kw_only=True)
class Machine(Record):
    """What computations run on.

    Args:
        versions: of what computes.
        threads: of torch.
        cores: of the machine.
        kernels: which native kernels there are, or why there are none.
        kernel_build: what tells this build of them from others; None where there are none, empty where nobody told.
        cpu_capability: the instructions that torch uses.
        gpus: their names.
        platform: the system.
    """

    versions: Told[Versions] = None
    threads: Told[Count] = None
    cores: Told[Count] = None
    kernels: Told[Text] = None
    kernel_build: Told[Text] = ""
    cpu_capability: Told[Text] = None
    gpus: Told[tuple[Text, ...]] = None
    platform: Told[Text] = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Environment(Record):
    """What a run is made with and on.

    Args:
        corpus: the name of a known one, or its files.
        corpus_sha256: of the whole text.
        corpus_chars: its length.
        vocab_size: how many symbols it has.
        split: its parts.
        dropped_chars: of the training part at window ends, left out of each epoch.
        num_parameters: trained ones.
        direction: of the model.
        implementation: what runs its recurrence.
        device: where.
        machine: what that runs on.
    """

    corpus: Text | Annotated[tuple[Text, ...], Field(min_length=1)]
    corpus_sha256: Text
    corpus_chars: Told[Count] = None
    vocab_size: Told[Count] = None
    split: Told[SplitFacts] = None
    dropped_chars: Told[Count] = None
    num_parameters: Count
    direction: Told[Text] = None
    implementation: Told[Text] = None
    device: Told[Text] = None
    machine: Annotated[Machine, Inline()]

    @property
    def corpus_name(self) -> str:
        """The corpus' name, or those of its files: of many, the first and the number of the others."""
        return self.corpus if isinstance(self.corpus, str) else name_few(self.corpus)


def num_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

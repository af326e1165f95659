"""The facts about a run in environment.json: its text, its network and its machine.

A fact is None if an older charlm did not write it, or if a stranger wrote it wrongly.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, JsonValue

from charlm.runs.json_records import Count, Flag, Inline, Line, Number, Record, Sha256, Text, Told
from charlm.runs.rates import Rates
from charlm.text.notices import name_few

MAX_FACTS = 40
MAX_FACT = 2_000
ShortLine = Annotated[Line, Field(max_length=MAX_FACT)]
FactName = Annotated[str, Field(strict=True, pattern="^[a-z0-9_]{1,40}$")]
# Everything besides settings and text that affects the exact bits; facts that differ are shown.
Fingerprint = Annotated[
    Mapping[FactName, Flag | Annotated[int, Field(strict=True)] | Number | ShortLine | None],
    Field(max_length=MAX_FACTS),
]


@dataclass(frozen=True, eq=False, kw_only=True)
class PartFacts(Record):
    """A split of a corpus: its length in characters, the SHA-256 of its text, and how many items it is a list of."""

    chars: Count
    sha256: Sha256
    num_items: Told[Count] = None


@dataclass(frozen=True, eq=False, kw_only=True)
class SplitFacts(Record):
    """The splits of a corpus; one that it does not have is None."""

    train: PartFacts
    val: PartFacts | None = None
    test: PartFacts | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Versions(Record):
    """The versions of the programs that compute."""

    charlm: Text
    python: Text
    torch: Text
    numpy: Text


@dataclass(frozen=True, eq=False, kw_only=True)
class Machine(Record):
    """What computations run on.

    Args:
        versions: versions of the programs that compute.
        threads: number of torch's threads.
        cores: number of the machine's cores.
        kernels: which native kernels there are, or why there are none.
        kernel_build: identifies this build of the kernels; None if there are none, empty if it was not recorded.
        cpu_capability: the instruction set that torch uses.
        gpus: names of the GPUs.
        platform: the operating system.
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
class ParentFacts(Record):
    """The checkpoint that a run started from, and what its model made of both texts before the first step.

    Args:
        name: name of its run.
        path: path of its run when this run was created.
        step: its step.
        weights_sha256: SHA-256 of the file with its weights.
        added: the characters of the new text that were added to its vocabulary.
        corpus: its corpus settings.
        corpus_sha256: SHA-256 of its whole text.
        val: its results on the new text's whole validation split; None without one.
        old_val: its results on its own whole validation split; None if that was not read.
        old_text: why its own validation split was not read, if it was not.
    """

    name: Line
    path: Text
    step: Count
    weights_sha256: Sha256
    added: Text = ""
    corpus: Mapping[Text, JsonValue]
    corpus_sha256: Sha256
    val: Annotated[Rates | None, Inline("val_")] = None
    old_val: Annotated[Rates | None, Inline("old_val_")] = None
    old_text: Line | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Environment(Record):
    """The facts about a run.

    Args:
        corpus: the name of a known corpus, or the files.
        corpus_sha256: SHA-256 of the whole text.
        corpus_chars: length of the text in characters.
        vocab_size: number of symbols.
        split: the splits of the text.
        dropped_chars: characters of the training split that each epoch leaves out at the ends of windows.
        num_parameters: number of trained parameters.
        direction: the model's direction.
        implementation: the code that computes the recurrence.
        device: the device that computes.
        machine: the machine of that device.
        parent: the checkpoint that the run started from; None if it started from random weights.
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
    parent: Annotated[ParentFacts | None, Inline("parent_")] = None

    @property
    def corpus_name(self) -> str:
        """The corpus's name, or those of its files; of many files, the first ones and how many more there are."""
        return self.corpus if isinstance(self.corpus, str) else name_few(self.corpus)


def num_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

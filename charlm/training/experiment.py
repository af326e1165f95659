"""Everything a run needs before its first step: text, windows, network, optimiser, and the facts about them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from charlm.errors import ConfigError
from charlm.networks.building import Network, build_model
from charlm.networks.implementations import choose_implementation
from charlm.settings.schema import Settings
from charlm.settings.values import DEVICES
from charlm.text.cleaning import clean_prefix
from charlm.text.corpus import load_corpus
from charlm.text.files import with_kept_input
from charlm.text.reading_order import turned
from charlm.text.splits import Part, Split, split_corpus
from charlm.text.vocabulary import Ids, Vocabulary
from charlm.text.windows import num_windows
from charlm.training.averaging import WeightAverage
from charlm.training.environment import corpus_facts, machine_facts, model_facts
from charlm.training.footprint import require_memory
from charlm.training.optimizer import build_optimizer
from charlm.training.schedule import fix_schedule_length
from charlm.training.threads import fix_threads

PREFIX_CHARS = 12


@dataclass(frozen=True)
class Experiment:
    """A run's parts.

    Args:
        settings: with the schedule's length fixed.
        vocabulary: the corpus' symbols.
        split: its parts, each in the order the model reads: for a backward model from the end.
        steps_per_epoch: optimiser steps in one pass over the training part.
        network: with fresh weights, on its device.
        optimizer: over the network's parameters.
        average: of these parameters, where the settings ask for one.
        prefixes: of the sample table, each with its ids.
        facts: what is recorded in environment.json.
    """

    settings: Settings
    vocabulary: Vocabulary
    split: Split
    steps_per_epoch: int
    network: Network
    optimizer: torch.optim.Optimizer
    average: WeightAverage | None
    prefixes: tuple[tuple[str, Ids], ...]
    facts: Mapping[str, Any]

    @property
    def model(self) -> Network:
        """The network that is evaluated, sampled and saved: the one that is trained, or its average."""
        return self.average.network if self.average and self.average.num_averaged else self.network

    @property
    def fingerprint(self) -> dict[str, Any]:
        """All that bits depend on beside configuration and text; for the same one a resumed run repeats them."""
        facts = self.facts
        return {
            "charlm": facts["versions"]["charlm"],
            "torch": facts["versions"]["torch"],
            "dtype": str(next(self.network.parameters()).dtype).removeprefix("torch."),
            "device": ", ".join([facts["device"], *facts["gpus"]]) if facts["device"] != "cpu" else "cpu",
            "cpu_capability": facts["cpu_capability"],
            "threads": facts["threads"],
            "implementation": facts["implementation"],
            "kernels": facts["kernel_build"] if facts["implementation"] == "native" else None,
            "world_size": 1,
        }


def prepare(settings: Settings) -> Experiment:
    """Load the corpus, cut it, build the network; nothing is written.

    Raises:
        CharlmError: for whatever of it cannot be had.
    """
    device = choose_device(settings.train.device)
    implementation = choose_implementation(settings.model, device.type)
    model = settings.model.model_copy(update={"implementation": implementation})
    settings = settings.model_copy(update={"corpus": with_kept_input(settings.corpus), "model": model})
    corpus = load_corpus(settings.corpus, settings.vocabulary)
    split = split_corpus(corpus, settings.corpus).in_reading_order(settings.model.direction)
    _require_validation(settings, split)
    windows = num_windows(len(split.train.ids), settings.sampling, settings.model.lookahead)
    steps_per_epoch = -(-windows // settings.optimizer.accumulation)
    settings = fix_schedule_length(settings, steps_per_epoch)
    prefixes = _encode_prefixes(settings, corpus.vocabulary, split)
    require_memory(settings, len(corpus.vocabulary), device=device)
    settings = fix_threads(settings, len(corpus.vocabulary), device)
    network = build_model(settings.model, len(corpus.vocabulary), seed=settings.train.seed, device=device.type).to(
        device
    )
    average = settings.optimizer.average
    return Experiment(
        settings=settings,
        vocabulary=corpus.vocabulary,
        split=split,
        steps_per_epoch=steps_per_epoch,
        network=network,
        optimizer=build_optimizer(network.parameters(), settings.optimizer),
        average=None if average.method == "none" else WeightAverage(network, average),
        prefixes=prefixes,
        facts={
            **corpus_facts(corpus, split, settings),
            **model_facts(network, settings, device),
            **machine_facts(),
        },
    )


def choose_device(name: str) -> torch.device:
    """Turn `auto` into cuda where there is one, else cpu.

    Raises:
        ConfigError: for a device this machine does not have.
    """
    if not re.fullmatch(DEVICES, name):
        raise ConfigError(f"the device must be auto, cpu, mps, cuda or cuda:N, got {name!r}")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"train.device {name}: torch {torch.__version__} sees no such GPU here; use auto or cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("train.device mps: torch sees no Metal device here; use auto or cpu")
    return device


def _require_validation(settings: Settings, split: Split) -> None:
    for key, value in settings.validation_listeners if split.val is None else ():
        raise ConfigError(f"{f'{key} {value}'.strip()} needs a validation part, and corpus.split leaves none")


def _encode_prefixes(settings: Settings, vocabulary: Vocabulary, split: Split) -> tuple[tuple[str, Ids], ...]:
    given = settings.sample.prefixes
    texts = _default_prefixes(settings, vocabulary, split) if given is None else given
    cleaned = [clean_prefix(text, settings.corpus.clean) for text in texts]
    prefixes = tuple(
        (text, vocabulary.encode(text, unknown=settings.corpus.unknown, what=f"the sample prefix {text!r}"))
        for text in cleaned
    )
    if not all(len(ids) for _, ids in prefixes):
        raise ConfigError("sample.prefixes has an empty prefix: a model writes on from at least one character it knows")
    return prefixes


def _default_prefixes(settings: Settings, vocabulary: Vocabulary, split: Split) -> list[str]:
    """Return the first words of two lines: one from the training part, one from the next part if there is one."""
    prefixes = [_first_words(vocabulary, part) for part in (split.train, split.val) if part is not None]
    # The parts are in the model's reading order: of a backward model these are last words, spelled backwards.
    return list(dict.fromkeys(turned(prefix, settings.model.direction) for prefix in prefixes))


def _first_words(vocabulary: Vocabulary, part: Part) -> str:
    text = vocabulary.decode(part.ids[:4096]).replace("\N{REPLACEMENT CHARACTER}", "")
    # A part may start in mid-line: take its second line if there is one.
    lines = [line for line in text.split("\n")[1:] if line.strip()] or [text]
    words = lines[0][:PREFIX_CHARS].rpartition(" ")
    return (words[0] + words[1]) or lines[0][:2]

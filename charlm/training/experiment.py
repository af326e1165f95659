"""Everything a run needs before its first step: text, windows, network, optimiser, and the facts about them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from charlm import __version__
from charlm.errors import ConfigError
from charlm.networks.building import Network, build_model, set_precision
from charlm.networks.modes import single_threaded
from charlm.runs.facts import Environment, Fingerprint
from charlm.runs.parents import Parent
from charlm.runs.restoring import to_tensors
from charlm.settings.schema import Settings
from charlm.text.cleaning import clean_prefix
from charlm.text.forms import match_form
from charlm.text.items import begin_item
from charlm.text.notices import Notice
from charlm.text.reading_order import turned
from charlm.text.splits import Part, Split
from charlm.text.vocabulary import Ids, Vocabulary
from charlm.training.averaging import WeightAverage
from charlm.training.deciding import decide
from charlm.training.environment import run_environment
from charlm.training.optimizer import build_optimizer
from charlm.training.parent import inherited_weights, parent_facts
from charlm.training.resolution import Resolved
from charlm.training.timetable import Timetable

PREFIX_CHARS = 12
NUM_ITEMS = 4


@dataclass(frozen=True)
class Experiment:
    """Everything that a run trains with.

    Args:
        resolved: the settings, with nothing left open.
        vocabulary: the symbols of the corpus.
        split: the splits, each in the order in which the model reads it; a backward model reads from the end.
        network: the network with fresh weights, on its device.
        optimizer: the optimiser of the network's parameters.
        average: the average of these parameters, if the settings ask for one.
        prefixes: the prefixes of the sample table, each with its ids.
        facts: what is recorded in environment.json.
        timetable: when the run ends.
        notices: what a person should know about the text.
        parent: the checkpoint that a new run starts from, until it has been measured; None for other runs.
    """

    resolved: Resolved
    vocabulary: Vocabulary
    split: Split
    network: Network
    optimizer: torch.optim.Optimizer
    average: WeightAverage | None
    prefixes: tuple[tuple[str, Ids], ...]
    facts: Environment
    timetable: Timetable
    notices: tuple[Notice, ...] = ()
    parent: Parent | None = None

    @property
    def settings(self) -> Settings:
        """The run's settings, every choice spelled out."""
        return self.resolved.settings

    @property
    def model(self) -> Network:
        """The network that is evaluated, sampled and saved: either the one that is trained, or its average."""
        return self.average.network if self.average and self.average.num_averaged else self.network

    @property
    def first_prefix(self) -> str | None:
        """A text that the model can continue; None if the settings give none, or items that begin with nothing."""
        return self.prefixes[0][0] or None if self.prefixes else None

    @property
    def fingerprint(self) -> Fingerprint:
        """Everything besides settings and text that affects the exact bits; if it is equal, resuming repeats them."""
        facts, machine, precision = self.facts, self.facts.machine, self.settings.train.precision
        gpus = machine.gpus or ()
        return {
            "charlm": __version__,
            "torch": torch.__version__,
            "dtype": str(next(self.network.parameters()).dtype).removeprefix("torch."),
            "device": "cpu" if self.resolved.device.type == "cpu" else ", ".join((str(self.resolved.device), *gpus)),
            "cpu_capability": machine.cpu_capability,
            # The kernels compute the same bits with any number of threads, and torch has one where they compute.
            **({} if facts.implementation == "native" else {"threads": machine.threads}),
            "implementation": facts.implementation,
            "kernels": machine.kernel_build if facts.implementation == "native" else None,
            "world_size": 1,
            # float32 goes without saying, as it did before there was a choice.
            **({} if precision == "float32" else {"precision": precision}),
        }


def prepare(
    asked: Settings, *, resumed: bool = False, runs_dir: Path | None = None, begun: Vocabulary | None = None
) -> Experiment:
    """Decide what the settings leave open, as `decide` does with the same arguments, and build the network.

    Raises:
        CharlmError: if any of this is impossible.
    """
    decided = decide(asked, resumed=resumed, runs_dir=runs_dir, begun=begun)
    corpus, split, resolved, parent = decided.corpus, decided.split, decided.resolved, decided.parent
    settings, device = resolved.settings, resolved.device
    prefixes = _encode_prefixes(settings, corpus.vocabulary, split)
    assert settings.train.threads is not None
    torch.set_num_threads(settings.train.threads)
    with single_threaded():
        # An orthogonal matrix has other bits if several threads compute it.
        network = build_model(settings.model, len(corpus.vocabulary), seed=settings.train.seed, device=device.type)
    if parent is not None:
        network.load_state_dict(to_tensors(inherited_weights(parent, corpus.vocabulary)))
    network = network.to(device)
    set_precision(network, settings.train.precision)
    average = settings.optimizer.average
    facts = run_environment(corpus, split, network, settings, device)
    return Experiment(
        resolved=resolved,
        vocabulary=corpus.vocabulary,
        split=split,
        network=network,
        optimizer=build_optimizer(network.parameters(), settings.optimizer),
        average=None if average.method == "none" else WeightAverage(network, average),
        prefixes=prefixes,
        facts=replace(facts, parent=parent_facts(parent, corpus.vocabulary)),
        timetable=decided.timetable,
        notices=decided.notices,
        parent=parent,
    )


def _encode_prefixes(settings: Settings, vocabulary: Vocabulary, split: Split) -> tuple[tuple[str, Ids], ...]:
    given = settings.sample.prefixes
    texts = _default_prefixes(settings, vocabulary, split) if given is None else given
    cleaned = [match_form(clean_prefix(text, settings.corpus.clean), vocabulary).text for text in texts]
    unknown, boundary = vocabulary.policy(settings.corpus.unknown), split.train.boundary

    def encoded(text: str) -> Ids:
        what = f"the sample prefix {text!r}"
        ids = vocabulary.encode(text, unknown=unknown, what=what)
        return begin_item(ids, boundary, settings.model.direction, what)

    prefixes = tuple((text, encoded(text)) for text in cleaned)
    if not all(len(ids) for _, ids in prefixes):
        raise ConfigError("sample.prefixes has an empty prefix: give at least one character that the model knows")
    return prefixes


def _default_prefixes(settings: Settings, vocabulary: Vocabulary, split: Split) -> list[str]:
    """Return the first words of two lines: one from the training split, one from validation if there is one.

    Whole items are written from nothing.
    """
    if split.train.boundary is not None:
        return [""] * NUM_ITEMS
    prefixes = [_first_words(vocabulary, part) for part in (split.train, split.val) if part is not None]
    # The splits are in reading order: for a backward model these are a line's last words, spelled backwards.
    return list(dict.fromkeys(turned(prefix, settings.model.direction) for prefix in prefixes))


def _first_words(vocabulary: Vocabulary, part: Part) -> str:
    text = vocabulary.decode(part.ids[:4096]).replace("\N{REPLACEMENT CHARACTER}", "")
    # A split may start in the middle of a line, so take its second line if there is one.
    lines = [line for line in text.split("\n")[1:] if line.strip()] or [text]
    words = lines[0][:PREFIX_CHARS].rpartition(" ")
    return (words[0] + words[1]) or lines[0][:2]

"""What a run is trained with: the text, the network and the machine."""

from __future__ import annotations

import os
import platform

import numpy as np
import torch

from charlm import __version__
from charlm.kernels.library import describe_kernels, kernel_build
from charlm.networks.building import Network, num_parameters
from charlm.runs.facts import Environment, Machine, PartFacts, SplitFacts, Versions
from charlm.settings.schema import Settings
from charlm.text.corpus import Corpus
from charlm.text.splits import Part, Split
from charlm.text.windows import num_dropped


def run_environment(
    corpus: Corpus, split: Split, network: Network, settings: Settings, device: torch.device
) -> Environment:
    """Return the facts that environment.json records about a run.

    Args:
        corpus: the whole corpus.
        split: its splits.
        network: the network that is trained.
        settings: the resolved settings.
        device: the device that it is trained on.
    """
    return Environment(
        corpus=settings.corpus.name or tuple(str(file) for file in corpus.files),
        corpus_sha256=corpus.sha256,
        corpus_chars=len(corpus.ids),
        vocab_size=len(corpus.vocabulary),
        split=SplitFacts(
            train=_part_facts(split.train),
            val=split.val and _part_facts(split.val),
            test=split.test and _part_facts(split.test),
        ),
        dropped_chars=_num_dropped(split.train, settings),
        num_parameters=num_parameters(network),
        direction=settings.model.direction,
        implementation=settings.model.implementation,
        device=str(device),
        machine=machine_facts(),
    )


def machine_facts() -> Machine:
    """Return what computations on this machine depend on: versions, threads, processor, GPUs."""
    return Machine(
        versions=Versions(
            charlm=__version__, python=platform.python_version(), torch=torch.__version__, numpy=np.__version__
        ),
        threads=torch.get_num_threads(),
        cores=os.cpu_count(),
        kernels=describe_kernels(),
        kernel_build=kernel_build(),
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        gpus=tuple(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())),
        platform=platform.platform(),
    )


def _part_facts(part: Part) -> PartFacts:
    return PartFacts(chars=len(part.ids), sha256=part.sha256, num_items=part.num_items)


def _num_dropped(train: Part, settings: Settings) -> int:
    """Return how many characters an epoch leaves out; items are read whole."""
    return 0 if train.num_items else num_dropped(len(train.ids), settings.sampling, settings.model.lookahead)

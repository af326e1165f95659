"""What a run is made with and on, as environment.json holds it: text, network, machine."""

from __future__ import annotations

import os
import platform
from typing import Any

import numpy as np
import torch

from charlm import __version__
from charlm.kernels.library import describe_kernels, kernel_build
from charlm.networks.building import Network, num_parameters
from charlm.settings.schema import Settings
from charlm.text.corpus import Corpus
from charlm.text.splits import Split
from charlm.text.windows import num_dropped


def corpus_facts(corpus: Corpus, split: Split, settings: Settings) -> dict[str, Any]:
    """Return which text it is, and how it is cut."""
    parts = {"train": split.train, "val": split.val, "test": split.test}
    return {
        "corpus": settings.corpus.name or [str(file) for file in corpus.files],
        "corpus_sha256": corpus.sha256,
        "corpus_chars": len(corpus.ids),
        "vocab_size": len(corpus.vocabulary),
        "split": {
            name: {"chars": len(part.ids), "sha256": part.sha256} for name, part in parts.items() if part is not None
        },
        "dropped_chars": num_dropped(len(split.train.ids), settings.sampling, settings.model.lookahead),
    }


def model_facts(network: Network, settings: Settings, device: torch.device) -> dict[str, Any]:
    """Return what is trained, and what runs it."""
    return {
        "num_parameters": num_parameters(network),
        "direction": settings.model.direction,
        "implementation": settings.model.implementation,
        "device": str(device),
    }


def machine_facts() -> dict[str, Any]:
    """Return what computations here run on: versions, threads, processor, GPUs."""
    return {
        "versions": {
            "charlm": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "kernels": describe_kernels(),
        "kernel_build": kernel_build(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "platform": platform.platform(),
    }

"""Decide once what the settings leave open: by the text, by this machine, or by an earlier process of the run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from operator import attrgetter

import torch

from charlm.errors import ConfigError
from charlm.networks.implementations import Chosen, choose_implementation, choose_precision
from charlm.settings.nearest import did_you_mean, nearest_choice
from charlm.settings.schema import Settings
from charlm.settings.training import ChosenPrecision
from charlm.settings.values import DEVICE_NAMES, DEVICES
from charlm.text.corpus import Corpus
from charlm.text.item_windows import num_batches
from charlm.text.notices import Notice
from charlm.text.splits import Split
from charlm.training.budget import planned_steps
from charlm.training.contest import choose_computation
from charlm.training.footprint import require_memory

# The settings that a run resolves and keeps, each with the value that leaves it open.
OPEN = {
    "model.implementation": "auto",
    "train.threads": None,
    "train.precision": "auto",
    "train.device": "auto",
    "optimizer.schedule.total_steps": None,
}


@dataclass(frozen=True)
class Machine:
    """How a run computes on this machine: the device, and the implementation and precision that run there."""

    device: torch.device
    implementation: Chosen
    precision: ChosenPrecision = "float32"


@dataclass(frozen=True)
class Resolved:
    """What a run does, with nothing left open; later code only reads it.

    Args:
        settings: the settings with every choice spelled out, as config.yaml holds them.
        device: the device that the run computes on.
        steps_per_epoch: optimiser steps in one pass over the training split.
        notices: what a person should know about what was decided.
    """

    settings: Settings
    device: torch.device
    steps_per_epoch: int
    notices: tuple[Notice, ...] = ()

    @property
    def planned_steps(self) -> int | None:
        """Steps until epochs or max_steps end the run; None if only minutes do."""
        return planned_steps(self.settings.train, self.steps_per_epoch)

    @property
    def eval_every(self) -> int:
        """Steps from one evaluation to the next."""
        return self.settings.train.eval_every.in_steps(self.steps_per_epoch)

    @property
    def sample_every(self) -> int:
        """Steps from one sample table to the next."""
        return self.settings.sample.every.in_steps(self.steps_per_epoch)

    @property
    def keep_every(self) -> int | None:
        """Checkpoints whose step is a multiple of this are kept; None keeps none because of its step."""
        period = self.settings.checkpoint.keep_every
        return period and period.in_steps(self.steps_per_epoch)


def this_machine(asked: Settings) -> Machine:
    """Return the device, implementation and precision that settings lead to on this machine.

    Raises:
        ConfigError: for a device that this machine does not have, or an implementation or precision that cannot run
            there.
    """
    device = choose_device(asked.train.device)
    implementation = choose_implementation(asked.model, device.type)
    precision = choose_precision(asked.train.precision, asked.model, implementation, device.type)
    return Machine(device, implementation, precision)


def resolve(asked: Settings, corpus: Corpus, split: Split, machine: Machine) -> Resolved:
    """Decide what the settings leave open: file, implementation, length of the schedule and number of threads.

    Args:
        asked: the settings that the user wrote, checked.
        corpus: the corpus that the settings name.
        split: its splits.
        machine: the machine that the run computes on.
    Raises:
        ConfigError: if a setting needs a validation split and there is none, or if there is too little memory.
        TextError: for a text too short for one window.
    """
    for key, value in asked.validation_listeners if split.val is None else ():
        raise ConfigError(f"{f'{key} {value}'.strip()} needs a validation split, and corpus.split leaves none")
    batches = num_batches(split.train, asked.sampling, asked.model.lookahead)
    steps_per_epoch = -(-batches // asked.optimizer.accumulation)
    schedule, length = asked.optimizer.schedule, asked.optimizer.schedule.total_steps
    if schedule.method == "cosine" and length is None:
        # Fixed here, so that it stays the same even if the run is made longer later.
        length = planned_steps(asked.train, steps_per_epoch)
    vocab_size = len(corpus.vocabulary)
    require_memory(asked, vocab_size, device=machine.device)
    choice = choose_computation(asked, vocab_size, machine.implementation, machine.device)
    is_kept = "-" in (asked.corpus.path or ())
    settings = asked.replaced(
        {
            # Standard input cannot be read again, but the file that it was stored in can.
            "corpus.path": tuple(map(str, corpus.files)) if is_kept else asked.corpus.path,
            "model.implementation": choice.implementation,
            "train.precision": machine.precision,
            "optimizer.schedule.total_steps": length,
            "train.threads": choice.threads,
        }
    )
    return Resolved(settings, machine.device, steps_per_epoch, choice.notices)


def keep_resolved(asked: Settings, stored: Settings) -> Settings:
    """Return the settings asked for; what they leave open is as an earlier process of the run resolved it."""
    return asked.replaced(
        {key: attrgetter(key)(stored) for key, is_open in OPEN.items() if attrgetter(key)(asked) == is_open}
    )


def choose_device(name: str) -> torch.device:
    """Turn `auto` into cuda if there is a GPU, otherwise into cpu.

    Raises:
        ConfigError: for a device that this machine does not have.
    """
    if not re.fullmatch(DEVICES, name):
        near = did_you_mean(nearest_choice(name, DEVICE_NAMES))
        raise ConfigError(f"the device must be {', '.join(DEVICE_NAMES)} or cuda:N, got {name!r}{near}")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"train.device {name}: torch {torch.__version__} sees no such GPU here; use auto or cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("train.device mps: torch sees no Metal device here; use auto or cpu")
    return device

"""What `auto` means on a processor where nobody has measured the kernels: they and torch are timed in trial steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from charlm.kernels.library import Kernels, load_kernels
from charlm.kernels.processor import MEASURED
from charlm.networks.implementations import Chosen
from charlm.networks.torch_nn import TorchStack
from charlm.settings.schema import Settings
from charlm.text.notices import Notice
from charlm.training.speed import trial_steps
from charlm.training.threads import best_count, choose_threads, thread_counts, time_in_turn

RIVALS: tuple[Chosen, ...] = ("native", "torch")


@dataclass(frozen=True)
class Choice:
    """How a run computes.

    Args:
        implementation: the implementation.
        threads: the number of threads.
        notices: a sentence on the implementation, if trial steps have decided about it.
    """

    implementation: Chosen
    threads: int
    notices: tuple[Notice, ...] = ()


def choose_computation(settings: Settings, vocab_size: int, implementation: Chosen, device: torch.device) -> Choice:
    """Return how a run computes on this machine.

    Where `auto` means the kernels and this kind of processor has not been measured, a few training steps with fresh
    weights and random characters are timed with the kernels and with torch in turn; this does not affect the run.

    Args:
        settings: the settings that the user wrote.
        vocab_size: number of symbols.
        implementation: the implementation that they lead to.
        device: the device that the run computes on.
    Raises:
        ConfigError: if that many threads would bring the machine to a halt.
    """
    if (name := _unmeasured(settings, implementation, device)) is None:
        return Choice(implementation, choose_threads(settings, vocab_size, device))
    asked = settings.train.threads
    counts = thread_counts() if asked is None else [choose_threads(settings, vocab_size, device)]
    works = {rival: trial_steps(settings.replaced({"model.implementation": rival}), vocab_size) for rival in RIVALS}
    times = time_in_turn({(rival, count): (work, count) for count in counts for rival, work in works.items()})
    best = {rival: best_count({count: times[rival, count] for count in counts}) for rival in RIVALS}
    seconds = {rival: times[rival, count] for rival, count in best.items()}
    winner = min(RIVALS, key=seconds.__getitem__)
    told = " and ".join(f"{1000 * seconds[rival]:.3g} ms with {rival}" for rival in RIVALS)
    sentence = (
        f"nobody has measured the kernels on {name} yet, so both were tried: a step takes {told}; this run uses "
        f"{winner} (--set model.implementation=native or torch decides it)"
    )
    return Choice(winner, best[winner], (Notice(sentence),))


def _unmeasured(settings: Settings, implementation: Chosen, device: torch.device) -> str | None:
    """Return the kernels' instruction set if trial steps must decide between them and torch, otherwise None."""
    kernels, model = load_kernels(), settings.model
    # Only the kernels have bfloat16 products.
    is_open = model.implementation == "auto" and implementation == "native" and settings.train.precision != "bfloat16"
    if not is_open or not isinstance(kernels, Kernels) or TorchStack.missing(model, device.type):
        return None
    return None if kernels.instruction_set in MEASURED else kernels.instruction_set

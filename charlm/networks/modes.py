"""The modes in which a network is measured."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(network: nn.Module) -> Generator[None]:
    """Turn off dropout and gradients; afterwards, put the network back into its former mode."""
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        network.train(was_training)


@contextmanager
def single_threaded() -> Generator[None]:
    """Let torch use one thread; afterwards, as many as before.

    The products of a few rows are no faster with more threads, which only wait for each other after each of them, and
    on a busy machine they wait long.
    """
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)

"""The modes in which a network is measured."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn

from charlm.kernels.library import computing_with, load_kernels
from charlm.networks.native import NativeStack, fits_kernels


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


@contextmanager
def left_to_kernels(network: nn.Module) -> Generator[None]:
    """Where the kernels compute a network, give them all threads and let torch use one; elsewhere, change nothing.

    Torch's threads would spin for milliseconds after each of its operations and keep the kernels' from the cores. And
    its sums depend on their number, whereas the kernels' do not.
    """
    kernels = load_kernels()
    if isinstance(kernels, str) or not is_native(network):
        yield
        return
    with computing_with(kernels.num_threads), single_threaded():
        yield


def is_native(network: nn.Module) -> bool:
    """Return whether the kernels compute a network: it was built for them, and is in float32 on the CPU."""
    return fits_kernels(next(network.parameters())) and any(isinstance(each, NativeStack) for each in network.modules())

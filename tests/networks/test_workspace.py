"""Memory that steps use again: it is lent to one at a time, and changes no result."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from charlm.networks.building import build_model
from charlm.networks.language_model import CharLM
from charlm.networks.native import NativeStack
from charlm.networks.workspace import Workspace
from charlm.settings.model import ModelSettings


def address(buffer: Tensor) -> int:
    return buffer.untyped_storage().data_ptr()


def test_a_buffer_is_lent_again_once_it_has_been_given_back() -> None:
    workspace = Workspace()
    first, second = workspace.lend(100), workspace.lend(100)
    assert address(first) != address(second)
    workspace.give_back(second)
    assert address(workspace.lend(80)) == address(second)
    assert address(workspace.lend(80)) not in (address(first), address(second))


def test_the_smallest_that_suffices_is_lent_and_a_larger_one_replaces_the_smallest() -> None:
    workspace = Workspace()
    buffers = [torch.empty(size) for size in (300, 100, 200)]
    for buffer in buffers:
        workspace.give_back(buffer)
    assert address(workspace.lend(150)) == address(buffers[2])
    assert workspace.lend(400).numel() == 400
    # The one of 100 has made room.
    assert address(workspace.lend(50)) == address(buffers[0])


def test_a_copy_of_a_network_has_its_own() -> None:
    stack = NativeStack(ModelSettings(hidden_size=4), 5)
    stack.workspace.give_back(torch.empty(7))
    assert address(copy.deepcopy(stack).workspace.lend(7)) != address(stack.workspace.lend(7))


def gradients(network: CharLM, ids: Tensor) -> tuple[Tensor, ...]:
    loss, _, _ = network.window_cost(ids, ids, network.initial_state(ids.shape[1]), 0.0)
    return torch.autograd.grad(loss, list(network.parameters()))


def build(hidden_size: int = 9) -> CharLM:
    model = ModelSettings(cell="lstm", hidden_size=hidden_size, num_layers=2, implementation="native")
    network = build_model(model, 20, seed=0)
    assert isinstance(network, CharLM)
    return network


@pytest.mark.kernels
def test_windows_of_any_size_in_any_order_have_the_gradients_of_a_fresh_network() -> None:
    network, generator = build(), torch.Generator().manual_seed(0)
    for T, B in ((5, 3), (2, 7), (9, 4), (1, 1), (5, 3)):
        ids = torch.randint(20, (T, B), generator=generator)
        for found, expected in zip(gradients(network, ids), gradients(build(), ids), strict=True):
            assert torch.equal(found, expected)


@pytest.mark.kernels
def test_two_windows_before_their_backward_passes_do_not_share_a_buffer() -> None:
    network, generator = build(), torch.Generator().manual_seed(0)
    windows = [torch.randint(20, (5, 3), generator=generator) for _ in range(2)]
    expected = [gradients(build(), ids) for ids in windows]
    losses = [network.window_cost(ids, ids, network.initial_state(3), 0.0)[0] for ids in windows]
    for loss, exact in zip(losses, expected, strict=True):
        found = torch.autograd.grad(loss, list(network.parameters()))
        assert all(torch.equal(one, other) for one, other in zip(found, exact, strict=True))


@pytest.mark.kernels
def test_later_steps_use_the_memory_of_the_first() -> None:
    network, found = build(hidden_size=33), list[set[int]]()
    assert isinstance(network.recurrent, NativeStack)
    workspace = network.recurrent.workspace
    for _ in range(3):
        gradients(network, torch.zeros(6, 5, dtype=torch.long))
        buffers = [workspace.lend(4 * 33 * 6 * 5) for _ in range(2)]  # the gates of both layers, at least
        found.append({address(buffer) for buffer in buffers})
        for buffer in buffers:
            workspace.give_back(buffer)
    assert len(found[0]) == 2
    assert found[0] == found[1] == found[2]

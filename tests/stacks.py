"""Stacks of layers that the kernels run, and what they compute: outputs, states and every gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from charlm.networks.native import NativeStack
from charlm.networks.recurrent import Stack, State
from charlm.networks.reference import ReferenceStack
from charlm.settings.model import ModelSettings

CELLS: dict[str, dict[str, Any]] = {
    "rnn tanh": {"cell": "rnn", "activation": "tanh"},
    "rnn relu": {"cell": "rnn", "activation": "relu"},
    "gru": {"cell": "gru"},
    "gru before": {"cell": "gru", "reset_after": False},
    "lstm": {"cell": "lstm"},
}
V, E = 20, 13
# Any stack's output layer computes the same.
DECODER = NativeStack(ModelSettings(hidden_size=1), 1)


def build_stack(
    name: str, hidden_size: int, num_layers: int = 1, *, is_one_hot: bool = True, num_symbols: int = V, seed: int = 0
) -> NativeStack:
    """Return a stack whose weights start as torch.nn's do."""
    sizes = {"hidden_size": hidden_size, "num_layers": num_layers, "embedding_size": None if is_one_hot else E}
    stack = NativeStack(ModelSettings(**sizes, **CELLS[name]), num_symbols)
    generator, bound = torch.Generator().manual_seed(seed), hidden_size**-0.5
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
    return stack


def draw_inputs(stack: Stack, T: int, B: int, *, seed: int = 0) -> tuple[Tensor, State]:
    """Return ids or features, and a state that is not zero."""
    model, generator = stack.model, torch.Generator().manual_seed(seed)
    ids = torch.randint(V, (T, B), generator=generator)
    features = torch.randn(T, B, E, generator=generator)
    parts = 2 if model.cell == "lstm" else 1
    state = torch.randn(parts, model.num_layers, B, model.hidden_size, generator=generator) / 2
    return ids if model.is_one_hot else features, tuple(state)


def positive_sum(parts: tuple[Tensor, ...]) -> Tensor:
    """Return a sum of everything with weights from 0.5 to 1.5, the same for each dtype.

    Weights of both signs would cancel: a small tensor of gradients can then be the difference of nearly equal numbers,
    of which float32 keeps no digit whoever computes it.
    """
    generator = torch.Generator().manual_seed(9)
    terms = [(part * (torch.rand(part.shape, generator=generator) + 0.5).to(part.dtype)).sum() for part in parts]
    return torch.stack(terms).sum()


def with_gradients(
    stack: Stack, inputs: Tensor, state: State, run: Callable[..., tuple[Tensor, State]] | None = None
) -> dict[str, Tensor]:
    """Return outputs, final state and every gradient of their positive sum, by name."""
    leaves = {f"state {index}": part.detach().clone().requires_grad_() for index, part in enumerate(state)}
    start = tuple(leaves.values())
    if inputs.is_floating_point():
        inputs = leaves["features"] = inputs.detach().clone().requires_grad_()
    outputs, final = (run or stack.run)(inputs, start)
    leaves |= dict(stack.named_parameters())
    gradients = torch.autograd.grad(positive_sum((outputs, *final)), list(leaves.values()))
    return {
        "outputs": outputs.detach(),
        **{f"final state {index}": part.detach() for index, part in enumerate(final)},
        **{f"gradient of {name}": gradient for name, gradient in zip(leaves, gradients, strict=True)},
    }


def in_float64(stack: NativeStack) -> ReferenceStack:
    """Return our cells with the same weights in float64."""
    reference = ReferenceStack(stack.model, V).double()
    reference.load_state_dict(stack.state_dict())
    return reference


def doubled(inputs: Tensor, state: State) -> tuple[Tensor, State]:
    return inputs.double() if inputs.is_floating_point() else inputs, tuple(part.double() for part in state)


def assert_same_bits(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def assert_chunks_are_whole(stack: NativeStack, batch_size: int) -> None:
    """Compare a window of 11 steps with the same in chunks, the state carried: to the last bit."""
    inputs, before = draw_inputs(stack, 11, batch_size)
    whole, final = stack.run(inputs, before)
    for chunk in (1, 3, 10):
        outputs, state = [], before
        for window in inputs.split(chunk):
            part, state = stack.run(window, state)
            outputs.append(part)
        assert torch.equal(torch.cat(outputs), whole)
        assert all(map(torch.equal, state, final))


def decoder_results(
    run: Callable[[Tensor, Tensor, Tensor], Tensor], tensors: list[Tensor], dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    """Return an output layer's logits and the gradients of their positive sum."""
    leaves = [tensor.detach().to(dtype).requires_grad_() for tensor in tensors]
    logits = run(*leaves)
    return [logits.detach(), *torch.autograd.grad(positive_sum((logits,)), leaves)]


def draw_decoder(T: int, B: int, H: int, num_symbols: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(T + B + H)
    sizes = ((T, B, H), (num_symbols, H), (num_symbols,))
    return [torch.rand(size, generator=generator) for size in sizes]

"""Products in bfloat16: operands rounded to nearest even, sums in float32, the same bits on every path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from stacks import (
    CELLS,
    DECODER,
    V,
    assert_chunks_are_whole,
    assert_same_bits,
    build_stack,
    decoder_results,
    doubled,
    draw_decoder,
    draw_inputs,
    in_float64,
    with_gradients,
)
from torch import Tensor

from charlm.kernels.library import Kernels, load_kernels_for
from charlm.kernels.processor import best_instruction_set, has_bfloat16
from charlm.networks import affine, native
from charlm.networks.native import NativeStack

on_each_set = pytest.mark.usefixtures("instruction_set")


def all_kernels() -> dict[str, Kernels]:
    """Return the kernels of each library that this processor can run, by name."""
    best = best_instruction_set() or ""
    names = {"x86-64-v3": False, "x86-64-v4": False, "x86-64-v4 with bfloat16": True}
    found = {
        name: load_kernels_for(name[:9], with_bfloat16=is_fast)
        for name, is_fast in names.items()
        if name[:9] <= best and (not is_fast or has_bfloat16(name[:9]))
    }
    return {name: kernels for name, kernels in found.items() if isinstance(kernels, Kernels)}


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Kernels], None]:
    return lambda kernels: monkeypatch.setattr(native, "load_kernels", lambda: kernels)


@pytest.fixture
def decoder() -> Iterator[NativeStack]:
    """Yield a stack whose output layer computes in bfloat16."""
    DECODER.precision = "bfloat16"
    yield DECODER
    DECODER.precision = "float32"


def build_rounding(name: str, hidden_size: int, num_layers: int = 1, *, is_one_hot: bool = True) -> NativeStack:
    stack = build_stack(name, hidden_size, num_layers, is_one_hot=is_one_hot)
    stack.precision = "bfloat16"
    return stack


class RoundedProduct(torch.autograd.Function):
    """A product x W^T in float64 whose operands are rounded to bfloat16, forward and backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        x, weight = round_to_bfloat16(x), round_to_bfloat16(weight)
        ctx.save_for_backward(x, weight)
        return x @ weight.t()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        grad = round_to_bfloat16(grad)
        return grad @ weight, grad.flatten(0, -2).t() @ x.flatten(0, -2)


def round_to_bfloat16(x: Tensor) -> Tensor:
    """Round to nearest even in two steps, as the kernels do: what they round is float32 already."""
    return x.float().bfloat16().double()


def rounded_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Do what torch's linear does, with a rounded product."""
    rounded: Any = RoundedProduct.apply(x, weight)
    return rounded if bias is None else rounded + bias


def error_of(found: Tensor, expected: Tensor) -> float:
    """Return the root of the mean square of the differences, relative to that of the expected numbers."""
    size = expected.norm()
    return float((found.double() - expected).norm() / size) if size > 0 else float(found.norm())


# Equality.


@on_each_set
@pytest.mark.parametrize("is_one_hot", [True, False])
@pytest.mark.parametrize("hidden_size", [1, 7, 33, 100])
@pytest.mark.parametrize("name", CELLS)
def test_results_and_gradients_equal_our_cells_in_float64_with_rounded_operands(
    name: str, hidden_size: int, is_one_hot: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[float] = []
    for T, B in ((1, 1), (1, 32), (6, 3)):
        stack = build_rounding(name, hidden_size, 2, is_one_hot=is_one_hot)
        inputs, state = draw_inputs(stack, T, B)
        found = with_gradients(stack, inputs, state)
        with monkeypatch.context() as patch:
            patch.setattr(affine, "linear", rounded_linear)
            expected = with_gradients(in_float64(stack), *doubled(inputs, state))
        errors += [error_of(found[key], value) for key, value in expected.items()]
    # A number near the middle between two of bfloat16 is rounded to the other side once in a while.
    assert max(errors) < 1e-3
    assert median(errors) < 3e-7


@on_each_set
@pytest.mark.parametrize("name", CELLS)
def test_the_operands_are_really_rounded(name: str) -> None:
    stack = build_rounding(name, 100, 2, is_one_hot=False)
    inputs, state = draw_inputs(stack, 9, 8)
    found = with_gradients(stack, inputs, state)
    exact = with_gradients(in_float64(stack), *doubled(inputs, state))
    for key in ("outputs", "gradient of features", *(f"gradient of weight_{kind}_l0" for kind in ("ih", "hh"))):
        assert error_of(found[key], exact[key]) > 5e-4, key


@on_each_set
@pytest.mark.parametrize("num_symbols", [1, 2, 65, 300])
@pytest.mark.parametrize("H", [1, 7, 100, 512])
def test_the_output_layer_equals_torchs_in_float64_with_rounded_operands(
    H: int, num_symbols: int, decoder: NativeStack
) -> None:
    for T, B in ((1, 1), (3, 3), (35, 32)):
        tensors = draw_decoder(T, B, H, num_symbols)
        expected = decoder_results(rounded_linear, tensors, torch.float64)
        for found, value in zip(decoder_results(decoder.decode, tensors), expected, strict=True):
            assert found.shape == value.shape
            assert (found.double() - value).abs().max() / value.abs().max() < 2e-6


@on_each_set
def test_numbers_are_rounded_to_nearest_even_and_denormal_ones_to_zero(decoder: NativeStack) -> None:
    edges = [0x3F808000, 0x3F818000, 0x3F807FFF, 0x3F808001, 0x7F7F7FFF, 0x7F7F8000, 0x00800000, 0x007FFFFF, 0x00000001]
    bits = np.concatenate([edges, np.random.default_rng(0).integers(0x7F800000, size=60_000)]).astype(np.uint32)
    numbers = torch.from_numpy(np.concatenate([bits, bits | 0x80000000]).astype(np.uint32).view(np.float32))
    with torch.no_grad():
        found = decoder.decode(numbers[:, None], torch.ones(1, 1), torch.zeros(1))[:, 0]
    expected = torch.where(numbers.abs() < torch.finfo(torch.float32).tiny, 0.0, numbers).bfloat16().float()
    assert torch.equal(found, expected)


@on_each_set
def test_not_a_number_and_infinity_stay_what_they_are(decoder: NativeStack) -> None:
    numbers = torch.tensor([torch.nan, -torch.nan, torch.inf, -torch.inf, 3.4e38])[:, None]
    payload = torch.tensor([0x7F800001, -0x7FFFFF], dtype=torch.int32).view(torch.float32)[:, None]
    with torch.no_grad():
        found = decoder.decode(torch.cat([numbers, payload]), torch.ones(1, 1), torch.zeros(1))[:, 0]
    assert found[[0, 1, 5, 6]].isnan().all()
    assert found[2:5].tolist() == [torch.inf, -torch.inf, torch.inf]


# The same bits.


@pytest.mark.parametrize("is_one_hot", [True, False])
@pytest.mark.parametrize("name", CELLS)
def test_plain_loops_have_the_bits_of_the_processors_instructions(
    name: str, is_one_hot: bool, use: Callable[[Kernels], None]
) -> None:
    results: dict[str, dict[str, Tensor]] = {}
    for library, kernels in all_kernels().items():
        use(kernels)
        stack = build_rounding(name, 33, 2, is_one_hot=is_one_hot)
        results[library] = with_gradients(stack, *draw_inputs(stack, 7, 5))
    first, *others = results.values()
    for other in others:
        assert_same_bits(other, first)


def test_plain_loops_have_the_bits_of_the_processors_instructions_for_tiny_numbers_too(
    use: Callable[[Kernels], None], decoder: NativeStack
) -> None:
    generator = torch.Generator().manual_seed(0)

    def tiny(*size: int) -> Tensor:
        return torch.randn(size, generator=generator) * 2.0 ** torch.randint(-75, -60, size, generator=generator)

    tensors = [tiny(40, 1, 70), tiny(30, 70), torch.zeros(30)]
    results: list[list[Tensor]] = []
    for kernels in all_kernels().values():
        use(kernels)
        results.append(decoder_results(decoder.decode, tensors))
    for other in results[1:]:
        assert all(map(torch.equal, other, results[0]))
    assert 0 < (results[0][0] == 0).float().mean() < 1, "some sums should be too small for a normal number"


@pytest.mark.parametrize("name", CELLS)
def test_float32_has_the_same_bits_in_the_library_with_bfloat16(name: str, use: Callable[[Kernels], None]) -> None:
    results: list[dict[str, Tensor]] = []
    for library, kernels in all_kernels().items():
        if library.startswith("x86-64-v4"):
            use(kernels)
            stack = build_stack(name, 100, 2, is_one_hot=False)
            results.append(with_gradients(stack, *draw_inputs(stack, 9, 8)))
    for other in results[1:]:
        assert_same_bits(other, results[0])


@on_each_set
@pytest.mark.parametrize("is_one_hot", [True, False])
@pytest.mark.parametrize("name", CELLS)
def test_the_number_of_threads_changes_no_bit(
    name: str, is_one_hot: bool, set_threads: Callable[[int], None], decoder: NativeStack
) -> None:
    for H, B in ((1, 1), (7, 3), (33, 4)):
        stack = build_rounding(name, H, 2, is_one_hot=is_one_hot)
        inputs, state = draw_inputs(stack, 5, B)
        tensors = draw_decoder(5, B, H, 20)
        set_threads(1)
        one, decoded = with_gradients(stack, inputs, state), decoder_results(decoder.decode, tensors)
        for threads in (2, 3):
            set_threads(threads)
            assert_same_bits(with_gradients(stack, inputs, state), one)
            assert all(map(torch.equal, decoder_results(decoder.decode, tensors), decoded))


@on_each_set
@pytest.mark.parametrize("is_one_hot", [True, False])
@pytest.mark.parametrize("name", CELLS)
def test_a_row_alone_has_the_bits_it_has_among_others(name: str, is_one_hot: bool) -> None:
    for H in (7, 100):
        stack = build_rounding(name, H, 2, is_one_hot=is_one_hot)
        inputs, state = draw_inputs(stack, 4, 20)
        with torch.no_grad():
            outputs, final = stack.run(inputs, state)
            for rows in (slice(5, 6), slice(0, 2), slice(1, 15)):
                some_outputs, some_final = stack.run(inputs[:, rows], tuple(part[:, rows] for part in state))
                assert torch.equal(some_outputs, outputs[:, rows])
                for some, part in zip(some_final, final, strict=True):
                    assert torch.equal(some, part[:, rows])


@on_each_set
@pytest.mark.parametrize("is_one_hot", [True, False])
@pytest.mark.parametrize("name", CELLS)
def test_chunks_with_the_state_carried_have_the_bits_of_the_whole(name: str, is_one_hot: bool) -> None:
    assert_chunks_are_whole(build_rounding(name, 33, 2, is_one_hot=is_one_hot), 4)


# What runs when.


@on_each_set
def test_evaluation_is_in_float32_and_training_is_counted_as_bfloat16() -> None:
    stack, plain = build_rounding("lstm", 33), build_stack("lstm", 33)
    kernels = native.load_kernels()
    assert isinstance(kernels, Kernels)
    inputs, state = draw_inputs(stack, 5, 3)
    before = kernels.num_bfloat16_calls()
    expected, _ = plain.run(inputs, state)
    stack.eval()
    assert torch.equal(stack.run(inputs, state)[0], expected)
    assert kernels.num_bfloat16_calls() == before
    stack.train()
    outputs, _ = stack.run(inputs, state)
    assert not torch.equal(outputs, expected)
    assert kernels.num_bfloat16_calls() == before + 1
    outputs.sum().backward()
    assert kernels.num_bfloat16_calls() == before + 2


@on_each_set
@pytest.mark.parametrize("name", CELLS)
def test_an_empty_window_has_gradients_of_zero(name: str) -> None:
    for is_one_hot, (T, B) in product((True, False), ((0, 3), (4, 0))):
        stack = build_rounding(name, 7, 2, is_one_hot=is_one_hot)
        inputs, state = draw_inputs(stack, T, B)
        outputs, final = stack.run(inputs, state)
        for part, before in zip(final, state, strict=True):
            assert torch.equal(part, before)
        gradients = torch.autograd.grad(outputs.sum(), list(stack.parameters()))
        assert all(gradient.eq(0).all() for gradient in gradients)


@pytest.mark.kernels
def test_an_id_outside_the_vocabulary_is_an_error() -> None:
    stack = build_rounding("gru", 7)
    inputs, state = draw_inputs(stack, 5, 3)
    inputs[2, 1] = V
    with pytest.raises(IndexError):
        stack.run(inputs, state)

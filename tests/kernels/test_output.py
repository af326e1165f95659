"""The output layer with its loss equals a linear layer and cross entropy in float64, a slice at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

import pytest
import torch
from processes import run_code
from stacks import DECODER
from torch import Tensor
from torch.nn.functional import cross_entropy, linear
from torch.testing import assert_close

from charlm.benchmarks.sizes import Sizes
from charlm.networks.building import build_model
from charlm.networks.language_model import CharLM
from charlm.networks.native import NativeOutput
from charlm.settings.model import ModelSettings
from charlm.text.windows import PADDING

pytestmark = pytest.mark.kernels
on_each_set = pytest.mark.usefixtures("instruction_set")
# Rows, units, symbols: alone, odd, just below and above a vector, a panel, a chain of rows and a slice.
SIZES = [
    (1, 1, 2),
    (7, 5, 3),
    (40, 33, 15),
    (127, 16, 17),
    (128, 64, 33),
    (129, 31, 65),
    (300, 48, 100),
    (400, 20, 5000),
]


def draw(rows: int, depth: int, columns: int, *, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return hidden states, weight, bias and targets."""
    generator = torch.Generator().manual_seed(seed)
    floats = (torch.randn(size, generator=generator) for size in ((rows, depth), (columns, depth), (columns,)))
    hidden, weight, bias = (each.requires_grad_() for each in floats)
    return hidden, weight, bias, torch.randint(columns, (rows,), generator=generator)


def kernel_results(given: tuple[Tensor, ...], smoothing: float, *, scale: float = 1.0) -> list[Tensor]:
    """Return both losses and the gradients of a multiple of the first."""
    *floats, targets = given
    rows = floats[0][:, None]  # (T, B = 1, H)
    loss, mean = DECODER.cost(rows, floats[1], floats[2], targets[:, None], smoothing)
    return [loss.detach(), mean, *torch.autograd.grad(loss * scale, floats)]


@on_each_set
@pytest.mark.parametrize(("scale", "is_padded"), [(1.0, False), (0.25, True)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_losses_and_gradients_equal_those_of_torch_in_float64(
    size: tuple[int, int, int], smoothing: float, scale: float, is_padded: bool
) -> None:
    given = draw(*size)
    if is_padded:
        # What follows the end of an item counts for nothing.
        given[3][1::3] = PADDING
    hidden, weight, bias = (each.detach().double().requires_grad_() for each in given[:3])
    logits = linear(hidden, weight, bias)
    loss = cross_entropy(logits, given[3], label_smoothing=smoothing)
    mean = cross_entropy(logits, given[3]).detach()
    expected = [loss.detach(), mean, *torch.autograd.grad(loss * scale, (hidden, weight, bias))]
    for found, exact in zip(kernel_results(given, smoothing, scale=scale), expected, strict=True):
        # Gradients are compared with the largest of their kind: single ones are differences of nearly equal numbers.
        assert_close(found.double(), exact, rtol=2e-5, atol=2e-6 * exact.abs().max().item())


@on_each_set
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_number_of_threads_changes_no_bit(size: tuple[int, int, int], set_threads: Callable[[int], None]) -> None:
    found: list[list[Tensor]] = []
    for threads in (1, 2, 3, 4):
        set_threads(threads)
        found.append(kernel_results(draw(*size), 0.1))
    for results in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(results, found[0], strict=True))


@on_each_set
@pytest.mark.parametrize("columns", [65, 5000])
def test_a_row_has_the_same_bits_in_any_window_and_slice(columns: int) -> None:
    hidden, weight, bias, targets = draw(512, 20, columns)
    _, _, whole, *_ = kernel_results((hidden, weight, bias, targets), 0.1)
    for half in (slice(0, 256), slice(256, 512)):
        part = hidden.detach()[half].requires_grad_()
        _, _, grads, *_ = kernel_results((part, weight, bias, targets[half]), 0.1)
        # The mean of half as many rows: the factor of two is exact.
        assert torch.equal(grads, 2 * whole[half])


@on_each_set
def test_extreme_logits_have_finite_costs_and_what_is_not_a_number_stays_one() -> None:
    hidden, weight, bias, targets = draw(9, 4, 6)
    with torch.no_grad():
        hidden *= 1e4
    loss, mean, *grads = kernel_results((hidden, weight, bias, targets), 0.0)
    assert_close(loss, cross_entropy(linear(hidden, weight, bias), targets).detach())
    assert torch.equal(loss, mean)
    assert all(each.isfinite().all() for each in grads)
    with torch.no_grad():
        hidden[3, 1] = torch.nan
    assert all(each.isnan().any() for each in kernel_results((hidden, weight, bias, targets), 0.0))


@pytest.mark.parametrize("wrong", [6, -1, 2**40])
def test_a_target_outside_the_vocabulary_is_an_error(wrong: int) -> None:
    hidden, weight, bias, targets = draw(9, 4, 6)
    targets[5] = wrong
    with pytest.raises(IndexError):
        kernel_results((hidden, weight, bias, targets), 0.0)


def test_training_takes_this_path_and_evaluation_returns_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    applied = NativeOutput.apply
    monkeypatch.setattr(NativeOutput, "apply", lambda *given: (calls.append(1), applied(*given))[1])
    network = build_model(ModelSettings(hidden_size=7, implementation="native"), 20, seed=0)
    assert isinstance(network, CharLM)
    ids = torch.randint(20, (5, 3), generator=torch.Generator().manual_seed(0))
    state = network.initial_state(3)
    loss, mean, _ = network.window_cost(ids, ids, state, 0.1)
    assert calls == [1]
    logits, _ = network(ids, state)
    assert_close(loss, cross_entropy(logits.flatten(0, 1), ids.flatten(), label_smoothing=0.1))
    assert_close(mean, cross_entropy(logits.flatten(0, 1), ids.flatten()))
    with torch.no_grad():
        assert_close(network.window_cost(ids, ids, state, 0.1)[0], loss)
    assert calls == [1]


MEMORY = """
from charlm.benchmarks.memory import measure_here
print(measure_here({request}))
"""


@pytest.mark.slow
def test_a_windows_logits_are_never_whole_in_memory() -> None:
    sizes = Sizes(hidden_size=32, batch_size=64, seq_len=64, vocab_size=5000)
    request = {"subject": "native", "cell": "gru", "sizes": asdict(sizes), "device": "cpu", "threads": 2}
    ended = run_code(MEMORY.format(request=repr(request)), is_cold=True)
    assert ended.exit_code == 0, ended.stderr
    logits = 4 * sizes.window_chars * sizes.vocab_size  # 78 MiB
    assert json.loads(ended.stdout) < 0.6 * logits

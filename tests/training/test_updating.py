"""The kernels' clipping, Adam and average against torch's, from the same state."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from charlm.networks.building import Network, build_model
from charlm.networks.modes import left_to_kernels
from charlm.settings.model import ModelSettings
from charlm.settings.optimizer import OptimizerSettings
from charlm.training.averaging import Blend
from charlm.training.optimizer import build_optimizer
from charlm.training.updating import NativeUpdate, TorchUpdate, begin_update

pytestmark = pytest.mark.kernels
V = 65
RATE = 5e-3
CLIPPINGS: list[dict[str, Any]] = [
    {"clip_norm": None},
    {"clip_norm": 0.3},
    {"clip_norm": 0.3, "clip_value": 1e-3},
    {"clip_norm": 1e6, "clip_value": 0.02},
]


def ulps_apart(found: Tensor, expected: Tensor, *parts: Tensor) -> float:
    """Return how far numbers are apart, in units of the last place of the largest number that they were made from."""
    largest = torch.stack([each.detach().abs() for each in (found, expected, *parts)]).amax(0)
    return ((found - expected).abs() / (torch.nextafter(largest, torch.tensor(math.inf)) - largest)).max().item()


def build(**model: Any) -> Network:
    return build_model(ModelSettings(**{"hidden_size": 33, "implementation": "native"} | model), V, seed=0)


class Twin:
    """A network with an optimiser and an average."""

    def __init__(self, settings: OptimizerSettings, share: float) -> None:
        self.settings, self.network = settings, build(cell="lstm", learned_state=True)
        self.optimizer = build_optimizer(self.network.parameters(), settings)
        self.blend = Blend([each.detach() * 1.25 for each in self.network.parameters()], share)

    def tensors(self) -> list[tuple[str, Tensor]]:
        """Return the weights, their averages and their moments."""
        found: list[tuple[str, Tensor]] = []
        for parameter, average in zip(self.network.parameters(), self.blend.parameters, strict=True):
            moments = self.optimizer.state[parameter] or {"step": torch.zeros(()), "exp_avg": parameter.detach() * 0}
            found += [("weight", parameter.detach()), ("average", average), *moments.items()]
        return found

    def take_state_of(self, other: Twin) -> None:
        """Become what another one is."""
        self.network.load_state_dict(other.network.state_dict())
        self.optimizer.load_state_dict(copy.deepcopy(other.optimizer.state_dict()))
        self.blend = Blend([average.clone() for average in other.blend.parameters], other.blend.share)

    def receive(self, gradients: list[Tensor | None]) -> None:
        for parameter, gradient in zip(self.network.parameters(), gradients, strict=True):
            parameter.grad = None if gradient is None else gradient.clone()


def draw_gradients(network: Network, generator: torch.Generator, *, has_all: bool) -> list[Tensor | None]:
    """Return gradients of very different sizes; the initial state has none after a window with a carried state."""
    return [
        torch.randn(each.shape, generator=generator) ** 5 * 1e-3 if has_all or not name.startswith("initial") else None
        for name, each in network.named_parameters()
    ]


@pytest.mark.parametrize("clipping", CLIPPINGS, ids=str)
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("method", ["adam", "adamw"])
def test_a_step_is_within_two_units_of_the_last_place_of_torchs(
    method: str, decay: float, clipping: dict[str, Any]
) -> None:
    settings = OptimizerSettings.model_validate({"method": method, "weight_decay": decay, **clipping})
    generator = torch.Generator().manual_seed(0)
    for share in (0.001, 0.75):
        ours, theirs = Twin(settings, share), Twin(settings, share)
        for step in range(4):
            before = [part.clone() for _, part in theirs.tensors()]
            gradients = draw_gradients(theirs.network, generator, has_all=step % 2 == 1)
            ours.receive(gradients)
            theirs.receive(gradients)
            native = begin_update(ours.network, ours.optimizer, settings)
            reference = TorchUpdate(theirs.network, theirs.optimizer, settings)
            assert isinstance(native, NativeUpdate)
            norm = reference.clip().item()
            # torch adds up in float32.
            assert native.clip().item() == pytest.approx(norm, rel=1e-6)
            native.apply(RATE, norm, ours.blend)
            reference.apply(RATE, norm, theirs.blend)
            found, expected = ours.tensors(), theirs.tensors()
            assert [name for name, _ in found] == [name for name, _ in expected]
            is_same_size = len(before) == len(found)
            for place, ((name, one), (_, other)) in enumerate(zip(found, expected, strict=True)):
                parts = (before[place],) if is_same_size else ()
                assert ulps_apart(one, other, *parts) <= 2, (name, step)
            assert native.optimizer.param_groups[0]["lr"] == RATE
            ours.take_state_of(theirs)


def test_moments_begin_with_the_first_gradient_as_torchs_do() -> None:
    twin = Twin(OptimizerSettings(), 0.5)
    generator = torch.Generator().manual_seed(0)
    for has_all in (False, True):
        twin.receive(draw_gradients(twin.network, generator, has_all=has_all))
        begin_update(twin.network, twin.optimizer, twin.settings).apply(RATE, 0.1, twin.blend)
    steps = {
        name: twin.optimizer.state[parameter]["step"].item() for name, parameter in twin.network.named_parameters()
    }
    assert steps == {name: 1.0 if name.startswith("initial") else 2.0 for name in steps}


def test_an_average_takes_in_weights_that_have_no_gradient() -> None:
    twin = Twin(OptimizerSettings(), 0.5)
    twin.receive([None for _ in twin.network.parameters()])
    begin_update(twin.network, twin.optimizer, twin.settings).apply(RATE, 0.0, twin.blend)
    for parameter, average in zip(twin.network.parameters(), twin.blend.parameters, strict=True):
        torch.testing.assert_close(average, parameter.detach() * 1.125)


@pytest.mark.parametrize("size", [1, 15, 16, 4095, 4096, 4097, 100_003])
def test_the_norm_is_that_of_float64(size: int) -> None:
    network = build()
    first = next(iter(network.parameters()))
    first.data = first.grad = torch.randn(size, generator=torch.Generator().manual_seed(size)) * 1e3
    norm = begin_update(network, build_optimizer(network.parameters(), OptimizerSettings()), OptimizerSettings()).clip()
    assert norm.item() == pytest.approx(first.grad.double().norm().item(), rel=1e-7)


def test_the_number_of_threads_changes_no_bit(set_threads: Callable[[int], None]) -> None:
    settings = OptimizerSettings(clip_norm=0.3, clip_value=0.01, weight_decay=0.1)
    found: list[tuple[float, list[Tensor]]] = []
    for threads in (1, 2, 3, 4, 7):
        set_threads(threads)
        twin, generator = Twin(settings, 0.1), torch.Generator().manual_seed(0)
        norm = 0.0
        for _ in range(2):
            twin.receive(draw_gradients(twin.network, generator, has_all=True))
            with left_to_kernels(twin.network):
                update = begin_update(twin.network, twin.optimizer, settings)
                norm = update.clip().item()
                update.apply(RATE, norm, twin.blend)
        found.append((norm, [part for _, part in twin.tensors()]))
    for norm, tensors in found[1:]:
        assert norm == found[0][0]
        assert all(torch.equal(one, other) for one, other in zip(tensors, found[0][1], strict=True))


@pytest.mark.parametrize(
    ("implementation", "method", "is_native"),
    [
        ("native", "adam", True),
        ("native", "adamw", True),
        ("native", "sgd", False),
        ("native", "rmsprop", False),
        ("torch", "adam", False),
        ("reference", "adamw", False),
    ],
)
def test_the_kernels_update_what_they_compute(implementation: str, method: str, is_native: bool) -> None:
    settings = OptimizerSettings.model_validate({"method": method})
    for direction in ("forward", "bidirectional"):
        network = build(implementation=implementation, direction=direction)
        update = begin_update(network, build_optimizer(network.parameters(), settings), settings)
        assert isinstance(update, NativeUpdate if is_native else TorchUpdate)
    double = build(implementation=implementation).double()
    optimizer = build_optimizer(double.parameters(), settings)
    assert isinstance(begin_update(double, optimizer, settings), TorchUpdate)


@pytest.mark.parametrize(("wrong", "place"), list(product([math.inf, math.nan], [0, 4099])))
def test_the_norm_of_a_gradient_that_is_not_finite_is_not_finite(wrong: float, place: int) -> None:
    network = build(hidden_size=64)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    network.get_parameter("recurrent.weight_hh_l0").grad.view(-1)[place] = wrong  # pyright: ignore[reportOptionalMemberAccess]
    optimizer = build_optimizer(network.parameters(), OptimizerSettings())
    assert not math.isfinite(begin_update(network, optimizer, OptimizerSettings()).clip().item())

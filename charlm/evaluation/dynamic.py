"""Dynamic evaluation: the model keeps learning from the text it has already predicted.

The text is read in segments s_1, s_2, ... Each segment is scored before the weights learn from it, so that every
character is predicted only from the text before it. The result is a proper code length, but of a model that adapts,
and is therefore reported separately from the result of the weights as they were trained.

    MS_g = mean over training segments of grad L(s_k)^2
    theta_i = theta_(i-1) - eta grad L(s_i) / (sqrt(MS_g) + epsilon) + lambda R (theta_g - theta_(i-1))
    R = sqrt(MS_g) / mean of all weights' sqrt(MS_g),  lambda R at most 1

theta_g are the trained weights, eta the learning rate, lambda the decay, and L a segment's mean nats per character.
Source: Krause, Kahembwe, Murray and Renals 2018, "Dynamic evaluation of neural sequence models", equations 4 to 6.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from charlm.errors import ConfigError, DivergedError
from charlm.evaluation.figure import Figure, Figures, figures_record
from charlm.evaluation.intervals import in_bits
from charlm.evaluation.reading import Chunk, read_chunks, sum_nats
from charlm.networks.costs import Costs
from charlm.networks.language_model import CharLM
from charlm.text.vocabulary import Ids

# It bounds the step of a weight that hardly ever had a gradient in training, such as a rare character's.
EPSILON = 1e-4
DEFAULT_SEGMENT_CHARS = 20
# Characters of the training split for the gradients' mean squares, and of the validation split for each trial.
STATISTICS_CHARS = 50_000
TUNING_CHARS = 20_000
# These are tried with segments of the default size. With other sizes they are scaled in proportion, because fewer or
# more steps are taken.
LEARNING_RATES = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3)
DECAYS = (1e-3, 1e-2, 5e-2)


@dataclass(frozen=True)
class Adaptation:
    """How fast a model adapts.

    Args:
        learning_rate: eta, the size of each segment's step; 0 leaves the weights unchanged.
        decay: lambda, how strongly the weights are pulled back to the trained ones; 0 never pulls.
        segment_chars: number of characters that are scored, and then learned from, at once.
        Raises:
            ConfigError: if a value is out of range.
    """

    learning_rate: float
    decay: float
    segment_chars: int = DEFAULT_SEGMENT_CHARS

    def __post_init__(self) -> None:
        problems = [
            (
                not 0.0 <= self.learning_rate < math.inf,
                "the learning rate must be a number from 0 upwards",
                self.learning_rate,
            ),
            (not 0.0 <= self.decay < math.inf, "the decay must be a number from 0 upwards", self.decay),
            (self.segment_chars < 1, "a segment must have at least 1 character", self.segment_chars),
        ]
        if wrong := [f"{rule}, got {value}" for is_wrong, rule, value in problems if is_wrong]:
            raise ConfigError("\n".join(wrong))


@dataclass(frozen=True)
class DynamicFigure:
    """The result of dynamic evaluation on a text.

    Args:
        figure: the result; it must never be taken for that of the model as it was trained.
        interval: the 95 % interval of resampled texts, in nats per character; None for a short text.
        adaptation: how fast the model learned.
        tuned_chars: number of validation characters predicted to choose the rates; 0 if both rates were given.
        is_tuned_on_itself: whether the text is the validation split, on which the rates were chosen.
    """

    figure: Figure
    interval: tuple[float, float] | None
    adaptation: Adaptation
    tuned_chars: int
    is_tuned_on_itself: bool

    def saving(self, static: Figure) -> float:
        """Return the share of a static result's nats that learning saves; it is below 0 if learning costs more."""
        return 1 - self.figure.nats / static.nats

    def as_record(self) -> dict[str, object]:
        """Return JSON values."""
        return {
            "nats": self.figure.nats,
            **figures_record(Figures(self.figure)),
            "bpc_interval": in_bits(self.interval),
            **asdict(self.adaptation),
            "tuned_chars": self.tuned_chars,
            "is_tuned_on_itself": self.is_tuned_on_itself,
        }


def measure_gradients(
    network: CharLM, train: Ids, *, segment_chars: int, report: Callable[[int], None] | None = None
) -> list[Tensor]:
    """Return the root mean square of each weight's gradient over the training split's segments, read as one stream.

    Args:
        network: a trained model, which is not changed.
        train: the training split in the model's reading order, (N,), at least two characters.
        segment_chars: number of characters in a segment.
        report: called after each segment with the number of characters done.
    Returns:
        One tensor for each of the network's parameters, in their order and with their shapes.
    """
    learner = _copy(network)
    weights = list(learner.parameters())
    squares = [torch.zeros_like(weight) for weight in weights]
    num_segments = 0
    with torch.enable_grad():
        for segment in read_chunks(learner, train[:, None], segment_chars):
            gradients = _gradients(segment, weights, segment_chars)
            num_segments += 1
            for square, gradient in zip(squares, gradients, strict=True):
                square += gradient**2
            if report:
                report(segment.end)
    return [(square / num_segments).sqrt() for square in squares]


class Learner:
    """A copy of a network, whose weights learn from segments.

    Args:
        network: a trained model, which is not changed.
        roots: the gradients' root mean squares; see `measure_gradients`.
        adaptation: how fast to learn.

    Attributes:
        network: the copy.
    """

    def __init__(self, network: CharLM, roots: Sequence[Tensor], adaptation: Adaptation) -> None:
        self.network, self._segment_chars = _copy(network), adaptation.segment_chars
        self._weights, self._trained = list(self.network.parameters()), list(network.parameters())
        mean = torch.cat([root.flatten() for root in roots]).mean().clamp(min=torch.finfo(torch.float32).tiny)
        self._pulls = [(adaptation.decay * root / mean).clamp(max=1.0) for root in roots]
        self._rates = [adaptation.learning_rate / (root + EPSILON) for root in roots]

    def learn(self, segment: Chunk) -> None:
        """Learn from a segment that the network has predicted, with gradients enabled."""
        gradients = _gradients(segment, self._weights, self._segment_chars)
        changes = zip(self._weights, self._trained, gradients, self._pulls, self._rates, strict=True)
        with torch.no_grad():
            for weight, first, gradient, pull, rate in changes:
                # Both terms start from theta_(i-1), because the gradient step does not use the weight.
                weight.lerp_(first, pull).addcmul_(gradient, rate, value=-1.0)


def measure_dynamically(
    network: CharLM,
    ids: Ids,
    roots: Sequence[Tensor],
    adaptation: Adaptation,
    *,
    report: Callable[[int], None] | None = None,
    observe: Callable[[Costs], None] | None = None,
) -> Figure:
    """Read a text once, learning from it along the way.

    Args:
        network: a trained model, which is not changed.
        ids: the text in the model's reading order, (N,), at least two characters.
        roots: the gradients' root mean squares; see `measure_gradients`.
        adaptation: how fast to learn.
        report: called after each segment with the number of characters done.
        observe: called with the cost of each character of a segment in nats, (n,), in order.
        Raises:
            DivergedError: if the loss is no longer finite.
    """
    assert len(ids) >= 2
    learner = Learner(network, roots, adaptation)
    nats, num_predicted = 0.0, len(ids) - 1
    with torch.enable_grad():
        for segment in read_chunks(learner.network, ids[:, None], adaptation.segment_chars):
            # The segment's cost is final here, before any weight learns from it.
            nats += sum_nats(segment.readouts.forward.detach(), segment.targets, observe)
            if not math.isfinite(nats):
                raise DivergedError(_divergence(segment.end, adaptation))
            learner.learn(segment)
            if report:
                report(segment.end)
    return Figure(nats, num_predicted)


def num_trials(learning_rate: float | None, decay: float | None) -> int:
    """Return how many times `tune_adaptation` reads its text."""
    return len(_values(learning_rate, LEARNING_RATES)) * len(_values(decay, DECAYS))


def tune_adaptation(
    network: CharLM,
    ids: Ids,
    roots: Sequence[Tensor],
    *,
    learning_rate: float | None,
    decay: float | None,
    segment_chars: int,
    report: Callable[[int], None] | None = None,
) -> Adaptation:
    """Try each pair of LEARNING_RATES and DECAYS and return the one with the lowest cost on a text.

    Args:
        network: a trained model, which is not changed.
        ids: the beginning of the validation split in the model's reading order, (N,).
        roots: the gradients' root mean squares.
        learning_rate: the only one to try; None tries them all.
        decay: the only one to try; None tries them all.
        segment_chars: number of characters in a segment.
        report: called with the number of characters done, over all trials.
        Raises:
            DivergedError: if the loss of every trial is no longer finite.
    """
    scale = segment_chars / DEFAULT_SEGMENT_CHARS
    learning_rates = _values(learning_rate, [scale * rate for rate in LEARNING_RATES])
    decays = _values(decay, [scale * rate for rate in DECAYS])
    costs: dict[Adaptation, float] = {}
    divergence = DivergedError()
    for trial, (rate, pull) in enumerate(product(learning_rates, decays)):
        adaptation = Adaptation(rate, pull, segment_chars)
        done = trial * (len(ids) - 1)
        try:
            figure = measure_dynamically(network, ids, roots, adaptation, report=_moved_on(report, done))
        except DivergedError as error:
            divergence = error
        else:
            costs[adaptation] = figure.nats
    if not costs:
        raise divergence
    return min(costs, key=costs.__getitem__)


def _copy(network: CharLM) -> CharLM:
    """Return a copy of a network whose weights may be changed, without dropout."""
    return copy.deepcopy(network).eval().requires_grad_(True)


def _gradients(segment: Chunk, weights: Sequence[Tensor], segment_chars: int) -> tuple[Tensor, ...]:
    """Return the gradients of a segment's nats divided by the number of characters of a full segment."""
    logits, targets = segment.readouts.forward, segment.targets
    loss = cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum") / segment_chars
    # A learned initial state does not affect the loss after the first segment, so it may have no gradient.
    return torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)


def _values(given: float | None, tried: Sequence[float]) -> Sequence[float]:
    return tried if given is None else [given]


def _moved_on(report: Callable[[int], None] | None, before: int) -> Callable[[int], None]:
    def advance(done: int) -> None:
        if report:
            report(before + done)

    return advance


def _divergence(end: int, adaptation: Adaptation) -> str:
    return (
        f"the loss is no longer finite after {end:,} characters of dynamic evaluation with learning rate "
        f"{adaptation.learning_rate:g} and decay {adaptation.decay:g}: give a lower --learning-rate"
    )

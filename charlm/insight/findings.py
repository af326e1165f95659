"""All that was found inside one network, for those who print and draw it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from charlm.insight.gates import GateShares, TimeConstants
from charlm.insight.gradients import GradientsByLag
from charlm.insight.jacobians import LayerJacobians, Spectrum
from charlm.insight.memory import MemoryUsed
from charlm.insight.neurons import Neuron
from charlm.insight.samples import Estimate


@dataclass(frozen=True)
class Clipping:
    """How often the gradient of a training step was clipped, as far as the run recorded it.

    Args:
        num_recorded: at how many steps the norm was recorded, before clipping: the last one before each evaluation.
        clip_norm: the largest norm that a step may have; None if the run does not clip by the norm.
        share: the share of these steps whose norm was larger; None if the run does not clip by the norm.
        median: the median of the norms.
        largest: the largest of the norms.
    """

    num_recorded: int
    clip_norm: float | None
    share: float | None
    median: float
    largest: float


def clipping_of(norms: Sequence[float], clip_norm: float | None) -> Clipping | None:
    """Count how many gradient norms are above the one that is allowed; None if there are no norms."""
    if not norms:
        return None
    share = None if clip_norm is None else sum(norm > clip_norm for norm in norms) / len(norms)
    return Clipping(len(norms), clip_norm, share, median(norms), max(norms))


@dataclass(frozen=True)
class Reading:
    """The text that a network read: its name, such as `the validation split`, and its number of characters."""

    name: str
    num_chars: int


@dataclass(frozen=True)
class NgramCost:
    """What a character costs under n-grams that know as many characters before it as the length says, in nats."""

    length: int
    nats: Estimate


@dataclass(frozen=True)
class Findings:
    """What was found inside one network; None for what was not asked for or has no text.

    Args:
        run: the name of the run.
        step: the step of the checkpoint; 0 for the network before its training.
        network: the network in a few words, such as `LSTM, 2 layers of 256 units`.
        half: the half of a bidirectional model that was inspected; None for other models.
        reading: the text that it read; None if there was none.
        gradients: the gradient norms by lag.
        jacobians: the singular values of the products of Jacobians of each layer.
        spectra: the spectra of the recurrent weights.
        clipping: how often training steps were clipped.
        memory: what characters cost after few and many characters.
        ngrams: what the same characters cost under n-grams with contexts of the same lengths, fitted on the training
            split; empty if that is not available, or if it is what was read.
        gates: how often the gates of each layer are shut and open.
        neurons: the units that follow features of the text best.
        time_constants: how long what a unit holds lasts; empty for a simple RNN.
    """

    run: str
    step: int
    network: str
    half: str | None = None
    reading: Reading | None = None
    gradients: GradientsByLag | None = None
    jacobians: tuple[LayerJacobians, ...] | None = None
    spectra: tuple[Spectrum, ...] | None = None
    clipping: Clipping | None = None
    memory: MemoryUsed | None = None
    ngrams: tuple[NgramCost, ...] = ()
    gates: tuple[GateShares, ...] | None = None
    time_constants: tuple[TimeConstants, ...] | None = None
    neurons: tuple[Neuron, ...] | None = None

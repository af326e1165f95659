"""A model that learns from the file that it codes, in both directions alike: dynamic evaluation as a coder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from charlm.coding.coded_file import PROBE_BYTES
from charlm.coding.packing import DamagedError
from charlm.errors import ConfigError
from charlm.evaluation.dynamic import Adaptation
from charlm.evaluation.learning import LearningPredictor
from charlm.library.adapting import prepare_learning
from charlm.library.measured_texts import read_known_parts
from charlm.library.models import Model
from charlm.networks.language_model import CharLM
from charlm.networks.modes import single_threaded
from charlm.networks.torch_predictor import writing_half

PURPOSE = "coding while learning"
# The most digits that the length of a segment may have.
MAX_DIGITS = 12


@dataclass(frozen=True)
class LearningCoder:
    """A network, and how it learns.

    Args:
        network: the network as it was trained.
        roots: the root mean squares of its gradients on the training split.
        adaptation: how fast it learns.
    """

    network: CharLM
    roots: list[Tensor]
    adaptation: Adaptation

    def predictor(self) -> LearningPredictor:
        """Return a predictor that has not learned anything yet."""
        return LearningPredictor(self.network, self.roots, self.adaptation)

    def probe(self, static: bytes) -> bytes:
        """Return the probe of the network together with the gradients, which must be the same to the last bit too."""
        digest = hashlib.sha256(static)
        for root in self.roots:
            digest.update(root.numpy().tobytes())
        return digest.digest()[:PROBE_BYTES]


def learning_coder(
    model: Model,
    *,
    learning_rate: float | None = None,
    decay: float | None = None,
    segment_chars: int,
    report: Callable[[int, int], None] | None = None,
) -> LearningCoder:
    """Return a coder that learns; see `evaluate_dynamically`, whose arguments these are.

    Raises:
        ConfigError: for a rate out of range, and for a model of items.
        TextError: for a corpus that is missing or has changed: the gradients come from the training split.
    """
    network = writing_half(model.network)
    # Leaky models are refused before.
    assert isinstance(network, CharLM)
    parts = read_known_parts(model, PURPOSE)
    with single_threaded():
        prepared = prepare_learning(
            model,
            network,
            parts,
            learning_rate=learning_rate,
            decay=decay,
            segment_chars=segment_chars,
            report=report,
        )
    return LearningCoder(network, prepared.roots, prepared.adaptation)


def packed_rates(adaptation: Adaptation) -> str:
    """Return how fast a model learns as a short text that gives the same numbers again."""
    return f"{adaptation.learning_rate!r} {adaptation.decay!r} {adaptation.segment_chars}"


def unpacked_rates(text: str) -> Adaptation:
    """Return what `packed_rates` was given.

    Raises:
        DamagedError: for any other text.
    """
    try:
        learning_rate, decay, segment_chars = text.split(" ")
        return Adaptation(float(learning_rate), float(decay), int(segment_chars[:MAX_DIGITS]))
    except (ValueError, ConfigError) as error:
        raise DamagedError("the rates in it are none") from error

"""Give a trained network symbols that it has not seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from charlm.settings.model import ModelSettings

Array = npt.NDArray[np.float32]
# The largest share of the probability that all new symbols together get, whatever was read before.
SHARE = 0.01
OUTPUT_BIASES = ("decoder.bias", "both_bias")


def extend_weights(
    weights: Mapping[str, Array], model: ModelSettings, positions: Sequence[int], vocab_size: int
) -> dict[str, Array]:
    """Return the weights of the same network with a larger vocabulary.

    A new symbol is read as the mean of the old ones: its embedding, or its column of the input weights, is their mean.
    Its output weights and bias are the means of the old ones too, so that its logit is the mean of theirs, in every
    context; to this bias, log(SHARE * V / n) is added, with V old and n new symbols. By Jensen's inequality V times
    exp(mean logit) is at most the sum of exp(logit), so the n new symbols together get at most SHARE of the
    probability, and the old ones keep at least 1 - SHARE of theirs: at most 0.015 bits a character.

    Args:
        weights: the parameters by name.
        model: the network's settings.
        positions: the new id of each old symbol, (V,).
        vocab_size: the new number of symbols.
    """
    num_new = vocab_size - len(positions)
    if num_new == 0:
        return dict(weights)
    extended: dict[str, Array] = {}
    for name, weight in weights.items():
        axis = _symbol_axis(name, model)
        if axis is None:
            extended[name] = weight
            continue
        fill = weight.mean(axis, keepdims=True, dtype=np.float64)
        if name.endswith(OUTPUT_BIASES):
            fill = fill + math.log(SHARE * len(positions) / num_new)
        shape = [vocab_size if each == axis else size for each, size in enumerate(weight.shape)]
        extended[name] = np.broadcast_to(fill, shape).astype(weight.dtype)
        extended[name][(slice(None),) * axis + (positions,)] = weight
    return extended


def _symbol_axis(name: str, model: ModelSettings) -> int | None:
    """Return the axis of a parameter that counts symbols, or None if it has none."""
    if name.endswith(("embedding.weight", "decoder.weight", *OUTPUT_BIASES)):
        return 0
    return 1 if model.is_one_hot and name.endswith("recurrent.weight_ih_l0") else None

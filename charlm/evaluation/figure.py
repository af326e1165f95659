"""The figure: how well a model predicts a text, defined by one pass with the state carried from first to last."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from charlm.networks.language_model import CharLM
from charlm.text.vocabulary import Ids

# How many characters run at once: a choice of speed, the state is carried and the figure stays the same.
CHUNK_CHARS = 2048


@dataclass(frozen=True)
class Figure:
    """Summed nats over counted characters; every rate is derived from these two.

    Args:
        nats: total negative log-likelihood.
        num_predicted: characters predicted, one fewer than the text has.
    """

    nats: float
    num_predicted: int

    @property
    def nats_per_char(self) -> float:
        """Mean negative log-likelihood of a character, nats."""
        return self.nats / self.num_predicted

    @property
    def bits_per_char(self) -> float:
        """The same in bits."""
        return self.nats_per_char / math.log(2)

    @property
    def perplexity(self) -> float:
        """exp(nats per character); infinite where that overflows."""
        return math.exp(self.nats_per_char) if self.nats_per_char < 700 else math.inf


def evaluate(
    network: CharLM,
    ids: Ids,
    *,
    max_chars: int | None = None,
    chunk_chars: int = CHUNK_CHARS,
    report: Callable[[int], None] | None = None,
) -> Figure:
    """Read a text once as one stream and add up what each of its characters but the first costs.

    Args:
        network: the model; its training mode is as before afterwards.
        ids: the text, (N,), at least two characters.
        max_chars: read only the first so many.
        chunk_chars: characters run at once.
        report: called with the number of characters done, after each chunk.
    """
    assert len(ids) >= 2
    num_predicted = min(len(ids), max_chars or len(ids)) - 1
    device = network.decoder.weight.device
    was_training = network.training
    network.eval()
    nats = 0.0
    with torch.inference_mode():
        state = network.zero_state(batch_size=1)
        for start in range(0, num_predicted, chunk_chars):
            end = min(start + chunk_chars, num_predicted)
            text = torch.from_numpy(ids[start : end + 1].astype(np.int64)).to(device)
            logits, state = network(text[:-1, None], state)  # (T, 1, V)
            nats += cross_entropy(logits[:, 0], text[1:], reduction="none").double().sum().item()
            if report:
                report(end)
    network.train(was_training)
    return Figure(nats, num_predicted)

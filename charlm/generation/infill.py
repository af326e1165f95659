"""Filling a gap between a prefix and a suffix: a first draft by the forward half, then Gibbs passes with both."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from charlm.errors import ConfigError
from charlm.generation.filters import PLAIN, Filters
from charlm.generation.sampling import BLOCK_ROWS, draw_ids, read_prefix, sample_block, uniform_draws
from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.gibbs import Surroundings, sweep_gap
from charlm.text.vocabulary import Ids, Vocabulary


def fill_gap(
    network: BidirectionalLM,
    vocabulary: Vocabulary,
    prefix: Ids,
    suffix: Ids,
    *,
    length: int,
    num_samples: int = 1,
    passes: int = 20,
    seed: int = 0,
    filters: Filters = PLAIN,
) -> Iterator[str]:
    """Yield fillings of a gap, each of exactly `length` characters.

    Args:
        network: the model.
        vocabulary: its symbols; the unknown symbol is never drawn.
        prefix: at least one id before the gap.
        suffix: at least one id after it.
        length: characters in the gap.
        num_samples: how many fillings; sample k of a seed is the same however many are asked for.
        passes: Gibbs passes after the draft; none leaves what the forward half wrote.
        seed: of the draws.
        filters: what the draws are taken from.
    Raises:
        ConfigError: for a gap without a character.
    """
    if length < 1:
        raise ConfigError(f"a gap has at least one character, got a length of {length}")
    network.eval()
    for first in range(0, num_samples, BLOCK_ROWS):
        gap = _fill_block(
            network, vocabulary, prefix, suffix, length=length, passes=passes, seed=seed, first=first, filters=filters
        )
        for row in gap.T[: num_samples - first]:
            yield vocabulary.decode(row.numpy())


def _fill_block(
    network: BidirectionalLM,
    vocabulary: Vocabulary,
    prefix: Ids,
    suffix: Ids,
    *,
    length: int,
    passes: int,
    seed: int,
    first: int,
    filters: Filters,
) -> Tensor:
    """Fill BLOCK_ROWS gaps, (length, BLOCK_ROWS)."""
    draws = uniform_draws(seed, first)
    block = sample_block(network.forward_half, vocabulary, prefix, draws=draws, filters=filters)
    draft = np.stack([ids for ids, _ in zip(block, range(length), strict=False)])
    ahead, state = read_prefix(network.forward_half, prefix)
    behind, backward_state = read_prefix(network.backward_half, suffix[::-1])
    sides = Surroundings(ahead, state, behind, backward_state)

    def choose(position: int, logits: Tensor) -> Tensor:
        del position
        return torch.from_numpy(draw_ids(logits, next(draws), vocabulary, filters)).to(logits.device)

    with torch.inference_mode():
        gap = torch.from_numpy(draft).to(ahead.device)
        for _ in range(passes):
            gap = sweep_gap(network, gap, sides, choose)
    return gap.cpu()

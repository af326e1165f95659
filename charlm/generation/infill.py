"""Fill a gap between a prefix and a suffix: the forward half drafts, then Gibbs passes revise with both halves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from charlm.errors import ConfigError
from charlm.generation.draws import draw_ids, uniform_draws
from charlm.generation.filters import PLAIN, Filters
from charlm.generation.session import BLOCK_ROWS, PREFIX_CHARS_AT_ONCE, Session
from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.gibbs import Surroundings, sweep_gap
from charlm.networks.inputs import as_tensor
from charlm.networks.language_model import CharLM
from charlm.networks.recurrent import State
from charlm.networks.torch_predictor import TorchPredictor
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
    """Yield fillings of a gap, each exactly `length` characters long.

    Args:
        network: the model.
        vocabulary: the model's symbols; the unknown symbol is never drawn.
        prefix: at least one id before the gap.
        suffix: at least one id after the gap.
        length: number of characters in the gap.
        num_samples: number of fillings; sample k of a seed is the same however many are requested.
        passes: number of Gibbs passes after the draft; 0 returns what the forward half wrote.
        seed: random seed for sampling.
        filters: applied to each distribution before drawing from it.
        Raises:
            ConfigError: if the length is below 1.
    """
    if length < 1:
        raise ConfigError(f"a gap must have at least one character, got a length of {length}")
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
    """Return the fillings of BLOCK_ROWS gaps, (length, BLOCK_ROWS)."""
    session, samples = Session(TorchPredictor(network.forward_half), vocabulary), range(first, first + BLOCK_ROWS)
    pieces = session.write(session.begin(prefix, samples), length=length, seed=seed, filters=filters)
    draft = np.concatenate([ids for ids, _ in pieces])
    # The first number after the draft is left out: versions before drew a character with it that was not used.
    draws = uniform_draws(seed, samples, start=length + 1)
    ahead, state = _read_side(network.forward_half, prefix)
    behind, backward_state = _read_side(network.backward_half, suffix[::-1])
    sides = Surroundings(ahead, state, behind, backward_state)

    def choose(position: int, logits: Tensor) -> Tensor:
        del position
        return torch.from_numpy(draw_ids(logits.cpu().numpy(), next(draws), vocabulary, filters)).to(logits.device)

    with torch.inference_mode():
        gap = torch.from_numpy(draft).to(ahead.device)
        for _ in range(passes):
            gap = sweep_gap(network, gap, sides, choose)
    return gap.cpu()


def _read_side(network: CharLM, ids: Ids) -> tuple[Tensor, State]:
    """Return the last layer's output after the text on one side, (BLOCK_ROWS, H), and the state there."""
    with torch.inference_mode():
        state = network.initial_state(BLOCK_ROWS)
        hidden = state[0]
        for start in range(0, len(ids), PREFIX_CHARS_AT_ONCE):
            rows = as_tensor(ids[start : start + PREFIX_CHARS_AT_ONCE, None], network).expand(-1, BLOCK_ROWS)
            hidden, state = network.read(rows, state)  # (T, rows, H)
    return hidden[-1], state

"""One Gibbs pass over a gap: each of its characters from those on both its sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.recurrent import State


@dataclass(frozen=True)
class Surroundings:
    """What lies on both sides of B gaps, read.

    Args:
        ahead: last layer of the forward half after the left side, (B, H).
        state: the forward half's state there.
        behind: last layer of the backward half after the right side, (B, H).
        backward_state: the backward half's state there.
    """

    ahead: Tensor
    state: State
    behind: Tensor
    backward_state: State


def sweep_gap(
    network: BidirectionalLM, gap: Tensor, sides: Surroundings, choose: Callable[[int, Tensor], Tensor]
) -> Tensor:
    """Visit a gap's characters from left to right and replace each by what is chosen for it.

    Args:
        network: the model.
        gap: (N, B), int64.
        sides: what is known.
        choose: given a position and its logits (B, V), from new characters before it and old ones after it, return the
            new ids there, (B,).
    Returns:
        The new gap, (N, B).
    """
    behind, _ = network.backward_half.read(gap.flip(0), sides.backward_state)  # (N, B, H)
    # behind[n] has read the right side and gap[n..]; position n may look at behind[n + 1] alone.
    behind = torch.cat([sides.behind[None], behind]).flip(0)  # (N + 1, B, H)
    ahead, state = sides.ahead, sides.state
    chosen: list[Tensor] = []
    for position in range(len(gap)):
        logits = (
            linear(ahead, network.forward_half.decoder.weight)
            + linear(behind[position + 1], network.backward_half.decoder.weight)
            + network.both_bias
        )  # (B, V)
        ids = choose(position, logits)
        chosen.append(ids)
        hidden, state = network.forward_half.read(ids[None], state)
        ahead = hidden[-1]
    return torch.stack(chosen)

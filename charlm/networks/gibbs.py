"""One Gibbs pass over a gap: each of its characters is drawn from those on both sides of it."""

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
    """The text on both sides of B gaps, as the model has read it.

    Args:
        ahead: output of the forward half's last layer after the left side, (B, H).
        state: the forward half's state there.
        behind: output of the backward half's last layer after the right side, (B, H).
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
        sides: the text around the gap.
        choose: takes a position and its logits (B, V), which come from the new characters before it and the old ones
            after it, and returns the new ids there, (B,).
    Returns:
        The new gap, (N, B).
    """
    behind, _ = network.backward_half.read(gap.flip(0), sides.backward_state)  # (N, B, H)
    # behind[n] has read the right side and gap[n..], so position n may only look at behind[n + 1].
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
        hidden, state = network.forward_half.step(ids[None], state)
        ahead = hidden[-1]
    return torch.stack(chosen)

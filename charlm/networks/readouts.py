"""What a network predicts about one window, for every direction."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from charlm.networks.recurrent import State


@dataclass(frozen=True)
class Readouts:
    """Logits over one window, and the state from which reading continues.

    Args:
        forward: (T, B, V), predicts targets[t] from inputs[..t].
        state: the forward stack's state after the window.
        backward: (T, B, V), predicts inputs[t] from targets[t..]; None without a backward stack.
        both: (T, B, V), predicts targets[t] from inputs[..t] and targets[t + 1..]; None without a backward stack.
    """

    forward: Tensor
    state: State
    backward: Tensor | None = None
    both: Tensor | None = None

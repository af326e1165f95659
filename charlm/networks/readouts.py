"""What a network says about one window, whatever its direction."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from charlm.networks.recurrent import State


@dataclass(frozen=True)
class Readouts:
    """Logits over one window, and the state that reading goes on from.

    Args:
        forward: (T, B, V), for targets[t] from inputs[..t].
        state: of the forward stack after the window.
        backward: (T, B, V), for inputs[t] from targets[t..]; None without a backward stack.
        both: (T, B, V), for targets[t] from inputs[..t] and targets[t + 1..]; likewise.
    """

    forward: Tensor
    state: State
    backward: Tensor | None = None
    both: Tensor | None = None

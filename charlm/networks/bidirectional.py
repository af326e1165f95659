"""The bidirectional model, which does not read its own target.

Two causal models read the same text, one from each end, and are separate up to the output layer. The textbook joins
their states, H_t = (H_t forward, H_t backward), O_t = H_t W + b; with W split into W_f and W_b this is

    logits_t = h_forward(x_1 .. x_{t-1}) W_f + h_backward(x_T .. x_{t+1}) W_b + b

and the only thing that matters is which states are joined: those on either side of t, neither of which has read x_t.
Layers in between are not joined, because a neighbour's state would carry x_t back. Each readout (forward alone,
backward alone, both) has its own bias: the bias of both is not a sum, or character frequencies would count twice.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from charlm.networks.implementations import Chosen
from charlm.networks.language_model import CharLM
from charlm.networks.readouts import Readouts
from charlm.networks.recurrent import State, last_outputs
from charlm.settings.model import ModelSettings


class BidirectionalLM(nn.Module):
    """A forward and a backward causal model, and what they predict together.

    Args:
        model: the settings of each half: H units mean H forward and H backward.
        vocab_size: V.
        implementation: the implementation of each half.
    """

    def __init__(self, model: ModelSettings, vocab_size: int, implementation: Chosen) -> None:
        super().__init__()
        self.forward_half = CharLM(model, vocab_size, implementation)
        self.backward_half = CharLM(model, vocab_size, implementation)
        self.both_bias = nn.Parameter(torch.zeros(vocab_size))

    @property
    def vocab_size(self) -> int:
        """V."""
        return self.forward_half.vocab_size

    def initial_state(self, batch_size: int) -> State:
        """Return the forward half's state before any character; the backward half has one of the same shape."""
        return self.forward_half.initial_state(batch_size)

    def forward(
        self, inputs: Tensor, targets: Tensor, state: State | None = None, backward_state: State | None = None
    ) -> tuple[Readouts, State]:
        """Read a window from both ends.

        Args:
            inputs: (T, B), int64.
            targets: the inputs shifted by one character, (T, B).
            state: the forward half's state before inputs[0]; None means the initial one.
            backward_state: the backward half's state after everything beyond the window, read from its end; None if
                there is nothing beyond it.
        Returns:
            The three readouts, and the backward half's state after targets[0].
        """
        state = self.initial_state(inputs.shape[1]) if state is None else state
        if backward_state is None:
            backward_state = self.backward_half.initial_state(inputs.shape[1])
        ahead, state = self.forward_half.read(inputs, state)  # (T, B, H)
        behind, new_backward_state = self.backward_half.read(targets.flip(0), backward_state)
        # behind[t] has read targets[t..]; behind[T] has read nothing of the window.
        nothing_yet = last_outputs(self.backward_half.model, backward_state).unsqueeze(0)
        behind = torch.cat([nothing_yet, behind]).flip(0)  # (T + 1, B, H)
        from_ahead = self.forward_half.decode(ahead, has_bias=False)  # (T, B, V)
        from_behind = self.backward_half.decode(behind, has_bias=False)  # (T + 1, B, V)
        readouts = Readouts(
            forward=from_ahead + self.forward_half.decoder.bias,
            state=state,
            backward=from_behind[:-1] + self.backward_half.decoder.bias,
            both=from_ahead + from_behind[1:] + self.both_bias,
        )
        return readouts, new_backward_state

    def read_window(self, inputs: Tensor, targets: Tensor, beyond: Tensor, state: State) -> Readouts:
        """Read a training window; the backward half starts afresh and first reads `beyond`, (lookahead, B)."""
        backward_state = self.backward_half.initial_state(inputs.shape[1])
        if len(beyond):
            _, backward_state = self.backward_half.read(beyond.flip(0), backward_state)
        readouts, _ = self(inputs, targets, state, backward_state)
        return readouts

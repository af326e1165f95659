"""The classic loop that ours is compared with: what a notebook does with torch.nn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from charlm.benchmarks.sizes import Sizes
from charlm.settings.model import Cell
from charlm.text.windows import Window

CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class ClassicLM(nn.Module):
    """torch.nn's RNN, GRU or LSTM on one-hot vectors, and a linear output layer.

    Args:
        cell: the recurrent cell.
        sizes: the sizes of the network.
        is_autocast: whether torch's autocast computes it in bfloat16.
    """

    def __init__(self, cell: Cell, sizes: Sizes, *, is_autocast: bool = False) -> None:
        super().__init__()
        self.is_autocast = is_autocast
        self.vocab_size = sizes.vocab_size
        self.recurrent = CELLS[cell](sizes.vocab_size, sizes.hidden_size, sizes.num_layers)
        self.decoder = nn.Linear(sizes.hidden_size, sizes.vocab_size)

    def forward(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Return logits (T, B, V) for ids (T, B), and torch.nn's state after them; a state of None means zeros."""
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=self.is_autocast):
            hidden, state = self.recurrent(one_hot(ids, self.vocab_size).float(), state)  # (T, B, H)
            return self.decoder(hidden).float(), state  # (T, B, V)


def classic_training_steps(
    model: ClassicLM, optimizer: torch.optim.Optimizer, window: Window, device: torch.device
) -> Iterator[None]:
    """Take a whole training step for each item asked for, and carry the state from one to the next."""
    state: Any = None
    while True:
        inputs = torch.from_numpy(window.inputs.astype(np.int64)).to(device)
        targets = torch.from_numpy(window.targets.astype(np.int64)).to(device)
        optimizer.zero_grad()
        logits, state = model(inputs, state)
        state = state.detach() if isinstance(state, Tensor) else tuple(part.detach() for part in state)
        loss = cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss.item()
        yield


def classic_stream(model: ClassicLM, characters: str, num_chars: int, device: torch.device) -> Iterator[str]:
    """Write without end, one character at a time; each item is the next num_chars of them."""
    ids, state = torch.zeros(1, 1, dtype=torch.int64, device=device), None
    while True:
        text = ""
        # This must not enclose the yield, or the caller would lose its gradients.
        with torch.no_grad():
            for _ in range(num_chars):
                logits, state = model(ids, state)
                ids = torch.multinomial(torch.softmax(logits[-1], dim=-1), 1)  # (1, 1)
                text += characters[int(ids.item())]
        yield text

"""The classic cautionary example: torch.nn's own bidirectional layers, trained to predict the next character.

It reads its own target: the backward half has already seen x_{t+1} when x_{t+1} is to be predicted. Its training
perplexity approaches 1 and its samples are junk. It is here as a lesson, and wherever its results are printed, a
warning says so.
"""

from __future__ import annotations

from torch import Tensor, nn

from charlm.networks.readouts import Readouts
from charlm.networks.recurrent import State, zero_state
from charlm.networks.torch_nn import one_hot
from charlm.settings.model import ModelSettings


class LeakyLM(nn.Module):
    """torch.nn's bidirectional layers with one output layer on both states, as the textbook draws them.

    Args:
        model: the settings; H units in each direction.
        vocab_size: V.
    """

    def __init__(self, model: ModelSettings, vocab_size: int) -> None:
        super().__init__()
        self.model = model
        self.vocab_size = vocab_size
        self.embedding = nn.Embedding(vocab_size, model.embedding_size) if model.embedding_size else None
        options = {"nonlinearity": model.nonlinearity} if model.cell == "rnn" else {}
        self.recurrent = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[model.cell](
            model.embedding_size or vocab_size,
            model.hidden_size,
            model.num_layers,
            dropout=model.dropout,
            bidirectional=True,
            **options,
        )
        self.decoder = nn.Linear(2 * model.hidden_size, vocab_size)

    def read(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the joined hidden states of both directions, (T, B, 2H), and their state, each (2L, B, H)."""
        inputs = self.embedding(ids) if self.embedding is not None else one_hot(ids, self.vocab_size, state[0].dtype)
        hidden, new_state = self.recurrent(inputs, state if len(state) == 2 else state[0])
        return hidden, new_state if len(state) == 2 else (new_state,)

    def forward(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return logits (T, B, V) that have seen the whole window, and the state after it.

        Args:
            ids: (T, B), int64.
            state: the state before the window; None means the initial one.
        """
        hidden, state = self.read(ids, self.initial_state(ids.shape[1]) if state is None else state)
        return self.decoder(hidden), state  # (T, B, V)

    def read_window(self, inputs: Tensor, targets: Tensor, beyond: Tensor, state: State) -> Readouts:  # noqa: ARG002
        """Read a training window, targets included."""
        return Readouts(*self.forward(inputs, state))

    def initial_state(self, batch_size: int) -> State:
        """Return zeros (2L, B, H)."""
        of_each = zero_state(self.model, batch_size, like=self.decoder.weight)
        return tuple(part.repeat(2, 1, 1) for part in of_each)

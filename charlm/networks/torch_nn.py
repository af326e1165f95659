"""The torch implementation: what torch.nn's RNN, GRU and LSTM compute, which on a GPU means cuDNN's kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from charlm.networks.layers import enter_layer, is_stock, leave_layer
from charlm.networks.losses import mean_costs
from charlm.networks.recurrent import Stack, State
from charlm.networks.reference import run_cells
from charlm.networks.support import only_in_cells
from charlm.settings.model import ModelSettings

# The keys are torch.nn's names for the modes of its modules.
FUNCTIONS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "LSTM": torch.lstm,
    "GRU": torch.gru,
    "RNN_TANH": torch.rnn_tanh,
    "RNN_RELU": torch.rnn_relu,
}


class TorchStack(nn.RNNBase, Stack):
    """torch.nn's parameters, which become one block of memory on a GPU, and the functions that its modules call."""

    def __init__(self, model: ModelSettings, vocab_size: int) -> None:
        assert self.missing(model, "cpu") is None
        mode = f"RNN_{model.nonlinearity.upper()}" if model.cell == "rnn" else model.cell.upper()
        sizes = (model.embedding_size or vocab_size, model.hidden_size, model.num_layers)
        super().__init__(mode, *sizes, dropout=model.dropout)
        self.model = model

    @staticmethod
    def missing(model: ModelSettings, device: str) -> str | None:  # noqa: ARG004
        """Return a clause that says what torch.nn does not have, or None."""
        if model.cell == "rnn" and model.nonlinearity == "sigmoid":
            return "torch.nn has no model.activation sigmoid"
        if model.cell == "gru" and model.reset_after is False:
            return "torch.nn has no model.reset_after false"
        missing = only_in_cells(model)
        return missing and f"torch.nn has no {missing}"

    def run(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Run all layers at once, or one by one if something acts on them that torch.nn does not have."""
        if len(inputs) == 1 and not torch.is_grad_enabled():
            # For a single step without gradients, our cells take half the time.
            return run_cells(self, inputs, state)
        if is_stock(self):
            weights = [weight for layer in self.all_weights for weight in layer]
            return self._call(inputs, state, weights, self.num_layers, self.dropout if self.training else 0.0)
        states: list[State] = []
        for layer in range(self.num_layers):
            features, weights = enter_layer(self, layer, inputs)
            before = tuple(part[layer : layer + 1].contiguous() for part in state)
            outputs, after = self._call(features, before, weights, 1, 0.0)
            inputs = leave_layer(self, layer, inputs, outputs)
            states.append(after)
        return inputs, tuple(torch.cat(parts) for parts in zip(*states, strict=True))

    def _call(
        self, inputs: Tensor, state: State, weights: Sequence[Tensor], num_layers: int, dropout: float
    ) -> tuple[Tensor, State]:
        """Run some layers with the function that torch.nn's modules call."""
        if not inputs.is_floating_point():
            inputs = one_hot(inputs, weights[0].shape[1], state[0].dtype)  # (T, B, V)
        # cuDNN only differentiates calls in training mode; without dropout both modes compute the same.
        is_training = self.training or torch.is_grad_enabled()
        # The order is: has biases, layers, dropout, training, bidirectional, batch first.
        options = (list(weights), True, num_layers, dropout, is_training, False, False)
        outputs, *after = FUNCTIONS[self.mode](inputs, state if len(state) == 2 else state[0], *options)
        return outputs, tuple(after)

    def decode(self, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the logits as torch computes them."""
        return linear(hidden, weight, bias)

    def cost(
        self, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float
    ) -> tuple[Tensor, Tensor]:
        """Return the mean cross entropy of torch's logits."""
        return mean_costs(linear(hidden, weight, bias), targets, smoothing)


def one_hot(ids: Tensor, num_symbols: int, dtype: torch.dtype) -> Tensor:
    """Return one-hot vectors, (..., V), in the dtype that the network computes in."""
    vectors = torch.zeros(*ids.shape, num_symbols, dtype=dtype, device=ids.device)
    return vectors.scatter_(-1, ids.unsqueeze(-1), 1.0)

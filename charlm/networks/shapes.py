"""The names and shapes of every network's parameters and states, computed without torch and without allocating them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from charlm.settings.model import Cell, ModelSettings

Shape = tuple[int, ...]
NUM_GATES: dict[Cell, int] = {"rnn": 1, "gru": 3, "lstm": 4}
LAYER_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def parameter_shapes(model: ModelSettings, vocab_size: int) -> dict[str, Shape]:
    """Return the name and shape of every parameter that `build_model` makes, in the order of its `parameters()`."""
    if model.direction != "bidirectional":
        return dict(_one_network(model, vocab_size))
    halves = ("forward_half", "backward_half")
    both: dict[str, Shape] = {"both_bias": (vocab_size,)}
    return both | {f"{half}.{name}": shape for half in halves for name, shape in _one_network(model, vocab_size)}


def state_shapes(model: ModelSettings, batch_size: int) -> list[Shape]:
    """Return the shape (L, B, H) of each part of a state; leaky models have twice the layers."""
    num_layers = model.num_layers * (2 if model.direction == "leaky" else 1)
    return [(num_layers, batch_size, model.hidden_size)] * num_states(model)


def num_states(model: ModelSettings) -> int:
    """Return how many arrays a state has: an LSTM has a cell state as well."""
    return 2 if model.cell == "lstm" else 1


def num_numbers(shapes: Iterable[Shape]) -> int:
    """Return how many numbers arrays of these shapes have together."""
    return sum(map(math.prod, shapes))


def norm_names(model: ModelSettings) -> tuple[str, ...]:
    """Return the names of a layer's normalisation parameters, in the order in which the cells take them."""
    if not model.layer_norm:
        return ()
    return ("gain_ih", "gain_hh", "gain_c", "bias_c") if model.cell == "lstm" else ("gain_ih", "gain_hh")


def layer_shapes(model: ModelSettings, columns: int) -> dict[str, Shape]:
    """Return the shapes of a layer's parameters.

    Args:
        model: the network's settings.
        columns: number of columns of its input weights.
    """
    H = model.hidden_size
    rows = NUM_GATES[model.cell] * H
    sizes: dict[str, Shape] = {"weight_ih": (rows, columns), "weight_hh": (rows, H), "gain_c": (H,), "bias_c": (H,)}
    return {kind: sizes.get(kind, (rows,)) for kind in (*LAYER_WEIGHTS, *norm_names(model))}


def _one_network(model: ModelSettings, vocab_size: int) -> Iterator[tuple[str, Shape]]:
    """Yield the parameters of a causal or a leaky network."""
    H, E = model.hidden_size, model.embedding_size
    suffixes = ("", "_reverse") if model.direction == "leaky" else ("",)
    if E is not None and not model.tied_embeddings:
        yield "embedding.weight", (vocab_size, E)
    for layer in range(model.num_layers):
        columns = H * len(suffixes) if layer > 0 else E or vocab_size
        for suffix in suffixes:
            for kind, shape in layer_shapes(model, columns).items():
                yield f"recurrent.{kind}_l{layer}{suffix}", shape
    yield "decoder.weight", (vocab_size, H * len(suffixes))
    yield "decoder.bias", (vocab_size,)
    if model.learned_state:
        yield from ((f"initial.{number}", (model.num_layers, H)) for number in range(num_states(model)))

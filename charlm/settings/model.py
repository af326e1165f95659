"""The settings of the network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from charlm.settings.values import MAX_WINDOW, Conflict, NaturalFloat, Section, UnitInterval

Direction = Literal["forward", "backward", "bidirectional", "leaky"]
Cell = Literal["rnn", "gru", "lstm"]
Activation = Literal["tanh", "relu", "sigmoid"]
Implementation = Literal["auto", "native", "torch", "reference"]

# The warning that accompanies every result of a leaky model.
LEAKY_WARNING = "reads its own target: not a language model"
# Far more than anyone needs, yet small enough to compute a network's size without allocating it.
MAX_UNITS = 65_536
# The cell that each setting belongs to.
OF_CELLS = {"activation": "rnn", "reset_after": "gru", "forget_bias": "lstm", "zoneout_cells": "lstm"}
# Settings that torch.nn's own joined layers, the leaky model, do not support.
NOT_LEAKY = (
    *("input_dropout", "output_dropout", "locked_dropout", "recurrent_dropout", "zoneout", "zoneout_cells"),
    *("layer_norm", "residual", "tied_embeddings", "learned_state"),
)


class LossWeights(Section):
    """Weigh a bidirectional model's three losses in training."""

    forward: NaturalFloat = Field(
        default=1.0, description="Sets the weight of the forward half's loss; lower it if only the cloze result matters"
    )
    backward: NaturalFloat = Field(
        default=1.0,
        description="Sets the weight of the backward half's loss; lower it if only the cloze result matters",
    )
    both: NaturalFloat = Field(
        default=1.0,
        description="Sets the weight of the loss of both halves together, the cloze loss; raise it if only the cloze "
        "result matters",
    )


class ModelSettings(Section):
    """Choose the network."""

    direction: Direction = Field(
        default="forward",
        description="Chooses the reading direction: forward; backward reads the text from its end; bidirectional has "
        "a stack for each direction and predicts a character from both sides of it; leaky uses torch.nn's "
        "own joined layers, which read their own target",
    )
    lookahead: Annotated[int, Field(ge=0, le=MAX_WINDOW)] = Field(
        default=0,
        description="Lets the backward stack of a bidirectional model first read this many unscored characters beyond "
        "each window; raise it if windows are short",
    )
    loss_weights: LossWeights = Field(
        default=LossWeights(), description="How much each of a bidirectional model's three losses counts"
    )

    cell: Cell = Field(
        default="lstm", description="Chooses the recurrent cell; gru and lstm remember longer than the plain rnn"
    )
    hidden_size: Annotated[int, Field(ge=1, le=MAX_UNITS)] = Field(
        default=256,
        description="Sets how many hidden units each layer has; raise it if the training result is poor, lower it for "
        "speed or if the model overfits",
    )
    num_layers: Annotated[int, Field(ge=1, le=256)] = Field(
        default=1, description="Sets how many layers are stacked on each other; try 2 if there is enough text and time"
    )
    dropout: UnitInterval = Field(
        default=0.0,
        description="Sets the probability of dropping a unit between layers during training; raise it if validation "
        "gets worse while training gets better",
    )
    input_dropout: UnitInterval = Field(
        default=0.0,
        description="Sets the probability of dropping a unit of the inputs during training; raise it if a model with "
        "an embedding overfits",
    )
    output_dropout: UnitInterval = Field(
        default=0.0,
        description="Sets the probability of dropping a unit before the output layer during training; raise it if the "
        "model overfits, with a single layer too",
    )
    locked_dropout: bool = Field(
        default=False,
        description="Uses one dropout mask for a row's whole window instead of one for each character (variational "
        "dropout, Gal and Ghahramani 2016); try it if plain dropout does not help",
    )
    recurrent_dropout: UnitInterval = Field(
        default=0.0,
        description="Sets the probability of dropping a recurrent weight during training (DropConnect, Merity et al. "
        "2017); raise it if a large model overfits",
    )
    zoneout: UnitInterval = Field(
        default=0.0,
        description="Sets the probability that a hidden unit keeps its value for a step during training (Krueger et "
        "al. 2016); raise it if the model overfits",
    )
    zoneout_cells: UnitInterval | None = Field(
        default=None,
        description="Sets the probability that a unit of the lstm's cell state keeps its value for a step during "
        "training; null means 0, so set it together with zoneout",
    )
    layer_norm: bool = Field(
        default=False,
        description="Applies layer normalisation inside the cells (Ba et al. 2016); try it if training is unstable",
    )
    residual: bool = Field(
        default=False,
        description="Adds each layer's inputs to its outputs, from the second layer on (He et al. 2015); turn it on "
        "for a deep stack",
    )
    embedding_size: Annotated[int, Field(ge=1, le=MAX_UNITS)] | None = Field(
        default=None,
        description="Sets how many units a learned embedding has; null feeds one-hot vectors instead, so set it if "
        "the vocabulary is large",
    )
    tied_embeddings: bool = Field(
        default=False,
        description="Uses the embedding, whose size must be hidden_size, as the output layer's weights too (Press and "
        "Wolf 2016); turn it on to save parameters if the vocabulary is large",
    )
    learned_state: bool = Field(
        default=False,
        description="Learns the state before any character, which is zero otherwise; try it with sampling.method "
        "random, where every window starts from that state",
    )
    activation: Activation | None = Field(
        default=None,
        description="Chooses the activation of the rnn cell; null means tanh, and relu goes with init identity",
    )
    reset_after: bool | None = Field(
        default=None,
        description="Applies the gru's reset gate after the matrix product (true, as torch and cuDNN do) or before it "
        "(false, Cho 2014); null means true, so change it only to match other work",
    )
    init: Literal["torch", "normal", "xavier", "he", "orthogonal", "identity"] = Field(
        default="torch",
        description="Chooses how weights start: torch's default, normal(0, 0.01) with zero biases, Xavier, He, or "
        "orthogonal or identity recurrent matrices; try orthogonal for long windows, and identity for an "
        "rnn with relu",
    )
    forget_bias: Annotated[float, Field(ge=-1000.0, le=1000.0)] | None = Field(
        default=None,
        description="Sets the initial bias of the lstm's forget gate; null leaves it to init, and 1 makes the cell "
        "remember from the start",
    )
    implementation: Implementation = Field(
        default="auto",
        description="Chooses the code that computes the network, which changes its speed but not the model; auto "
        "takes native on a CPU that has kernels, else torch; where nobody has measured them, a new run tries both",
    )

    @property
    def is_one_hot(self) -> bool:
        """Whether inputs are one-hot vectors rather than embeddings."""
        return self.embedding_size is None

    @property
    def nonlinearity(self) -> Activation:
        """The activation of the rnn cell."""
        return self.activation or "tanh"

    @property
    def draws(self) -> bool:
        """Whether a training step of the network uses random numbers."""
        dropped = (self.dropout, self.input_dropout, self.output_dropout, self.recurrent_dropout)
        return any(rate > 0 for rate in (*dropped, self.zoneout, self.zoneout_cells or 0.0))


def model_conflicts(model: ModelSettings) -> Iterator[Conflict]:
    """Yield the conflicts between settings of the network."""
    for name, cell in OF_CELLS.items():
        if getattr(model, name) is not None and model.cell != cell:
            yield f"model.{name}", f"belongs to the {cell} cell, and model.cell is {model.cell}"
    if model.init == "identity" and (model.cell, model.activation) != ("rnn", "relu"):
        yield "model.init", "identity is meant for model.cell rnn with model.activation relu"
    if model.layer_norm and model.reset_after is False:
        yield "model.layer_norm", "needs the reset gate after the product, and model.reset_after is false"
    yield from _direction_conflicts(model)
    yield from _stacking_conflicts(model)


def _direction_conflicts(model: ModelSettings) -> Iterator[Conflict]:
    if model.direction == "bidirectional":
        if not any(weight > 0 for _, weight in model.loss_weights):
            yield "model.loss_weights", "are all 0: nothing would be learned"
        if model.tied_embeddings:
            yield (
                "model.tied_embeddings",
                "has no meaning for bidirectional models, which have two embeddings and two output layers",
            )
    else:
        if model.lookahead > 0:
            yield "model.lookahead", f"belongs to bidirectional models, and model.direction is {model.direction}"
        if model.loss_weights != LossWeights():
            yield "model.loss_weights", f"belong to bidirectional models, and model.direction is {model.direction}"
    for name in NOT_LEAKY if model.direction == "leaky" else ():
        if getattr(model, name):
            yield f"model.{name}", "is not available for leaky models, which use torch.nn's own layers"


def _stacking_conflicts(model: ModelSettings) -> Iterator[Conflict]:
    """Yield the conflicts between dropout, layers and embedding."""
    if model.num_layers == 1:
        for name, is_set in (("dropout", model.dropout > 0), ("residual", model.residual)):
            if is_set:
                yield f"model.{name}", "acts between layers, and model.num_layers is 1: change one of them"
    if model.locked_dropout and not (model.dropout or model.input_dropout or model.output_dropout):
        yield (
            "model.locked_dropout",
            "changes how dropout acts, and there is none: set dropout, input_dropout or output_dropout",
        )
    if model.tied_embeddings and model.embedding_size != model.hidden_size:
        yield (
            "model.tied_embeddings",
            f"needs model.embedding_size to equal model.hidden_size: {model.hidden_size}, not "
            f"{model.embedding_size or 'null'}",
        )

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

# Generous beyond any sense, and small enough that the sizes of a network can be told without its memory.
MAX_UNITS = 65_536
# Which cell a setting belongs to.
OF_CELLS = {"activation": "rnn", "reset_after": "gru", "forget_bias": "lstm", "zoneout_cells": "lstm"}
# What torch.nn's own joined layers, the leaky model, do not have.
NOT_LEAKY = (
    *("input_dropout", "output_dropout", "locked_dropout", "recurrent_dropout", "zoneout", "zoneout_cells"),
    *("layer_norm", "residual", "tied_embeddings", "learned_state"),
)


class LossWeights(Section):
    """What each of a bidirectional model's three losses counts in training."""

    forward: NaturalFloat = Field(default=1.0, description="of the forward half alone")
    backward: NaturalFloat = Field(default=1.0, description="of the backward half alone")
    both: NaturalFloat = Field(default=1.0, description="of both halves together, the cloze loss")


class ModelSettings(Section):
    """The network."""

    direction: Direction = Field(
        default="forward",
        description="forward; backward reads the text from its end; bidirectional has a stack for each and predicts a "
        "character from both sides of it; leaky is torch.nn's own joined layers, which read their own target",
    )
    lookahead: Annotated[int, Field(ge=0, le=MAX_WINDOW)] = Field(
        default=0, description="bidirectional: characters beyond a window that the backward stack reads first, unscored"
    )
    loss_weights: LossWeights = Field(default=LossWeights(), description="bidirectional: what its three losses count")

    cell: Cell = Field(default="lstm", description="the recurrent cell")
    hidden_size: Annotated[int, Field(ge=1, le=MAX_UNITS)] = Field(default=256, description="units of each layer")
    num_layers: Annotated[int, Field(ge=1, le=256)] = Field(default=1, description="layers on top of each other")
    dropout: UnitInterval = Field(default=0.0, description="probability of dropping a unit between layers")
    input_dropout: UnitInterval = Field(default=0.0, description="probability of dropping a unit of the inputs")
    output_dropout: UnitInterval = Field(
        default=0.0, description="probability of dropping a unit before the output layer"
    )
    locked_dropout: bool = Field(
        default=False,
        description="one mask for a row's whole window, in place of one for each character (variational dropout, Gal "
        "and Ghahramani 2016)",
    )
    recurrent_dropout: UnitInterval = Field(
        default=0.0, description="probability of dropping a recurrent weight (DropConnect, Merity et al. 2017)"
    )
    zoneout: UnitInterval = Field(
        default=0.0, description="probability that a hidden unit keeps its value for a step (Krueger et al. 2016)"
    )
    zoneout_cells: UnitInterval | None = Field(
        default=None, description="lstm: that a unit of the cell state does; null is 0"
    )
    layer_norm: bool = Field(default=False, description="layer normalisation inside the cells (Ba et al. 2016)")
    residual: bool = Field(
        default=False, description="from the second layer on, add a layer's inputs to its outputs (He et al. 2015)"
    )
    embedding_size: Annotated[int, Field(ge=1, le=MAX_UNITS)] | None = Field(
        default=None, description="units of a learned embedding; null feeds one-hot vectors"
    )
    tied_embeddings: bool = Field(
        default=False,
        description="the output layer's weights are the embedding, whose size is hidden_size (Press and Wolf 2016)",
    )
    learned_state: bool = Field(
        default=False, description="learn the state before any character, which is zero otherwise"
    )
    activation: Activation | None = Field(default=None, description="of the rnn cell; null is tanh")
    reset_after: bool | None = Field(
        default=None,
        description="gru: reset gate after the matrix product (torch, cuDNN; null is true) or before (Cho 2014)",
    )
    init: Literal["torch", "normal", "xavier", "he", "orthogonal", "identity"] = Field(
        default="torch",
        description="torch's default; normal(0, 0.01) with zero biases; Xavier; He; orthogonal or identity "
        "recurrent matrices (identity for relu rnn)",
    )
    forget_bias: Annotated[float, Field(ge=-1000.0, le=1000.0)] | None = Field(
        default=None, description="lstm: the forget gate's bias at the start"
    )
    implementation: Implementation = Field(
        default="auto",
        description="a choice of speed, not of model; auto is native on a CPU that has kernels, else torch",
    )

    @property
    def is_one_hot(self) -> bool:
        """Whether inputs are ids that stand for one-hot vectors."""
        return self.embedding_size is None

    @property
    def nonlinearity(self) -> Activation:
        """The activation of the rnn cell."""
        return self.activation or "tanh"

    @property
    def draws(self) -> bool:
        """Whether a training step of the network draws anything at random."""
        dropped = (self.dropout, self.input_dropout, self.output_dropout, self.recurrent_dropout)
        return any(rate > 0 for rate in (*dropped, self.zoneout, self.zoneout_cells or 0.0))


def model_conflicts(model: ModelSettings) -> Iterator[Conflict]:
    """Yield what of the network's settings does not go together."""
    for name, cell in OF_CELLS.items():
        if getattr(model, name) is not None and model.cell != cell:
            yield f"model.{name}", f"belongs to the {cell} cell, and model.cell is {model.cell}"
    if model.init == "identity" and (model.cell, model.activation) != ("rnn", "relu"):
        yield "model.init", "identity is meant for model.cell rnn with model.activation relu"
    if model.layer_norm and model.reset_after is False:
        yield "model.layer_norm", "has the reset gate act after the product, which model.reset_after false has not"
    yield from _direction_conflicts(model)
    yield from _stacking_conflicts(model)


def _direction_conflicts(model: ModelSettings) -> Iterator[Conflict]:
    if model.direction == "bidirectional":
        if not any(weight > 0 for _, weight in model.loss_weights):
            yield "model.loss_weights", "are all 0: nothing would be learned"
        if model.tied_embeddings:
            yield "model.tied_embeddings", "has no meaning for bidirectional models: they have two of each"
    else:
        if model.lookahead > 0:
            yield "model.lookahead", f"belongs to bidirectional models, and model.direction is {model.direction}"
        if model.loss_weights != LossWeights():
            yield "model.loss_weights", f"belong to bidirectional models, and model.direction is {model.direction}"
    for name in NOT_LEAKY if model.direction == "leaky" else ():
        if getattr(model, name):
            yield f"model.{name}", "is not there for leaky models, which are torch.nn's own layers"


def _stacking_conflicts(model: ModelSettings) -> Iterator[Conflict]:
    """Yield what of dropout, layers and embedding does not go together."""
    if model.num_layers == 1:
        for name, is_set in (("dropout", model.dropout > 0), ("residual", model.residual)):
            if is_set:
                yield f"model.{name}", "acts between layers, and model.num_layers is 1: set one of them"
    if model.locked_dropout and not (model.dropout or model.input_dropout or model.output_dropout):
        yield (
            "model.locked_dropout",
            "is how dropout is drawn, and there is none: set dropout, input_ or output_dropout",
        )
    if model.tied_embeddings and model.embedding_size != model.hidden_size:
        yield (
            "model.tied_embeddings",
            f"needs model.embedding_size to be model.hidden_size: {model.hidden_size}, not "
            f"{model.embedding_size or 'null'}",
        )

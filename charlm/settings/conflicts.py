"""Settings that are sound alone and not together."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from charlm.errors import printable
from charlm.settings.values import LossWeights

if TYPE_CHECKING:
    from charlm.settings.optimisation import ScheduleSettings
    from charlm.settings.schema import ModelSettings, Settings, TrainSettings


def conflicts(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield (dotted key, reason) for settings that are sound alone and not together."""
    corpus, model, optimizer, train = settings.corpus, settings.model, settings.optimizer, settings.train
    if corpus.name is not None and corpus.path is not None:
        yield "corpus.path", "and corpus.name exclude each other: keep one"
    if corpus.path == ():
        yield "corpus.path", "is an empty list: name a text file, or leave it out"
    if isinstance(corpus.split, tuple):
        yield from _split_conflicts(corpus.split)
    if corpus.split == "standard" and corpus.path is not None:
        yield "corpus.split", "standard needs corpus.name: only known corpora have a standard split"
    if model.activation is not None and model.cell != "rnn":
        yield "model.activation", f"belongs to the rnn cell, and model.cell is {model.cell}"
    if model.reset_after is not None and model.cell != "gru":
        yield "model.reset_after", f"belongs to the gru cell, and model.cell is {model.cell}"
    if model.forget_bias is not None and model.cell != "lstm":
        yield "model.forget_bias", f"belongs to the lstm cell, and model.cell is {model.cell}"
    if model.direction != "bidirectional":
        if model.lookahead > 0:
            yield "model.lookahead", f"belongs to bidirectional models, and model.direction is {model.direction}"
        if model.loss_weights != LossWeights():
            yield "model.loss_weights", f"belong to bidirectional models, and model.direction is {model.direction}"
    elif not any(weight > 0 for _, weight in model.loss_weights):
        yield "model.loss_weights", "are all 0: nothing would be learned"
    if model.init == "identity" and (model.cell, model.activation) != ("rnn", "relu"):
        yield "model.init", "identity is meant for model.cell rnn with model.activation relu"
    yield from _model_conflicts(model)
    if optimizer.momentum is not None and optimizer.method not in ("sgd", "rmsprop"):
        yield "optimizer.momentum", f"belongs to sgd and rmsprop, and optimizer.method is {optimizer.method}"
    yield from _schedule_conflicts(optimizer.schedule, train)
    average = optimizer.average
    if average.decay is not None and average.method != "ema":
        yield "optimizer.average.decay", f"belongs to ema, and optimizer.average.method is {average.method}"
    if average.patience is not None and average.method != "triggered":
        yield "optimizer.average.patience", f"belongs to triggered, and optimizer.average.method is {average.method}"
    if average.method == "triggered":
        if optimizer.method != "sgd":
            yield "optimizer.average.method", f"triggered needs sgd, and optimizer.method is {optimizer.method}"
        if corpus.split == "none":
            yield "optimizer.average.method", "triggered needs a validation part, and corpus.split is none"
    if train.early_stopping is not None and corpus.split == "none":
        yield "train.early_stopping", "needs a validation part, and corpus.split is none"
    if optimizer.schedule.method == "plateau" and corpus.split == "none":
        yield "optimizer.schedule.method", "plateau needs a validation part, and corpus.split is none"


def _model_conflicts(model: ModelSettings) -> Iterator[tuple[str, str]]:
    if model.num_layers == 1:
        for key, is_set in (("dropout", model.dropout > 0), ("residual", model.residual)):
            if is_set:
                yield f"model.{key}", "acts between layers, and model.num_layers is 1: set one of them"
    if model.locked_dropout and not (model.dropout or model.input_dropout or model.output_dropout):
        yield (
            "model.locked_dropout",
            "is how dropout is drawn, and there is none: set dropout, input_ or output_dropout",
        )
    if model.zoneout_cells is not None and model.cell != "lstm":
        yield "model.zoneout_cells", f"belongs to the lstm cell, and model.cell is {model.cell}"
    if model.layer_norm and model.reset_after is False:
        yield "model.layer_norm", "has the reset gate act after the product, which model.reset_after false has not"
    if model.tied_embeddings:
        if model.direction == "bidirectional":
            yield "model.tied_embeddings", "has no meaning for bidirectional models: they have two of each"
        if model.embedding_size != model.hidden_size:
            yield (
                "model.tied_embeddings",
                f"needs model.embedding_size to be model.hidden_size: {model.hidden_size}, not "
                f"{model.embedding_size or 'null'}",
            )
    if model.direction == "leaky":
        for key in (
            *("input_dropout", "output_dropout", "locked_dropout", "recurrent_dropout", "zoneout", "zoneout_cells"),
            *("layer_norm", "residual", "tied_embeddings", "learned_state"),
        ):
            if getattr(model, key):
                yield f"model.{key}", "is not there for leaky models, which are torch.nn's own layers"


def _split_conflicts(parts: tuple[float | int, ...]) -> Iterator[tuple[str, str]]:
    sizes = all(isinstance(part, int) for part in parts)
    fractions = all(isinstance(part, float) for part in parts)
    if len(parts) not in (2, 3) or min(parts) < 0 or not (sizes or fractions) or parts[0] == 0:
        yield "corpus.split", f"needs two or three fractions, or two or three sizes, not {printable(str(list(parts)))}"
    elif fractions and (total := sum(Fraction(str(part)) for part in parts)) != 1:
        yield "corpus.split", f"fractions must sum to 1, these sum to {float(total)}"


def _schedule_conflicts(schedule: ScheduleSettings, train: TrainSettings) -> Iterator[tuple[str, str]]:
    key = "optimizer.schedule"
    owners = {
        "every": ("step", "exponential"),
        "factor": ("step", "exponential", "plateau"),
        "patience": ("plateau",),
        "total_steps": ("cosine",),
    }
    for name, methods in owners.items():
        if getattr(schedule, name) is not None and schedule.method not in methods:
            yield f"{key}.{name}", f"belongs to {' and '.join(methods)}, and the method is {schedule.method}"
    endless = train.minutes is not None and train.epochs is None and train.max_steps is None
    if schedule.method == "cosine" and schedule.total_steps is None and endless:
        yield f"{key}.total_steps", "must be given when train.minutes is the only budget"

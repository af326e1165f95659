"""The gradients of one training window of a run, before and after clipping, computed as a training step does."""

from __future__ import annotations

import math

import numpy as np
import torch

from charlm.errors import DivergedError
from charlm.insight.worked_clipping import Clipped
from charlm.insight.worked_records import Passage
from charlm.library.models import Model
from charlm.library.worked_texts import CONTEXT, SHOWN
from charlm.networks.inputs import as_tensor
from charlm.text.item_windows import read_item_batches
from charlm.text.splits import Part
from charlm.text.windows import Window, read_windows
from charlm.training.optimizer import clip_gradients
from charlm.training.step import window_loss


def window_gradients(model: Model, window: Window) -> Clipped:
    """Return the gradients of a window that is read from the initial state, without dropout.

    Raises:
        DivergedError: if their norm is not a number.
    """
    network, settings = model.network, model.checkpoint.settings
    inputs, targets, beyond = (as_tensor(ids, network) for ids in (window.inputs, window.targets, window.beyond))
    network.zero_grad(set_to_none=True)
    readouts = network.read_window(inputs, targets, beyond, network.initial_state(inputs.shape[1]))
    smoothing = settings.optimizer.label_smoothing
    loss, _ = window_loss(readouts, inputs, targets, settings.model.loss_weights, smoothing=smoothing)
    torch.autograd.backward(loss)
    gradients = {name: each.grad for name, each in network.named_parameters() if each.grad is not None}
    before = {name: gradient.clone() for name, gradient in gradients.items()}
    norm = float(clip_gradients(network.parameters(), settings.optimizer))
    network.zero_grad(set_to_none=True)
    if not math.isfinite(norm):
        raise DivergedError(f"the gradient norm of the run {model.run.name} is not a number: it has no worked step")
    return Clipped(before, gradients)


def first_window(model: Model, part: Part) -> Window:
    """Return the first window that a run has read of its training split.

    Raises:
        TextError: for a text that is too short for one.
    """
    settings = model.checkpoint.settings
    if part.boundary is not None:
        batches = read_item_batches(part.ids, part.boundary, settings.sampling, seed=settings.train.seed, epoch=0)
        return next(batches)[0]
    windows = read_windows(
        part.ids, settings.sampling, seed=settings.train.seed, epoch=0, lookahead=settings.model.lookahead
    )
    return next(windows)


def passage_window(passage: Passage) -> Window:
    """Return a passage as a window of one row."""
    ids = np.array(passage.ids, np.int64)[:, None]
    return Window(ids[:-1].astype(np.uint32), ids[1:], ids[:0].astype(np.uint32))


def passage_of(model: Model, window: Window) -> Passage:
    """Return how the first row of a training window begins."""
    num_chars, num_rows = window.inputs.shape
    rows = "1 row" if num_rows == 1 else f"{num_rows:,} rows"
    source = f"the first training window, {rows} of {num_chars:,} characters; this is how the first row begins"
    ids = window.inputs[: CONTEXT + SHOWN, 0]
    return Passage(tuple(ids.tolist()), tuple(model.checkpoint.vocabulary.decode(ids)), 0, source)

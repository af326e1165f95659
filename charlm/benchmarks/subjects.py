"""What is measured, as endless iterators: each item is one more step, or one more piece of text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count, cycle, islice
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from charlm.benchmarks.classic import ClassicLM, classic_stream, classic_training_steps
from charlm.benchmarks.sizes import ProductShape, Sizes
from charlm.generation.native_writer import CHARS_AT_ONCE
from charlm.generation.sampling import sample_text, sample_texts
from charlm.networks.building import build_model, set_precision
from charlm.networks.implementations import Chosen
from charlm.networks.inputs import as_tensor
from charlm.networks.language_model import CharLM
from charlm.networks.modes import left_to_kernels
from charlm.networks.predictor import Predictor
from charlm.networks.torch_predictor import predictor_of
from charlm.settings.corpus import SamplingSettings
from charlm.settings.model import Cell, ModelSettings
from charlm.settings.schema import Settings
from charlm.text.vocabulary import Vocabulary
from charlm.text.windows import Window
from charlm.training.optimizer import build_optimizer
from charlm.training.step import take_step

# The classic loop, the same with torch's autocast in bfloat16, our kernels with bfloat16 products, our implementations.
Classic = Literal["classic", "autocast"]
Ours = Literal["bfloat16"] | Chosen
Subject = Classic | Ours
Work = Iterator[object]

# As many characters as the kernels write at once, so that each item is the same amount of work.
STREAM_CHARS = CHARS_AT_ONCE
NUM_TEXTS = 64
TEXT_CHARS = 200
PREFIX = np.zeros(1, dtype=np.uint8)
LEARNING_RATE = 1e-3


def layer_steps(subject: Subject, cell: Cell, sizes: Sizes, device: torch.device) -> Work:
    """Run the forward pass, cross entropy and backward pass, from zero states and from ids that are tensors already."""
    if subject in ("classic", "autocast"):
        classic = ClassicLM(cell, sizes, is_autocast=subject == "autocast").to(device)
        return _gradients(
            classic, lambda ids, targets: cross_entropy(classic(ids)[0].flatten(0, 1), targets.flatten()), sizes
        )
    network = _our_network(subject, cell, sizes, device)
    state = network.initial_state(sizes.batch_size)
    return _gradients(network, lambda ids, targets: network.window_cost(ids, targets, state, 0.0)[0], sizes)


def _gradients(model: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], sizes: Sizes) -> Work:
    window = _random_window(sizes)
    inputs, targets = as_tensor(window.inputs, model), as_tensor(window.targets, model)
    while True:
        with left_to_kernels(model):
            model.zero_grad(set_to_none=True)
            torch.autograd.backward(loss(inputs, targets))
        yield


def training_steps(subject: Subject, cell: Cell, sizes: Sizes, device: torch.device) -> Work:
    """Take whole training steps at the same rate: ids to tensors, gradients, clipping, Adam, reading the loss."""
    window = _random_window(sizes)
    if subject in ("classic", "autocast"):
        classic = ClassicLM(cell, sizes, is_autocast=subject == "autocast").to(device)
        optimizer = torch.optim.Adam(classic.parameters(), lr=LEARNING_RATE)
        return classic_training_steps(classic, optimizer, window, device)
    network, settings = _our_network(subject, cell, sizes, device), _settings(subject, cell, sizes)
    return _our_training_steps(network, build_optimizer(network.parameters(), settings.optimizer), window, settings)


def _our_training_steps(network: CharLM, optimizer: torch.optim.Optimizer, window: Window, settings: Settings) -> Work:
    state = network.initial_state(settings.sampling.batch_size)
    for step in count():
        outcome = take_step(
            network, optimizer, [window], state, settings=settings, step=step, learning_rate=LEARNING_RATE
        )
        state = outcome.state
        yield


def stream(subject: Subject, cell: Cell, sizes: Sizes, device: torch.device) -> Work:
    """Write one text without end, STREAM_CHARS for each item."""
    vocabulary = _vocabulary(sizes)
    if subject in ("classic", "autocast"):
        classic = ClassicLM(cell, sizes, is_autocast=subject == "autocast").to(device)
        return classic_stream(classic, vocabulary.characters, STREAM_CHARS, device)
    predictor = _our_predictor(subject, cell, sizes, device)
    return _pieces(sample_text(predictor, vocabulary, PREFIX, length=sys.maxsize))


def _pieces(characters: Iterator[str]) -> Work:
    while piece := "".join(islice(characters, STREAM_CHARS)):
        yield piece


def single_texts(implementation: Chosen, cell: Cell, sizes: Sizes, device: torch.device) -> Work:
    """Write NUM_TEXTS texts of TEXT_CHARS one by one, over and over; each item is one text."""
    predictor, vocabulary = _our_predictor(implementation, cell, sizes, device), _vocabulary(sizes)
    for sample in cycle(range(NUM_TEXTS)):
        yield "".join(sample_text(predictor, vocabulary, PREFIX, sample=sample, length=TEXT_CHARS))


def joint_texts(implementation: Chosen, cell: Cell, sizes: Sizes, device: torch.device) -> Work:
    """Write the same texts side by side; each item is the list of all of them."""
    predictor, vocabulary = _our_predictor(implementation, cell, sizes, device), _vocabulary(sizes)
    while True:
        yield list(sample_texts(predictor, vocabulary, PREFIX, num_samples=NUM_TEXTS, length=TEXT_CHARS))


def products(shape: ProductShape, device: torch.device) -> Work:
    """Multiply two matrices with torch, which runs this machine's sgemm."""
    left = torch.randn(shape.rows, shape.depth, device=device)
    right = torch.randn(shape.depth, shape.columns, device=device)
    out = torch.empty(shape.rows, shape.columns, device=device)
    while True:
        yield torch.mm(left, right, out=out)


@cache
def can_autocast(cell: Cell, sizes: Sizes, device: torch.device) -> bool:
    """Return whether torch runs a cell, forward and backward, in bfloat16 under its autocast."""
    try:
        next(layer_steps("autocast", cell, sizes, device))
    except RuntimeError:
        return False
    return True


def _settings(ours: Ours, cell: Cell, sizes: Sizes) -> Settings:
    return Settings(
        model=ModelSettings(
            cell=cell,
            hidden_size=sizes.hidden_size,
            num_layers=sizes.num_layers,
            implementation="native" if ours == "bfloat16" else ours,
        ),
        sampling=SamplingSettings(batch_size=sizes.batch_size, seq_len=sizes.seq_len),
    )


def _our_predictor(ours: Ours, cell: Cell, sizes: Sizes, device: torch.device) -> Predictor:
    return predictor_of(_our_network(ours, cell, sizes, device), sizes.vocab_size)


def _our_network(ours: Ours, cell: Cell, sizes: Sizes, device: torch.device) -> CharLM:
    model = _settings(ours, cell, sizes).model
    network = build_model(model, sizes.vocab_size, seed=0, device=device.type)
    assert isinstance(network, CharLM)
    set_precision(network, "bfloat16" if ours == "bfloat16" else "float32")
    return network.to(device)


def _random_window(sizes: Sizes) -> Window:
    dtype = _vocabulary(sizes).dtype
    shape = (sizes.seq_len + 1, sizes.batch_size)
    text = np.random.default_rng(0).integers(sizes.vocab_size, size=shape, dtype=dtype)
    return Window(text[:-1], text[1:], text[:0])


def _vocabulary(sizes: Sizes) -> Vocabulary:
    return Vocabulary("".join(map(chr, range(sizes.vocab_size))))

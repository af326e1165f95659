"""How fast this machine trains and evaluates a network, measured before a run begins."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import numpy as np
import torch

from charlm.evaluation.baselines import MAX_TRAIN_CHARS
from charlm.evaluation.reading import measure_text
from charlm.networks.building import build_model, set_precision
from charlm.networks.recurrent import detach_state
from charlm.settings.schema import Settings
from charlm.text.splits import Split
from charlm.text.windows import Window
from charlm.training.optimizer import build_optimizer
from charlm.training.step import take_step
from charlm.training.timetable import Pace

# Trials take a second, or this share of a very short run.
SECONDS, SHARE = 1.0, 0.02
FEWEST_STEPS = 3
TRIAL_CHARS = 2_000
# What the baselines take for each character of the training split that they read: most of it is compressing it again
# with each held-out split.
BASELINE_SECONDS = 5e-6
# A checkpoint is a few small files and the parameters, moments and average.
SAVING_SECONDS = 0.03


def trial_steps(settings: Settings, vocab_size: int) -> Iterator[float]:
    """Take training steps with fresh weights on random characters, and yield how long each took, in seconds."""
    network = build_model(settings.model, vocab_size, seed=0)
    set_precision(network, settings.train.precision)
    optimizer = build_optimizer(network.parameters(), settings.optimizer)
    sampling, lookahead = settings.sampling, settings.model.lookahead
    sizes = (sampling.seq_len + 1 + lookahead, sampling.batch_size)
    text = np.random.default_rng(0).integers(vocab_size, size=sizes).astype(np.uint32)
    window = Window(text[: sampling.seq_len], text[1 : sampling.seq_len + 1], text[sampling.seq_len + 1 :])
    state = detach_state(network.initial_state(sampling.batch_size))
    while True:
        began = time.perf_counter()
        take_step(network, optimizer, [window], state, settings=settings, step=0, learning_rate=0.0)
        yield time.perf_counter() - began


def seconds_of_a_step(settings: Settings, vocab_size: int) -> float:
    """Return how long a training step takes here: the median of a second of trials, or less before a short run."""
    torch.set_num_threads(settings.train.threads or 1)
    steps = trial_steps(settings, vocab_size)
    next(steps)  # allocates memory and wakes threads
    began, times = time.perf_counter(), list[float]()
    enough = min(SECONDS, SHARE * 60 * (settings.train.fit_minutes or SECONDS))
    while len(times) < FEWEST_STEPS or time.perf_counter() - began < enough:
        times.append(next(steps))
    return statistics.median(times)


def measure_pace(settings: Settings, vocab_size: int, split: Split) -> Pace:
    """Time training steps and an evaluation for about a second; this does not affect the run.

    Args:
        settings: the settings with everything decided except for the number of steps.
        vocab_size: number of symbols.
        split: the splits, whose sizes decide how long evaluations and the closing measurements take.
    """
    step = seconds_of_a_step(settings, vocab_size)
    held_out = [part.ids for part in (split.val, split.test) if part is not None]
    per_char = _seconds_per_evaluated_char(settings, vocab_size) if held_out else 0.0
    evaluation = per_char * min(settings.eval.max_chars, len(held_out[0])) if split.val is not None else 0.0
    num_chars = sum(map(len, held_out))
    closing = evaluation + per_char * num_chars + SAVING_SECONDS
    if settings.eval.baselines and held_out:
        closing += BASELINE_SECONDS * min(MAX_TRAIN_CHARS, len(split.train.ids))
    return Pace(step, evaluation + SAVING_SECONDS, closing)


def _seconds_per_evaluated_char(settings: Settings, vocab_size: int) -> float:
    network = build_model(settings.model, vocab_size, seed=0)
    text = np.random.default_rng(0).integers(vocab_size, size=TRIAL_CHARS).astype(np.uint32)
    measure_text(network, text[:100])  # as above
    began = time.perf_counter()
    measure_text(network, text)
    return (time.perf_counter() - began) / TRIAL_CHARS

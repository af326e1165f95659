"""Look inside the networks of runs: gradients by lag, memory used, gates and neurons."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from charlm.errors import CharlmError, CharlmWarning, ConfigError
from charlm.insight.findings import Clipping, Findings, Reading, clipping_of
from charlm.insight.gates import GateCounter
from charlm.insight.gradients import gradients_by_lag
from charlm.insight.jacobians import jacobian_products, recurrent_spectra
from charlm.insight.traces import trace_text
from charlm.library.measured_texts import choose_predictable_text, read_parts
from charlm.library.models import Model, open_run
from charlm.library.named_runs import RunName, runs_of
from charlm.library.networks import Networks
from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.building import build_model
from charlm.networks.language_model import CharLM
from charlm.runs.checkpoints import Choice
from charlm.runs.records import EvaluationLine
from charlm.runs.restoring import to_arrays
from charlm.runs.run import runs_folder
from charlm.settings.model import ModelSettings
from charlm.text.items import first_items
from charlm.text.splits import Part

SHOWN = ("gradients", "memory", "gates", "neurons")
# What gradients include unless they are to be quick.
JACOBIANS = "jacobians"
MAX_CHARS = 20_000
START = "start"
# Told of each network while it is inspected: what is measured, how much of it is done, and the total.
Report = Callable[[str, int, int], None]


def inspect(
    *runs: RunName,
    show: Sequence[str] = SHOWN,
    checkpoint: Choice | str | Sequence[Choice | str] = "best",
    split: str | None = None,
    files: Sequence[str | Path] = (),
    max_chars: int = MAX_CHARS,
    seed: int = 0,
    jacobians: bool = True,
    runs_dir: str | Path | None = None,
    report: Report | None = None,
) -> list[Findings]:
    """Look inside the networks of runs while they read a text that they were not trained on.

    Args:
        runs: runs, sweeps or exported files, or their names or paths; without any, the newest run.
        show: what to measure: gradients, memory, gates, neurons.
        checkpoint: best, last, the number of a step, or `start` for the network before its training; or several.
        split: train, val or test; None takes the validation split, or else the test split, or else the training split.
        files: texts to read in place of a split.
        max_chars: how many characters of the text are read at most.
        seed: the random seed that chooses characters and windows.
        jacobians: whether gradients include the products of Jacobians, which take the longest.
        runs_dir: the folder of runs; None takes CHARLM_RUNS_DIR or ./runs.
        report: called with what is measured, how much of it is done and the total.
    Returns:
        What was found, for each network.
    Raises:
        ConfigError: for a leaky model, and for words and numbers that make no sense.
        RunError: for a run that is missing.
        TextError: for a text that was asked for and cannot be read.
    Warns:
        CharlmWarning: where the run's own text is gone or has changed, so that only what needs no text is measured.

    Example:
        >>> (found,) = charlm.inspect("my-run", show=["gradients"])
        >>> len(found.gradients.layers), found.gradients.layers[0].hidden[0] > 0
        (1, True)
    """
    if wrong := [each for each in show if each not in SHOWN]:
        raise ConfigError(f"{wrong[0]!r} cannot be inspected: choose among {', '.join(SHOWN)}")
    if max_chars < 2:
        raise ConfigError(f"at least 2 characters must be read, not {max_chars}")
    folder = runs_folder(runs_dir)
    choices = [checkpoint] if isinstance(checkpoint, str | int) else list(checkpoint)
    models = [
        _chosen(name, choice, runs_dir) for name in (runs_of(runs, folder) if runs else [None]) for choice in choices
    ]
    return [
        _inspect(
            model,
            _text(model, split, files, max_chars),
            [*show, *[JACOBIANS] * (jacobians and "gradients" in show)],
            seed=seed,
            report=report or _nothing,
        )
        for model in models
    ]


def _nothing(what: str, done: int, total: int) -> None:
    """Report nothing."""


def _chosen(name: RunName | None, choice: Choice | str, runs_dir: str | Path | None) -> Model:
    """Open a checkpoint, or make the network that the training of a run began with."""
    if choice == START:
        return _untrained(open_run(name, checkpoint="last", runs_dir=runs_dir))
    if isinstance(choice, str) and choice not in ("best", "last"):
        raise ConfigError(f"a checkpoint is best, last, start or the number of a step, not {choice!r}")
    return open_run(name, checkpoint=choice, runs_dir=runs_dir)  # pyright: ignore[reportArgumentType]


def _untrained(model: Model) -> Model:
    """Return a model with the weights that its training began with, which its settings and seed decide."""
    checkpoint = model.checkpoint
    if checkpoint.settings.start.run is not None:
        raise ConfigError(
            f"the run {model.run.name} began with the weights of {checkpoint.settings.start.run}: inspect that run"
        )
    # Every implementation begins with the same weights.
    settings = checkpoint.settings.model.replaced({"implementation": "auto"})
    network = build_model(settings, len(checkpoint.vocabulary), seed=checkpoint.settings.train.seed)
    fresh = replace(checkpoint, step=0, model=to_arrays(network.state_dict()))
    return replace(model, checkpoint=fresh, networks=Networks(fresh, "cpu"))


def _text(model: Model, split: str | None, files: Sequence[str | Path], max_chars: int) -> tuple[Reading, Part] | None:
    """Return the text to read and what to call it; None, with a warning, where the run's own text is not available."""
    try:
        parts = None if files else read_parts(model)
        chosen = split or next(name for name in ("val", "test", "train") if files or (parts and parts.part(name)))
        part = choose_predictable_text(model, chosen, files, parts=parts)
    except CharlmError as error:
        if split or files:
            raise
        message = f"{model.run.name}: only what needs no text is measured: {error}"
        warnings.warn(message, CharlmWarning, stacklevel=3)
        return None
    ids = part.ids[:max_chars] if part.boundary is None else first_items(part.ids, part.boundary, max_chars)
    name = ", ".join(map(str, files)) or f"the {NAMES[chosen]} split"
    return Reading(name, len(ids)), replace(part, ids=ids)


NAMES = {"train": "training", "val": "validation", "test": "test"}


def causal_network(model: Model) -> tuple[CharLM, str | None]:
    """Return the network that reads a text in one direction, and its name if it is a half of a bidirectional model.

    Raises:
        ConfigError: for a leaky model.
    """
    network = model.network
    if isinstance(network, BidirectionalLM):
        return network.forward_half, "forward half"
    if not isinstance(network, CharLM):
        raise ConfigError(
            f"the model of run {model.run.name} is leaky: its layers have read the character that they predict, so "
            "that nothing inside them is a memory"
        )
    return network, None


def _inspect(
    model: Model, text: tuple[Reading, Part] | None, show: Sequence[str], *, seed: int, report: Report
) -> Findings:
    network, half = causal_network(model)
    settings = model.checkpoint.settings.model
    found = Findings(model.run.name, model.checkpoint.step, described(settings), half, text and text[0])
    if "gradients" in show:
        found = replace(found, spectra=recurrent_spectra(network), clipping=_clipping(model))
    if text is None:
        return found
    ids, boundary = text[1].ids, text[1].boundary

    def told(what: str) -> Callable[[int, int], None]:
        return lambda done, total: report(what, done, total)

    if "gradients" in show:
        gradients = gradients_by_lag(network, ids, boundary=boundary, seed=seed, report=told("gradients"))
        found = replace(found, gradients=gradients)
    if JACOBIANS in show:
        products = jacobian_products(network, ids, boundary=boundary, seed=seed, report=told("Jacobians"))
        found = replace(found, jacobians=products)
    if "gates" in show:
        counter = GateCounter(settings)
        for piece in trace_text(network, ids, boundary=boundary, report=told("gates")):
            counter.add(piece)
        found = replace(found, gates=counter.shares(), time_constants=counter.time_constants())
    return found


def described(model: ModelSettings) -> str:
    """Return a network in a few words, such as `LSTM, 2 layers of 256`."""
    layers = f"{model.num_layers} layer{'s' * (model.num_layers > 1)} of {model.hidden_size}"
    return f"{model.cell.upper()}, {layers}"


def _clipping(model: Model) -> Clipping | None:
    norms = [each.gradient_norm for each in model.metrics() if isinstance(each, EvaluationLine)]
    return clipping_of(norms, model.checkpoint.settings.optimizer.clip_norm)

"""Look inside the networks of runs: gradients by lag, memory used, gates and neurons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from charlm.errors import ConfigError
from charlm.evaluation.baselines import MAX_TRAIN_CHARS
from charlm.evaluation.ngrams import count_ngrams, nats_by_order
from charlm.insight.features import Feature, in_reading_order, text_features
from charlm.insight.findings import Clipping, Findings, NgramCost, Reading, clipping_of
from charlm.insight.gates import GateCounter
from charlm.insight.gradients import gradients_by_lag
from charlm.insight.inspected_unit import InspectedUnit, parse_unit
from charlm.insight.jacobians import jacobian_products, recurrent_spectra
from charlm.insight.memory import MemoryUsed, measure_memory
from charlm.insight.neurons import find_neurons
from charlm.insight.traces import trace_text
from charlm.insight.units import UnitStates, unit_values
from charlm.insight.worked_network import describe_network
from charlm.library.inspected import (
    MAX_CHARS,
    InspectedText,
    causal_network,
    inspected_models,
    inspected_text,
    names_of_models,
)
from charlm.library.models import Model
from charlm.library.named_runs import RunName
from charlm.runs.checkpoints import Choice
from charlm.runs.records import EvaluationLine
from charlm.settings.corpus import UnknownPolicy
from charlm.text.items import LINE_END, NONCHARACTER
from charlm.text.reading_order import turned
from charlm.text.splits import Part

SHOWN = ("gradients", "jacobians", "memory", "gates", "neurons")
# The lengths at which n-grams are beside the network: longer ones cost time and hardly gain.
NGRAM_LENGTHS = (1, 2, 4, 8)
# Told of each network while it is inspected: what is measured, how much of it is done, and the total.
Report = Callable[[str, int, int], None]


def inspect(
    *runs: RunName,
    show: Sequence[str] = SHOWN,
    checkpoint: Choice | str | Sequence[Choice | str] = "best",
    split: str | None = None,
    files: Sequence[str | Path] = (),
    unknown: UnknownPolicy | None = None,
    max_chars: int = MAX_CHARS,
    seed: int = 0,
    runs_dir: str | Path | None = None,
    report: Report | None = None,
) -> list[Findings]:
    """Look inside the networks of runs while they read a text that they were not trained on.

    Args:
        runs: runs, sweeps or exported files, or their names or paths; without any, the newest run.
        show: what to measure: gradients, jacobians, memory, gates, neurons.
        checkpoint: best, last, the number of a step, or `start` for the network before its training; or several.
        split: train, val or test; None takes the validation split, or else the test split, or else the training split.
        files: texts to read in place of a split.
        unknown: what to do with characters in them that the model does not know; see `score`.
        max_chars: how many characters of the text are read at most.
        seed: the random seed that chooses characters and windows.
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
    # Open all of them first, so that a wrong name is reported before anything is measured.
    models = list(inspected_models(runs, checkpoint, runs_dir))
    texts = (inspected_text(each, split=split, files=files, unknown=unknown, max_chars=max_chars) for each in models)
    return [
        _inspect(model, name, text, show, seed=seed, report=report or _tell_nobody)
        for model, name, text in zip(models, names_of_models(models), texts, strict=True)
    ]


def _tell_nobody(what: str, done: int, total: int) -> None:
    """Take what a person would be told."""


def _inspect(
    model: Model, name: str, text: InspectedText | None, show: Sequence[str], *, seed: int, report: Report
) -> Findings:
    network, half = causal_network(model)
    reading = text and Reading(text.name, len(text.part.ids))
    settings = model.checkpoint.settings.model
    found = Findings(name, model.checkpoint.step, describe_network(network), half, reading)
    if "gradients" in show:
        found = replace(found, clipping=_clipping(model))
    if "jacobians" in show:
        found = replace(found, spectra=recurrent_spectra(network))
    if text is None:
        return found
    ids, boundary = text.part.ids, text.part.boundary

    def told(what: str) -> Callable[[int, int], None]:
        return lambda done, total: report(what, done, total)

    if "gradients" in show:
        gradients = gradients_by_lag(network, ids, boundary=boundary, seed=seed, report=told("gradients"))
        found = replace(found, gradients=gradients)
    if "jacobians" in show:
        products = jacobian_products(network, ids, boundary=boundary, seed=seed, report=told("Jacobians"))
        found = replace(found, jacobians=products)
    if "memory" in show:
        memory = measure_memory(model.networks.main, ids, boundary=boundary, seed=seed, report=told("memory"))
        found = replace(found, memory=memory, ngrams=_ngram_costs(model, text, memory, seed))
    if "gates" in show or "neurons" in show:
        counter, states = GateCounter(settings), UnitStates(settings, len(ids) if "neurons" in show else 0)
        for piece in trace_text(network, ids, boundary=boundary, report=told("gates and units")):
            counter.add(piece)
            if "neurons" in show:
                states.add(piece)
        if "gates" in show:
            found = replace(found, gates=counter.shares(), time_constants=counter.time_constants())
        if "neurons" in show:
            features = features_of(model, text.part)
            found = replace(found, neurons=find_neurons(states, features, seed=seed, report=told("features")))
    return found


def unit_texts(
    *runs: RunName,
    neuron: str,
    checkpoint: Choice | str | Sequence[Choice | str] = "best",
    split: str | None = None,
    files: Sequence[str | Path] = (),
    unknown: UnknownPolicy | None = None,
    max_chars: int = MAX_CHARS,
    runs_dir: str | Path | None = None,
) -> list[InspectedUnit]:
    """Return a text with the value of one unit at each character, for each network; the arguments are `inspect`'s.

    Args:
        neuron: the unit, such as `1:37`; with `:c` its cell state, with the letter of a gate that gate.
    Raises:
        ConfigError: for a unit that a network does not have.
        TextError: where the text is missing.

    Example:
        >>> (found,) = unit_texts("my-run", neuron="1:3", max_chars=5)
        >>> len(found.text), len(found.values)
        (5, 5)
    """
    layer, unit, part = parse_unit(neuron)
    texts: list[InspectedUnit] = []
    for model in inspected_models(runs, checkpoint, runs_dir):
        text = inspected_text(model, split=split, files=files, unknown=unknown, max_chars=max_chars, is_needed=True)
        assert text
        network, _ = causal_network(model)
        ids, direction = text.part.ids, model.direction
        values = unit_values(network, ids, layer=layer, unit=unit, part=part, boundary=text.part.boundary)
        shown = model.checkpoint.vocabulary.decode(turned(ids, direction)).replace(NONCHARACTER, LINE_END)
        in_order: list[float] = values[:: -1 if direction == "backward" else 1].tolist()
        texts.append(InspectedUnit(model.run.name, model.checkpoint.step, layer, unit, part, shown, tuple(in_order)))
    return texts


def features_of(model: Model, part: Part) -> list[Feature]:
    """Return the features of a text in the order in which a model reads it."""
    text = model.checkpoint.vocabulary.decode(turned(part.ids, model.direction))
    return in_reading_order(text_features(text, boundary=model.end), model.direction)


def _clipping(model: Model) -> Clipping | None:
    """Return how often the training of a model clipped; None before its training."""
    if model.checkpoint.step == 0:
        return None
    norms = [each.gradient_norm for each in model.metrics() if isinstance(each, EvaluationLine)]
    return clipping_of(norms, model.checkpoint.settings.optimizer.clip_norm)


def _ngram_costs(model: Model, text: InspectedText, memory: MemoryUsed, seed: int) -> tuple[NgramCost, ...]:
    """Return what n-grams with contexts of the same lengths cost at the same positions, from the training split."""
    if text.known is None:
        return ()
    size, boundary = len(model.checkpoint.vocabulary), text.part.boundary
    measured = {each.length for each in memory.lengths}
    orders = [length + 1 for length in NGRAM_LENGTHS if length in measured]
    counts = count_ngrams(text.known.ids[-MAX_TRAIN_CHARS:], size, max(orders, default=0), boundary=boundary)
    found = nats_by_order(counts, text.part.ids, orders)
    return tuple(
        NgramCost(order - 1, memory.sample.estimate(memory.sample.pick(costs), seed=seed))
        for order, costs in found.items()
    )

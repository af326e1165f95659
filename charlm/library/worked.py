"""Work out one step of a run's network in its own numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from charlm.errors import ConfigError
from charlm.insight.worked_backpropagation import backpropagation_parts
from charlm.insight.worked_clipping import clipping_parts
from charlm.insight.worked_equations import equation_parts
from charlm.insight.worked_network import describe_network, plain_network
from charlm.insight.worked_perplexity import WholeSplit, perplexity_parts
from charlm.insight.worked_records import Passage, Topic, WorkedPart, WorkedStep
from charlm.library.models import Model, opened
from charlm.library.worked_texts import choose_passage, splits_or_none
from charlm.library.worked_windows import first_window, passage_of, passage_window, window_gradients
from charlm.networks.language_model import CharLM
from charlm.runs.records import EvaluationLine, Summary
from charlm.runs.run import Run
from charlm.settings.model import LEAKY_WARNING, Direction
from charlm.text.splits import Split

Worked = tuple[Passage, tuple[WorkedPart, ...]]
DIRECTIONS: dict[Direction, str] = {
    "backward": "This network reads backwards: its texts are shown in its reading order, last character first.",
    "bidirectional": "This is the forward half of a bidirectional network; the other half does the same from the end.",
}


def worked_step(model: Model | Run | str | Path, *, topic: str = "equations") -> WorkedStep:
    """Work out one step of a network in its own numbers, as a page of the guide explains it.

    The network reads the beginning of its validation text, or an item of that split; without the corpus it reads a text
    that it writes itself. Of a bidirectional model this is the forward half. Dropout is off.

    Args:
        model: a model from `open_run`, or a run or its name, of which the best checkpoint is used.
        topic: equations, one character through every layer to its cost; backpropagation, the gradient of one loss back
            through a window; perplexity, from the probabilities of a few characters to the perplexity; or clipping,
            the norm of one training window's gradient and what the run's settings make of it.
    Returns:
        The equations with their numbers; `as_record()` has them as JSON values.
    Raises:
        ConfigError: for another topic, and for a leaky model, which reads its own target.
        DivergedError: where a probability is not a number.
        RunError: for a run or checkpoint that is missing or damaged.

    Example:
        >>> step = charlm.worked_step("my-run", topic="perplexity")
        >>> total, mean, bits, perplexity = step.parts[1].lines
        >>> step.passage.source, abs(mean.value - total.value / 12) < 1e-9
        ('the beginning of its validation text', True)
    """
    if topic not in WORKERS:
        raise ConfigError(f"there is no worked step about {topic!r}: it must be one of {', '.join(WORKERS)}")
    model = opened(model)
    if model.direction == "leaky":
        raise ConfigError(f"the model of run {model.run.name} has no worked step: it {LEAKY_WARNING}")
    network, splits = plain_network(model.network), splits_or_none(model)
    passage, parts = WORKERS[topic](model, network, splits)
    note = DIRECTIONS.get(model.direction)
    if topic == "clipping" and model.direction == "bidirectional":
        # Training clips the gradients of both halves together.
        note = "The gradient is that of both halves of this bidirectional network, as in training."
    return WorkedStep(
        topic=topic,
        run=model.run.name,
        step=model.checkpoint.step,
        network=describe_network(network),
        passage=passage,
        parts=parts,
        notes=(note,) if note else (),
    )


def _equations(model: Model, network: CharLM, splits: Split | None) -> Worked:
    passage = choose_passage(model, splits).latest(1)
    return passage, equation_parts(network, passage, model.checkpoint.vocabulary.decode(range(network.vocab_size)))


def _backpropagation(model: Model, network: CharLM, splits: Split | None) -> Worked:
    passage = choose_passage(model, splits).latest(1)
    return passage, backpropagation_parts(network, passage)


def _perplexity(model: Model, network: CharLM, splits: Split | None) -> Worked:
    passage = choose_passage(model, splits)
    return passage, perplexity_parts(network, passage, _whole_split(model))


def _clipping(model: Model, network: CharLM, splits: Split | None) -> Worked:
    del network
    if splits is None:
        passage = choose_passage(model, splits)
        window = passage_window(passage)
    else:
        window = first_window(model, splits.train)
        passage = passage_of(model, window)
    recorded = [each.gradient_norm for each in model.metrics() if isinstance(each, EvaluationLine)]
    gradients = window_gradients(model, window)
    return passage, clipping_parts(gradients, model.checkpoint.settings.optimizer, recorded)


def _whole_split(model: Model) -> WholeSplit | None:
    """Return what the run has recorded of the validation split for this checkpoint."""
    step = model.checkpoint.step
    for each in reversed(model.metrics()):
        if each.val is not None and step == (each.best_step if isinstance(each, Summary) else each.step):
            return WholeSplit(each.val.nats, each.val.perplexity, each.val.chars)
    return None


WORKERS: dict[Topic, Callable[[Model, CharLM, Split | None], Worked]] = {
    "equations": _equations,
    "backpropagation": _backpropagation,
    "perplexity": _perplexity,
    "clipping": _clipping,
}

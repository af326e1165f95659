"""Back-propagation through time worked out: a window, the product of its Jacobians, the gradient of one weight."""

from __future__ import annotations

import math
from collections.abc import Iterator

from charlm.insight.worked_chain import Chain, ChainStep, follow_chain
from charlm.insight.worked_network import length_of, state_after
from charlm.insight.worked_records import Passage, Term, WorkedLine, WorkedPart, quoted
from charlm.networks.language_model import CharLM
from charlm.networks.recurrent import State

NUM_STEPS = 6
GATES = {"rnn": ("h",), "gru": ("r", "z", "n"), "lstm": ("i", "f", "g", "o")}


def backpropagation_parts(network: CharLM, passage: Passage) -> tuple[WorkedPart, ...]:
    """Return the gradients of a window of at most six characters, whose loss is that of its last prediction.

    Args:
        network: a network from `plain_network`.
        passage: the text; the window ends with its last prediction.
    """
    ids = passage.ids[-NUM_STEPS - 1 :]
    chain = follow_chain(network, ids, state_after(network, passage.ids[: -len(ids)]))
    characters = passage.characters[-len(ids) :]
    return (
        _loss_part(network, chain, characters),
        _jacobian_part(network, chain, characters),
        _chain_part(network, chain),
        _weight_part(network, chain, characters),
    )


def _loss_part(network: CharLM, chain: Chain, characters: tuple[str, ...]) -> WorkedPart:
    """Return the loss and its gradient with respect to the last hidden state."""
    end, target = len(chain.steps), characters[-1]
    probability = Term("P", math.exp(-chain.loss))
    text = (
        f"The window is {''.join(characters[:-1])!r}, and the loss is the cost of the {quoted(target)} after it. "
        "y is 1 for that character and 0 for all others; W is the output layer's weight."
    )
    lines = [
        WorkedLine("L", "-ln P", chain.loss, (probability,), meaning="nats"),
        WorkedLine(
            "dL/dlogit", "P - 1", probability.value - 1, (probability,), length_of(chain.errors), quoted(target)
        ),
        WorkedLine(f"dL/dh_{end}", "W^T (P - y)", *_of(chain.last[:1], chain.unit)),
    ]
    if len(chain.last) > 1:
        lines.append(WorkedLine(f"dL/dc_{end}", "0", *_of(chain.last[1:], chain.unit), meaning="no step reads it"))
    return _part(network, chain, "The loss and the last state", text, lines)


def _jacobian_part(network: CharLM, chain: Chain, characters: tuple[str, ...]) -> WorkedPart:
    """Return one factor of the product for each step."""
    letter = "c" if len(chain.last) > 1 else "h"
    text = "Each step multiplies by one Jacobian. The value is its diagonal entry of the chosen unit"
    if letter == "c":
        text += ", which for the cell state of an LSTM is its forget gate (the state s is h and c together)"
    if chain.steps[0].stretch is not None:
        text += (
            "; the norm is the largest singular value of the whole matrix: the most that the step stretches a gradient"
        )
    lines = [
        WorkedLine(
            f"d{letter}_{t}/d{letter}_{t - 1}",
            "diagonal entry",
            step.diagonal,
            norm=step.stretch,
            meaning=f"reads {quoted(characters[t - 1])}",
        )
        for t, step in _backwards(chain)
    ]
    return _part(network, chain, "The Jacobians", f"{text}.", lines)


def _chain_part(network: CharLM, chain: Chain) -> WorkedPart:
    """Return dL/ds of each step backwards, and how far the product is from autograd's result."""
    letters = ("h", "c")[: len(chain.last)]
    lines: list[WorkedLine] = []
    for t, step in _backwards(chain):
        formula = "(d{0}_{1}/d{0}_{2})^T dL/d{0}_{1}".format("s" if len(letters) > 1 else "h", t, t - 1)
        for number, letter in enumerate(letters):
            found = _of(step.before[number : number + 1], chain.unit)
            lines.append(WorkedLine(f"dL/d{letter}_{t - 1}", formula, *found))
    for number, letter in enumerate(letters):
        found = _of(chain.autograd_state[number : number + 1], chain.unit)
        lines.append(WorkedLine(f"dL/d{letter}_0", "autograd, all steps at once", *found, meaning="the same"))
    text = (
        "The last gradient goes back through the transposed Jacobians, one after the other. The state of step 0 is "
        "that before the window, where training cuts the gradient off."
    )
    return _part(network, chain, "Back through the window", text, lines)


def _weight_part(network: CharLM, chain: Chain, characters: tuple[str, ...]) -> WorkedPart:
    """Return the gradient of one recurrent weight as the sum of what each step contributes."""
    size = network.model.hidden_size
    gate = GATES[network.model.cell][chain.row // size]
    name = "W_hh" if gate == "h" else f"W_h{gate}"
    # As everywhere that people read, rows and units count from 1.
    row, column = chain.unit + 1, chain.column + 1
    text = (
        f"One weight, {name}[{row}, {column}], takes part in every step: its gradient is the sum of what "
        "each step adds with the state before it held fixed."
    )
    is_product = not network.model.layer_norm
    if is_product:
        text += f" A step adds delta, the gradient of row {row}'s bias in that step, times unit {column} of h."
    lines: list[WorkedLine] = []
    for t, step in enumerate(chain.steps, 1):
        h = Term(f"h_{t - 1}", float(chain.reading.states[t - 1][0].detach()[0, chain.column]))
        terms = (Term(f"delta_{t}", step.delta), h) if is_product else ()
        formula = " * ".join(term.symbol for term in terms) or "what the step adds"
        reads = f"reads {quoted(characters[t - 1])}"
        lines.append(WorkedLine(f"step {t}", formula, step.contribution, terms, meaning=reads))
    added = tuple(Term(f"step {t}", step.contribution) for t, step in enumerate(chain.steps, 1))
    total = math.fsum(term.value for term in added)
    lines.append(WorkedLine(f"dL/d{name}", " + ".join(term.symbol for term in added), total, added))
    lines.append(WorkedLine(f"dL/d{name}", "autograd, all steps at once", chain.autograd_weight, meaning="the same"))
    return _part(network, chain, "The gradient of one weight", text, lines)


def _part(network: CharLM, chain: Chain, title: str, text: str, lines: list[WorkedLine]) -> WorkedPart:
    return WorkedPart(title, text, tuple(lines), layer=network.model.num_layers, unit=chain.unit + 1)


def _backwards(chain: Chain) -> Iterator[tuple[int, ChainStep]]:
    """Yield the number of each time step and the step, the last one first."""
    return ((t, chain.steps[t - 1]) for t in range(len(chain.steps), 0, -1))


def _of(parts: State, unit: int) -> tuple[float, tuple[Term, ...], float]:
    """Return a vector's entry for the unit, no terms, and the norm."""
    return float(parts[0][0, unit]), (), length_of(parts[0])

"""The equations worked out: one character through every layer of a network, to the cost of the character after it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor

from charlm.insight.worked_cells import CellStep, cell_lines
from charlm.insight.worked_network import (
    LayerReading,
    busiest_unit,
    length_of,
    log_probabilities,
    read_layers,
    state_after,
)
from charlm.insight.worked_perplexity import conversions
from charlm.insight.worked_records import Passage, Term, WorkedLine, WorkedPart, quoted
from charlm.networks.language_model import CharLM

NUM_LIKELIEST = 5


def equation_parts(network: CharLM, passage: Passage, symbols: str) -> tuple[WorkedPart, ...]:
    """Return the equations of the step that predicts the last character of a passage.

    Args:
        network: a network from `plain_network`.
        passage: the text; the step reads its last character but one.
        symbols: the character of each id.
    """
    *context, x, target = passage.ids
    with torch.no_grad():
        readings = read_layers(network, (x,), state_after(network, tuple(context)))
        parts = [_layer_part(network, reading, symbols[x]) for reading in readings]
        return (*parts, _output_part(network, readings[-1].outputs[-1], target, symbols))


def _layer_part(network: CharLM, reading: LayerReading, character: str) -> WorkedPart:
    """Return the equations of one layer, with the numbers of the unit whose hidden state changes most."""
    number, below = reading.layer + 1, reading.below[-1]
    lines: list[WorkedLine] = []
    if reading.layer > 0:
        text = f"x is what layer {number - 1} passes up."
    elif network.vectors is None:
        text = f"x is the one-hot vector of {quoted(character)}: W x is that character's column of W."
    else:
        text = f"x is the embedding of {quoted(character)}, a vector of {below.shape[-1]:,} numbers."
    if below.is_floating_point():
        length = length_of(below)
        lines.append(WorkedLine("|x|", "", length, meaning="the norm of x"))
    unit = busiest_unit(reading.states[-2][0], reading.states[-1][0])
    text += " The chosen unit is the one whose hidden state changes most; the norm is that of the whole layer's vector."
    if network.model.layer_norm:
        text += " Layer normalisation takes the mean and the deviation of all units that it normalises together."
    lines += cell_lines(CellStep(network.recurrent, reading, unit))
    return WorkedPart(f"Layer {number}", text, tuple(lines), layer=number, unit=unit + 1)


def _output_part(network: CharLM, hidden: Tensor, target: int, symbols: str) -> WorkedPart:
    """Return the logits, the likeliest characters, and the cost of the one that came."""
    log_p = log_probabilities(network, hidden)[0]
    logits = network.decode(hidden)[0]
    log_sum, number = Term("log_sum", float(logits.logsumexp(-1))), len(logits)
    order = cast("list[int]", log_p.argsort(descending=True, stable=True).tolist())
    came, bias = quoted(symbols[target]), float(network.decoder.bias[target])
    product = Term("W h", float(logits[target]) - bias)
    lines = [
        WorkedLine("logit", "W h + b", float(logits[target]), (product, Term("b", bias)), meaning=f"of {came}"),
        WorkedLine("log_sum", "ln(sum of exp(logit))", log_sum.value, meaning=f"all {number:,} symbols"),
        *_likeliest(log_p, logits, log_sum, order, target, symbols),
    ]
    nats = -float(log_p[target])
    lines.append(WorkedLine("nats", "-ln P", nats, (Term("P", math.exp(-nats)),), meaning=f"the cost of {came}"))
    text = (
        f"The output layer gives each of the {number:,} symbols a logit, and softmax makes probabilities of them: "
        f"P = exp(logit) / (sum of exp(logit)). The character that really came is {came}."
    )
    if network.model.tied_embeddings:
        text += " W is the embedding (model.tied_embeddings)."
    return WorkedPart("The output", text, (*lines, *conversions(nats, "nats")))


def _likeliest(
    log_p: Tensor, logits: Tensor, log_sum: Term, order: list[int], target: int, symbols: str
) -> Iterator[WorkedLine]:
    """Yield the probabilities of the likeliest characters, and of the one that came if it is not among them."""
    for rank, symbol in enumerate(order, 1):
        if rank <= NUM_LIKELIEST or symbol == target:
            meaning = f"place {rank}" + (", the one that came" if symbol == target else "")
            terms = (Term("logit", float(logits[symbol])), log_sum)
            probability = math.exp(float(log_p[symbol]))
            yield WorkedLine(
                f"P({quoted(symbols[symbol])})", "exp(logit - log_sum)", probability, terms, meaning=meaning
            )

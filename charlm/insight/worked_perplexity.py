"""Perplexity worked out: the probability of each character of a short text, their nats, and what is made of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch

from charlm.insight.worked_network import column_of, log_probabilities, state_after
from charlm.insight.worked_records import Passage, Term, WorkedLine, WorkedPart, quoted
from charlm.networks.language_model import CharLM


@dataclass(frozen=True)
class WholeSplit:
    """What the run has recorded of its whole validation split.

    Args:
        nats_per_char: the mean cost of a character.
        perplexity: its exponential.
        num_chars: the number of predicted characters.
    """

    nats_per_char: float
    perplexity: float
    num_chars: int


def perplexity_parts(network: CharLM, passage: Passage, whole: WholeSplit | None) -> tuple[WorkedPart, ...]:
    """Return the arithmetic of perplexity on a passage.

    Args:
        network: a network from `plain_network`.
        passage: the text; its shown characters are predicted.
        whole: what is set beside it; None where the run has recorded nothing.
    """
    costs = character_costs(network, passage)
    lines = [
        WorkedLine(f"-ln P({quoted(character)})", "-ln P", nats, (Term("P", math.exp(-nats)),))
        for character, nats in zip(passage.shown, costs, strict=True)
    ]
    each = WorkedPart(
        "Each character",
        "The network gives each character a probability P, based on all characters before it. It costs -ln P nats.",
        tuple(lines),
    )
    mean = WorkedPart("From nats to perplexity", "Add the nats up, divide once, and convert.", tuple(_totals(costs)))
    return (each, mean) if whole is None else (each, mean, _beside(whole))


def character_costs(network: CharLM, passage: Passage) -> list[float]:
    """Return the nats of each shown character of a passage."""
    ids, start = passage.ids, passage.start
    with torch.no_grad():
        state = state_after(network, ids[: start - 1])
        hidden, _ = network.read(column_of(ids[start - 1 : -1]), state)  # (T, 1, H)
        log_p = log_probabilities(network, hidden)[:, 0]  # (T, V)
        return cast("list[float]", (-log_p.gather(1, column_of(ids[start:]))[:, 0]).tolist())


def conversions(nats: float, symbol: str) -> tuple[WorkedLine, WorkedLine]:
    """Return a cost in bits, and the perplexity that it makes.

    Args:
        nats: the cost of a character, in nats.
        symbol: what the formulas call it.
    """
    cost = (Term(symbol, nats),)
    bits, perplexity = nats / math.log(2), math.exp(nats)
    return (
        WorkedLine("bits", f"{symbol} / ln 2", bits, cost, meaning="ln 2 = 0.6931"),
        WorkedLine("perplexity", f"exp({symbol})", perplexity, cost),
    )


def _totals(costs: list[float]) -> list[WorkedLine]:
    """Return the sum, the mean, and what the mean is in the other two units."""
    total, number = math.fsum(costs), len(costs)
    terms = tuple(Term(f"nats_{place}", nats) for place, nats in enumerate(costs, 1))
    return [
        WorkedLine("sum", " + ".join(term.symbol for term in terms), total, terms),
        WorkedLine("mean", f"sum / {number}", total / number, (Term("sum", total),), meaning="nats per character"),
        *conversions(total / number, "mean"),
    ]


def _beside(whole: WholeSplit) -> WorkedPart:
    """Return the run's own result, which is made of its nats in the same way."""
    text = (
        f"The run's validation result is the same arithmetic over {whole.num_chars:,} predicted characters. A passage "
        "as short as this one may be far easier or harder than the text."
    )
    mean = Term("mean", whole.nats_per_char)
    return WorkedPart(
        "Beside it, the whole validation split",
        text,
        (WorkedLine("perplexity", "exp(mean)", whole.perplexity, (mean,)),),
    )

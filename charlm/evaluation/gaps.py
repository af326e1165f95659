"""Gap filling, scored: bits for each character of a gap, from its left side alone and from both sides.

A text is cut into blocks; the last characters of each but the final block are a gap, and all the rest is known. Both
scores are code lengths of the same characters, by the chain rule from left to right:

    forward   -log2 P(x_t | what precedes)
    both      -log2 P(x_t | what precedes, what follows the gap)

Neither sees x_t or what follows it inside the gap. For both, these characters are drawn: a Gibbs chain runs over
positions t and later, and the probability of x_t is the mean of its conditionals over the chain, so that it sums to 1.
Source: Berglund et al. 2015, gaps of 5 characters every 25.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import linear

from charlm.errors import TextError
from charlm.evaluation.reading import sum_nats, text_tensor
from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.gaps import Surroundings, sweep_gap
from charlm.networks.recurrent import State
from charlm.text.vocabulary import Ids

GAPS_AT_ONCE = 512
BURN_IN = 4


@dataclass(frozen=True)
class GapScore:
    """Bits for each gap character.

    Args:
        forward_bits: from what precedes alone.
        both_bits: from both sides.
        num_gaps: gaps scored.
        gap: characters in each.
        every: characters in a block, gap included.
    """

    forward_bits: float
    both_bits: float
    num_gaps: int
    gap: int
    every: int

    @property
    def saving(self) -> float:
        """The share of bits that the right side saves."""
        return 1 - self.both_bits / self.forward_bits


def score_gaps(
    network: BidirectionalLM,
    ids: Ids,
    *,
    gap: int,
    every: int,
    passes: int = 20,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> GapScore:
    """Score the filling of gaps all over a text.

    Args:
        network: the model.
        ids: the text, (N,).
        gap: characters in a gap.
        every: characters from the start of one gap to the next.
        passes: Gibbs passes whose conditionals are averaged, after a few that are not.
        seed: of the chains.
        report: called with the gaps done and their number.
    Raises:
        TextError: for a text without a gap that has both its sides.
    """
    starts = range(every - gap, len(ids) - gap, every)
    if len(starts) == 0:
        raise TextError(f"a text of {len(ids):,} characters has no gap of {gap} in every {every} with both its sides")
    network.eval()
    forward_nats = both_nats = 0.0
    with torch.inference_mode():
        text = text_tensor(ids, network)
        generator = torch.Generator(text.device).manual_seed(seed)
        sides = _read_sides(network, text, starts, gap)
        for first in range(0, len(starts), GAPS_AT_ONCE):
            some = slice(first, first + GAPS_AT_ONCE)
            truth = torch.stack([text[start : start + gap, 0] for start in starts[some]], dim=1)  # (gap, B)
            here = _select(sides, some)
            forward_nats += _forward_nats(network, truth, here)
            both_nats += sum(_both_nats(network, truth, position, here, passes, generator) for position in range(gap))
            if report:
                report(min(first + GAPS_AT_ONCE, len(starts)), len(starts))
    bits = len(starts) * gap * math.log(2)
    return GapScore(forward_nats / bits, both_nats / bits, len(starts), gap, every)


def _read_sides(network: BidirectionalLM, text: Tensor, starts: range, gap: int) -> Surroundings:
    """Read the text from both its ends, keeping what stands at each gap's edges; B is the number of gaps."""
    ahead: list[Tensor] = []
    states: list[State] = []
    state, begin = network.zero_state(1), 0
    for start in starts:
        hidden, state = network.forward_half.read(text[begin:start], state)
        ahead.append(hidden[-1])
        states.append(state)
        begin = start
    behind: list[Tensor] = []
    backward_states: list[State] = []
    state, end = network.zero_state(1), len(text)
    for start in reversed(starts):
        hidden, state = network.backward_half.read(text[start + gap : end].flip(0), state)
        behind.append(hidden[-1])
        backward_states.append(state)
        end = start + gap
    return Surroundings(
        ahead=torch.cat(ahead),
        state=_side_by_side(states),
        behind=torch.cat(behind[::-1]),
        backward_state=_side_by_side(backward_states[::-1]),
    )


def _side_by_side(states: list[State]) -> State:
    return tuple(torch.cat(parts, dim=1) for parts in zip(*states, strict=True))


def _select(sides: Surroundings, some: slice) -> Surroundings:
    return Surroundings(
        ahead=sides.ahead[some],
        state=tuple(part[:, some] for part in sides.state),
        behind=sides.behind[some],
        backward_state=tuple(part[:, some] for part in sides.backward_state),
    )


def _forward_nats(network: BidirectionalLM, truth: Tensor, sides: Surroundings) -> float:
    """Return what the gaps cost from their left sides alone; truth is (gap, B)."""
    half = network.forward_half
    hidden, _ = half.read(truth[:-1], sides.state) if len(truth) > 1 else (truth.new_empty(0), sides.state)
    states = torch.cat([sides.ahead[None], *([hidden] if len(truth) > 1 else [])])  # (gap, B, H)
    logits = linear(states, half.decoder.weight, half.decoder.bias)
    return sum_nats(logits, truth)


def _both_nats(
    network: BidirectionalLM,
    truth: Tensor,
    position: int,
    sides: Surroundings,
    passes: int,
    generator: torch.Generator,
) -> float:
    """Return what one position of the gaps costs, given all before it and the right sides."""
    here = _after(network, truth[:position], sides)
    gap = _drawn_forward(network, len(truth) - position, here, generator)
    total = torch.zeros(truth.shape[1], dtype=torch.float64, device=truth.device)

    for number in range(BURN_IN + passes):

        def choose(place: int, logits: Tensor, counted: bool = number >= BURN_IN) -> Tensor:
            nonlocal total
            probabilities = torch.softmax(logits.double(), dim=-1)
            if place == 0 and counted:
                total += probabilities.gather(1, truth[position, :, None])[:, 0]
            return torch.multinomial(probabilities, 1, generator=generator)[:, 0]

        gap = sweep_gap(network, gap, here, choose)
    return -(total / passes).log().sum().item()


def _after(network: BidirectionalLM, known: Tensor, sides: Surroundings) -> Surroundings:
    """Return the surroundings with a gap's first characters known too."""
    if len(known) == 0:
        return sides
    hidden, state = network.forward_half.read(known, sides.state)
    return replace(sides, ahead=hidden[-1], state=state)


def _drawn_forward(network: BidirectionalLM, length: int, sides: Surroundings, generator: torch.Generator) -> Tensor:
    """Return a first filling, (length, B), written by the forward half."""
    ahead, state = sides.ahead, sides.state
    chosen: list[Tensor] = []
    for _ in range(length):
        probabilities = torch.softmax(network.forward_half.decoder(ahead).double(), dim=-1)
        chosen.append(torch.multinomial(probabilities, 1, generator=generator)[:, 0])
        hidden, state = network.forward_half.read(chosen[-1][None], state)
        ahead = hidden[-1]
    return torch.stack(chosen)

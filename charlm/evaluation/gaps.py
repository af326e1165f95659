"""Gap filling, scored: bits for each character of a gap, from its left side alone and from both sides.

The last characters of each block of a text are a gap, and all the rest is known. Each gap character is predicted from
what is known, no other character of its gap among it:

    forward   -log2 P(x_t | what precedes the gap)
    both      -log2 P(x_t | what precedes the gap, what follows it)

The unknown ones are drawn, and the probability of x_t is the mean of its conditionals over the draws, so that it sums
to 1: for forward, over fillings that the forward half writes; for both, over the passes of Gibbs chains that start from
these. Source: Berglund et al. 2015, gaps of 5 characters every 25.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from charlm.errors import TextError
from charlm.evaluation.reading import text_tensor
from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.gaps import Surroundings, sweep_gap
from charlm.networks.recurrent import State
from charlm.text.vocabulary import Ids

GAPS_AT_ONCE = 512
BURN_IN = 4
DEFAULT_CHAINS = 10
DEFAULT_PASSES = 40


@dataclass(frozen=True)
class GapScore:
    """Mean bits for each gap character.

    Args:
        forward_bits: from what precedes the gap alone.
        both_bits: from both its sides.
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
    passes: int = DEFAULT_PASSES,
    chains: int = DEFAULT_CHAINS,
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
        chains: fillings and Gibbs chains of each gap, averaged too.
        seed: of the draws.
        report: called with the gaps done and their number.
    Raises:
        TextError: for a text without a gap that has both its sides.
    """
    starts = range(every - gap, len(ids) - gap, every)
    if len(starts) == 0:
        raise TextError(f"a text of {len(ids):,} characters has no gap of {gap} in every {every} with both its sides")
    network.eval()
    forward_bits = both_bits = 0.0
    with torch.inference_mode():
        text = text_tensor(ids, network)
        generator = torch.Generator(text.device).manual_seed(seed)
        sides = _read_sides(network, text, starts, gap)
        for first in range(0, len(starts), GAPS_AT_ONCE):
            some = slice(first, first + GAPS_AT_ONCE)
            truth = torch.stack([text[start : start + gap, 0] for start in starts[some]], dim=1)  # (gap, B)
            likelihood = _Likelihood(truth.repeat(1, chains), generator)
            around = _repeated(sides, some, chains)
            filling = _write_forward(network, around, likelihood)
            forward_bits += likelihood.take_bits(chains)
            for number in range(BURN_IN + passes):
                likelihood.is_counting = number >= BURN_IN
                filling = sweep_gap(network, filling, around, likelihood.draw)
            both_bits += likelihood.take_bits(chains)
            if report:
                report(min(first + GAPS_AT_ONCE, len(starts)), len(starts))
    count = len(starts) * gap
    return GapScore(forward_bits / count, both_bits / count, len(starts), gap, every)


class _Likelihood:
    """Draws characters, adding up what probability the true ones had."""

    def __init__(self, truth: Tensor, generator: torch.Generator) -> None:
        self.truth = truth  # (gap, B)
        self.generator = generator
        self.is_counting = True
        self.total = torch.zeros(truth.shape, dtype=torch.float64, device=truth.device)
        self.count = 0

    def draw(self, position: int, logits: Tensor) -> Tensor:
        """Draw ids (B,) at a position from logits (B, V)."""
        probabilities = torch.softmax(logits.double(), dim=-1)
        if self.is_counting:
            self.total[position] += probabilities.gather(1, self.truth[position, :, None])[:, 0]
            self.count += position == 0
        return torch.multinomial(probabilities, 1, generator=self.generator)[:, 0]

    def take_bits(self, chains: int) -> float:
        """Return the bits of all gaps together under the mean probabilities, and begin anew."""
        mean = self.total.reshape(len(self.total), chains, -1).mean(1) / self.count  # (gap, gaps)
        self.total, self.count = torch.zeros_like(self.total), 0
        return -mean.log2().sum().item()


def _write_forward(network: BidirectionalLM, sides: Surroundings, likelihood: _Likelihood) -> Tensor:
    """Return a filling of each gap, (gap, B), written by the forward half."""
    ahead, state = sides.ahead, sides.state
    chosen: list[Tensor] = []
    for position in range(len(likelihood.truth)):
        chosen.append(likelihood.draw(position, network.forward_half.decoder(ahead)))
        hidden, state = network.forward_half.read(chosen[-1][None], state)
        ahead = hidden[-1]
    return torch.stack(chosen)


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


def _repeated(sides: Surroundings, some: slice, chains: int) -> Surroundings:
    """Return some gaps' sides, all of them once for each chain."""
    return Surroundings(
        ahead=sides.ahead[some].repeat(chains, 1),
        state=tuple(part[:, some].repeat(1, chains, 1) for part in sides.state),
        behind=sides.behind[some].repeat(chains, 1),
        backward_state=tuple(part[:, some].repeat(1, chains, 1) for part in sides.backward_state),
    )

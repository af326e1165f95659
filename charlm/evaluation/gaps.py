"""Gap filling, scored: bits for each character of a gap, from its left side alone and from both sides.

The last characters of each block of a text are a gap, and all the rest is known. Both scores are code lengths of a gap
by the chain rule from left to right:

    forward   -log2 P(x_t | what precedes x_t)
    both      -log2 P(x_t | what precedes x_t, what follows the gap)

Neither sees x_t or what follows it inside the gap. For both, these are drawn: Gibbs chains run over positions t and
later, and P is the mean of x_t's conditionals over their passes, with a tenth of the forward half's own probability, so
that a chain which never met the truth does not cost without bounds. It sums to 1, like any mean of probabilities.
Source: Berglund et al. 2015, gaps of 5 characters every 25.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from charlm.errors import TextError
from charlm.evaluation.reading import text_tensor
from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.gaps import Surroundings, sweep_gap
from charlm.networks.recurrent import State
from charlm.text.vocabulary import Ids

GAPS_AT_ONCE = 256
BURN_IN = 5
FORWARD_SHARE = 0.1
DEFAULT_CHAINS = 20
DEFAULT_PASSES = 20


@dataclass(frozen=True)
class GapScore:
    """Mean bits for each gap character.

    Args:
        forward_bits: from what precedes alone.
        both_bits: from what precedes and what follows the gap.
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
        chains: of each gap, side by side, averaged too.
        seed: of the chains.
        report: called with the gaps done and their number.
    Raises:
        TextError: for a text without a gap that has both its sides.
    """
    starts = range(every - gap, len(ids) - gap, every)
    if len(starts) == 0:
        raise TextError(f"a text of {len(ids):,} characters has no gap of {gap} in every {every} with both its sides")
    network.eval()
    bits = torch.zeros(2, dtype=torch.float64)
    with torch.inference_mode():
        text = text_tensor(ids, network)
        generator = torch.Generator(text.device).manual_seed(seed)
        sides = _read_sides(network, text, starts, gap)
        for first in range(0, len(starts), GAPS_AT_ONCE):
            some = slice(first, first + GAPS_AT_ONCE)
            truth = torch.stack([text[start : start + gap, 0] for start in starts[some]], dim=1)  # (gap, B)
            bits += _bits(network, truth, _select(sides, some), passes=passes, chains=chains, generator=generator)
            if report:
                report(min(first + GAPS_AT_ONCE, len(starts)), len(starts))
    forward_bits, both_bits = bits / (len(starts) * gap)
    return GapScore(forward_bits.item(), both_bits.item(), len(starts), gap, every)


def _bits(
    network: BidirectionalLM,
    truth: Tensor,
    sides: Surroundings,
    *,
    passes: int,
    chains: int,
    generator: torch.Generator,
) -> Tensor:
    """Return what some gaps cost in all, (forward, both); truth is (gap, B)."""
    half = network.forward_half
    bits = torch.zeros(2, dtype=torch.float64)
    for position, ids in enumerate(truth):
        forward = _probability(half.decoder(sides.ahead), ids)  # (B,)
        chain = _GibbsChain(network, ids, _repeated(sides, chains), generator)
        both = chain.probability(len(truth) - position, passes=passes, chains=chains)
        both = FORWARD_SHARE * forward + (1 - FORWARD_SHARE) * both
        bits -= torch.stack([forward.log2().sum(), both.log2().sum()]).cpu()
        hidden, state = half.read(ids[None], sides.state)
        sides = replace(sides, ahead=hidden[-1], state=state)
    return bits


@dataclass(frozen=True)
class _GibbsChain:
    """Chains over what is left of some gaps, watched at its first character.

    Args:
        network: the model.
        ids: the true first characters, (B,).
        sides: of the gaps, each as often as there are chains.
        generator: of the draws.
    """

    network: BidirectionalLM
    ids: Tensor
    sides: Surroundings
    generator: torch.Generator

    def probability(self, length: int, *, passes: int, chains: int) -> Tensor:
        """Return the mean conditional probability of the true first character over chains and passes, (B,)."""
        truth = self.ids.repeat(chains)
        total = torch.zeros(len(truth), dtype=torch.float64, device=truth.device)

        def watch(position: int, logits: Tensor) -> Tensor:
            if position == 0:
                total.add_(_probability(logits, truth))
            return self.draw(position, logits)

        filling = self.draft(length)
        for _ in range(BURN_IN):
            filling = sweep_gap(self.network, filling, self.sides, self.draw)
        for _ in range(passes):
            filling = sweep_gap(self.network, filling, self.sides, watch)
        return total.reshape(chains, -1).mean(0) / passes

    def draw(self, position: int, logits: Tensor) -> Tensor:
        """Draw ids (B,) from logits (B, V)."""
        del position
        return torch.multinomial(torch.softmax(logits, dim=-1), 1, generator=self.generator)[:, 0]

    def draft(self, length: int) -> Tensor:
        """Return a first filling, (length, B), written by the forward half."""
        half = self.network.forward_half
        ahead, state = self.sides.ahead, self.sides.state
        chosen: list[Tensor] = []
        for position in range(length):
            chosen.append(self.draw(position, half.decoder(ahead)))
            hidden, state = half.read(chosen[-1][None], state)
            ahead = hidden[-1]
        return torch.stack(chosen)


def _probability(logits: Tensor, ids: Tensor) -> Tensor:
    """Return the probability of ids (B,) under logits (B, V), in float64."""
    return torch.softmax(logits.double(), dim=-1).gather(1, ids[:, None])[:, 0]


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


def _repeated(sides: Surroundings, chains: int) -> Surroundings:
    return Surroundings(
        ahead=sides.ahead.repeat(chains, 1),
        state=tuple(part.repeat(1, chains, 1) for part in sides.state),
        behind=sides.behind.repeat(chains, 1),
        backward_state=tuple(part.repeat(1, chains, 1) for part in sides.backward_state),
    )

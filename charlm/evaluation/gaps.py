"""Score gap filling: bits per character of a gap, from its left side alone and from both sides.

The last characters of each block of a text form a gap, and all other characters are known. Both scores are code lengths
of a gap by the chain rule from left to right:

    forward   -log2 P(x_t | what precedes x_t)
    both      -log2 P(x_t | what precedes x_t, what follows the gap)

Neither score uses x_t or what follows it inside the gap. For `both`, Gibbs chains draw fillings of the rest of the gap,
and each distinct filling gets a weight. The forward half reads the filling and some of the text that follows, the
backward half reads the filling and some of the text that precedes, and the weight is the geometric mean of their two
probabilities. P is the share of the fillings that begin with x_t, mixed with a tenth of the forward half's probability,
so that a character which no chain drew has a finite cost. P sums to 1.
Source: the task is from Berglund et al. 2015, with gaps of 5 characters every 25.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from charlm.errors import TextError
from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.gibbs import Surroundings, sweep_gap
from charlm.networks.inputs import as_tensor
from charlm.networks.language_model import CharLM
from charlm.networks.modes import evaluating
from charlm.networks.recurrent import State
from charlm.text.unknown import ALL_KNOWN, UnknownCount
from charlm.text.vocabulary import Ids

GAPS_AT_ONCE = 64
# How many characters each half reads beyond a filling; it never reads into the next gap.
CONTEXT_CHARS = 8
FORWARD_SHARE = 0.1
DEFAULT_CHAINS = 20
DEFAULT_PASSES = 20


@dataclass(frozen=True)
class GapScore:
    """Mean bits per gap character.

    Args:
        forward_bits: predicted only from the text before.
        both_bits: predicted from the text before and the text after the gap.
        num_gaps: number of gaps scored.
        gap: number of characters in each gap.
        every: number of characters in a block, including its gap.
        unknown: how many characters of the text the model does not know.
    """

    forward_bits: float
    both_bits: float
    num_gaps: int
    gap: int
    every: int
    unknown: UnknownCount = ALL_KNOWN

    @property
    def saving(self) -> float:
        """The share of bits that reading the right side saves."""
        return 1 - self.both_bits / self.forward_bits

    def as_record(self) -> dict[str, object]:
        """Return JSON values."""
        figures = {name: value for name, value in vars(self).items() if name != "unknown"}
        return {**figures, "saving": self.saving, **self.unknown.as_record()}


def measure_gaps(
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
    """Score the filling of gaps throughout a text.

    Args:
        network: the model.
        ids: the text, (N,).
        gap: number of characters in a gap.
        every: number of characters from the start of one gap to the start of the next.
        passes: Gibbs passes of each chain, each of which gives one filling.
        chains: number of parallel chains for each gap.
        seed: random seed of the chains.
        report: called with the number of gaps done and their total.
        Raises:
            TextError: if the text is too short to have a gap with text on both sides.
    """
    context = min(CONTEXT_CHARS, every - gap)
    starts = range(every - gap, len(ids) - gap - context + 1, every)
    if len(starts) == 0:
        short = f"a text of {len(ids):,} characters is too short for gaps of {gap} in every {every} characters"
        raise TextError(f"{short}: each gap needs text on both sides")
    bits = torch.zeros(2, dtype=torch.float64)
    with evaluating(network):
        text = as_tensor(ids[:, None], network)
        filler = _Filler(network, passes, chains, torch.Generator(text.device).manual_seed(seed))
        sides = _read_sides(network, text, starts, gap)
        for first in range(0, len(starts), GAPS_AT_ONCE):
            some = slice(first, first + GAPS_AT_ONCE)
            spans = torch.cat([text[start - context : start + gap + context] for start in starts[some]], dim=1)
            bits += _bits(filler, spans, _select(sides, some), gap=gap, context=context)
            if report:
                report(min(first + GAPS_AT_ONCE, len(starts)), len(starts))
    forward_bits, both_bits = bits / (len(starts) * gap)
    return GapScore(forward_bits.item(), both_bits.item(), len(starts), gap, every)


def _bits(filler: _Filler, spans: Tensor, sides: Surroundings, *, gap: int, context: int) -> Tensor:
    """Return the total cost of some gaps, (forward, both); spans (context + gap + context, B) hold the true text."""
    half = filler.network.forward_half
    bits = torch.zeros(2, dtype=torch.float64)
    for position in range(context, context + gap):
        truth = spans[position]
        forward = torch.softmax(half.decoder(sides.ahead).double(), dim=-1).gather(1, truth[:, None])[:, 0]  # (B,)
        before, after = spans[position - context : position], spans[context + gap :]
        share = filler.share_that_begins_with(truth, sides, before, after, length=context + gap - position)
        both = FORWARD_SHARE * forward + (1 - FORWARD_SHARE) * share
        bits -= torch.stack([forward.log2().sum(), both.log2().sum()]).cpu()
        hidden, state = half.read(truth[None], sides.state)
        sides = replace(sides, ahead=hidden[-1], state=state)
    return bits


@dataclass(frozen=True)
class _Filler:
    """Fill gaps by Gibbs chains, and weigh the fillings."""

    network: BidirectionalLM
    passes: int
    chains: int
    generator: torch.Generator

    def share_that_begins_with(
        self, ids: Tensor, sides: Surroundings, before: Tensor, after: Tensor, *, length: int
    ) -> Tensor:
        """Return the share of each gap's weight that fillings beginning with the given ids have, (B,).

        Args:
            ids: one id for each gap, (B,).
            sides: the readouts at the edges of the gaps.
            before: the characters before the gaps, (context, B).
            after: the characters after the gaps, (context, B).
            length: number of characters to fill.
        """
        owner, fillings = self.distinct_fillings(length, sides)
        ahead, behind = (sides.ahead, sides.state), (sides.behind, sides.backward_state)
        onwards = torch.cat([fillings, after[:, owner]])
        backwards = torch.cat([before[:, owner], fillings]).flip(0)
        scores = _log_probability(self.network.forward_half, ahead, owner, onwards)
        scores = (scores + _log_probability(self.network.backward_half, behind, owner, backwards)) / 2
        highest = scores.new_full(ids.shape, -torch.inf).scatter_reduce(0, owner, scores, "amax")
        weights = (scores - highest[owner]).exp()
        totals = torch.zeros_like(highest).index_add(0, owner, weights)
        return torch.zeros_like(highest).index_add(0, owner, weights * (fillings[0] == ids[owner])) / totals

    def distinct_fillings(self, length: int, sides: Surroundings) -> tuple[Tensor, Tensor]:
        """Return the number of each filling's gap, (fillings,), and the fillings, (length, fillings)."""
        around = _repeated(sides, self.chains)
        gaps = torch.arange(len(sides.ahead), device=sides.ahead.device).repeat(self.chains)
        filling = self.draft(length, around)
        drawn = [filling]
        for _ in range(self.passes):
            filling = sweep_gap(self.network, filling, around, self.draw)
            drawn.append(filling)
        owned = torch.cat([gaps.repeat(len(drawn))[None], torch.cat(drawn, dim=1)])
        distinct = cast("Tensor", owned.unique(dim=1))
        return distinct[0], distinct[1:]

    def draft(self, length: int, sides: Surroundings) -> Tensor:
        """Return a first filling, (length, B), written by the forward half."""
        half = self.network.forward_half
        ahead, state = sides.ahead, sides.state
        chosen: list[Tensor] = []
        for position in range(length):
            chosen.append(self.draw(position, half.decoder(ahead)))
            hidden, state = half.read(chosen[-1][None], state)
            ahead = hidden[-1]
        return torch.stack(chosen)

    def draw(self, position: int, logits: Tensor) -> Tensor:
        """Draw ids (B,) from logits (B, V)."""
        del position
        return torch.multinomial(torch.softmax(logits, dim=-1), 1, generator=self.generator)[:, 0]


def _log_probability(half: CharLM, start: tuple[Tensor, State], owner: Tensor, text: Tensor) -> Tensor:
    """Return the log-probability of texts (T, N) under a half that starts from their owners' states, (N,)."""
    hidden, state = start
    last, state = hidden[owner], tuple(part[:, owner] for part in state)
    total = torch.zeros(len(owner), dtype=torch.float64, device=text.device)
    for ids in text:
        total += half.decoder(last).log_softmax(-1).gather(1, ids[:, None])[:, 0]
        hidden, state = half.read(ids[None], state)
        last = hidden[-1]
    return total


def _read_sides(network: BidirectionalLM, text: Tensor, starts: range, gap: int) -> Surroundings:
    """Read the text from both ends and keep the states at each gap's edges; B is the number of gaps."""
    ahead, state = _read_up_to(network.forward_half, text, starts)
    places = [len(text) - gap - start for start in reversed(starts)]
    behind, backward_state = _read_up_to(network.backward_half, text.flip(0), places)
    return Surroundings(ahead, state, behind.flip(0), tuple(part.flip(1) for part in backward_state))


def _read_up_to(half: CharLM, text: Tensor, places: Sequence[int]) -> tuple[Tensor, State]:
    """Read a text (N, 1) once; return the last layer's output before each place, (B, H), and the states there."""
    hiddens: list[Tensor] = []
    states: list[State] = []
    state, begin = half.initial_state(1), 0
    for place in places:
        hidden, state = half.read(text[begin:place], state)
        hiddens.append(hidden[-1])
        states.append(state)
        begin = place
    return torch.cat(hiddens), tuple(torch.cat(parts, dim=1) for parts in zip(*states, strict=True))


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

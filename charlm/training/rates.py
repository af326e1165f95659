"""Results on a text, as a run's records hold them."""

from __future__ import annotations

import math
from dataclasses import replace

from charlm.evaluation.assessment import Assessment
from charlm.evaluation.figure import Figures
from charlm.runs.rates import BothWays, PerItem, Rates, Standing


def rates_of(figures: Figures, standing: Standing | None = None) -> Rates:
    """Return results as rates for the records.

    Args:
        standing: baselines and interval of a text that was read whole.
    """
    main, backward, cloze = figures.main, figures.backward, figures.cloze
    both_ways = None
    if backward is not None and cloze is not None:
        both_ways = BothWays(
            backward_bpc=backward.bits_per_char,
            backward_perplexity=backward.perplexity,
            cloze_bpc=cloze.bits_per_char,
            cloze_pseudo_perplexity=cloze.perplexity,
        )
    return Rates(
        nats_per_char=main.nats_per_char,
        bpc=main.bits_per_char,
        perplexity=main.perplexity,
        chars=main.num_predicted,
        both_ways=both_ways,
        standing=standing,
    )


def rates_of_whole(assessment: Assessment) -> Rates:
    """Return the rates of a text that was read whole, with what is needed to judge them."""
    interval = assessment.interval
    standing = Standing(
        bits_per_byte=assessment.bits_per_byte,
        bpc_interval=interval and (interval[0] / math.log(2), interval[1] / math.log(2)),
        sha256=assessment.sha256,
        baselines=dict(assessment.baselines) or None,
        beats_5gram=assessment.beats_5gram,
    )
    rates = rates_of(assessment.figures, standing)
    if assessment.num_items is None or assessment.nats_per_item is None:
        return rates
    per_item = PerItem(num_items=assessment.num_items, nats_per_item=assessment.nats_per_item)
    return replace(rates, per_item=per_item)

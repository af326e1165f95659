"""A result with everything needed to judge it: its units, its interval, and simpler models of the same text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from charlm.evaluation.adaptive import AdaptiveFigure
from charlm.evaluation.baselines import FIVE_GRAM, Baselines, encoded
from charlm.evaluation.figure import Figures, figures_record
from charlm.evaluation.intervals import BlockSums, in_bits
from charlm.evaluation.items import measure_part
from charlm.networks.building import Network
from charlm.networks.predictor import Predictor
from charlm.text.splits import Part
from charlm.text.unknown import ALL_KNOWN, UnknownCount
from charlm.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Assessment:
    """The results of a model on a text, with what they are to be compared with.

    Args:
        figures: the model's results.
        sha256: hash of the whole text in UTF-8, exactly as the file has it.
        num_bytes: number of bytes of the predicted characters in the corpus' encoding.
        interval: the 95 % interval of resampled texts, in nats per character; None for a short text.
        baselines: bits per character of the same characters, by baseline; empty if none were requested.
        unknown: how many characters the model does not know; skipped ones are not among those predicted.
        num_items: how many items the text is a list of; None for a running text.
        adaptive: the result of a baseline that learns from the text too; None if it was not requested. It is no part
            of the record, because the record is about the weights as they were trained.
    """

    figures: Figures
    sha256: str
    num_bytes: int
    interval: tuple[float, float] | None
    baselines: Mapping[str, float]
    unknown: UnknownCount = ALL_KNOWN
    num_items: int | None = None
    adaptive: AdaptiveFigure | None = None

    @property
    def nats_per_item(self) -> float | None:
        """Nats per item, its end included; None for a running text."""
        return self.figures.main.nats / self.num_items if self.num_items else None

    @property
    def bits_per_byte(self) -> float:
        """Bits per byte of the predicted characters."""
        return self.figures.main.nats / math.log(2) / self.num_bytes

    @property
    def beats_5gram(self) -> bool | None:
        """Whether the model is better than the 5-gram; None if no baselines were requested."""
        return self.figures.main.bits_per_char < self.baselines[FIVE_GRAM] if self.baselines else None

    def as_record(self, prefix: str = "") -> dict[str, object]:
        """Return JSON values, whose keys begin with the prefix."""
        record: dict[str, object] = {
            "bits_per_byte": self.bits_per_byte,
            "bpc_interval": in_bits(self.interval),
            "sha256": self.sha256,
            "baselines": dict(self.baselines) or None,
            "beats_5gram": self.beats_5gram,
        }
        if self.num_items:
            record |= {"num_items": self.num_items, "nats_per_item": self.nats_per_item}
        return figures_record(self.figures, prefix) | {prefix + key: value for key, value in record.items()}


def assess_text(
    network: Network | Predictor,
    part: Part,
    vocabulary: Vocabulary,
    *,
    encoding: str,
    baselines: Baselines | None,
    report: Callable[[int], None] | None = None,
) -> Assessment:
    """Measure a model on a whole text.

    Args:
        network: the network, or another model that predicts.
        part: the text in the model's reading order, at least two characters, and its hash.
        vocabulary: the model's symbols.
        encoding: the corpus' encoding, in whose bytes compressors and bits per byte are counted.
        baselines: fitted on the training split in the same order; None leaves them out.
        report: called after each chunk with the number of characters done.
    """
    blocks = BlockSums()
    figures = measure_part(network, part, report=report, observe=blocks.add)
    return assess_measured(figures, blocks, part, vocabulary, encoding=encoding, baselines=baselines)


def assess_measured(
    figures: Figures,
    blocks: BlockSums,
    part: Part,
    vocabulary: Vocabulary,
    *,
    encoding: str,
    baselines: Baselines | None,
) -> Assessment:
    """Return the assessment of a text that has been measured.

    Args:
        figures: the results.
        blocks: the costs that they are made of.
        part: the text, and the others as for `assess_text`.
        vocabulary: see there.
        encoding: see there.
        baselines: see there.
    """
    others = baselines.measure(part.ids) if baselines else {}
    rates = {name: figure.bits_per_char for name, figure in others.items()}
    num_bytes = len(encoded(part.ids[1:], vocabulary, encoding))
    return Assessment(figures, part.sha256, num_bytes, blocks.interval(), rates, part.unknown, part.num_items)

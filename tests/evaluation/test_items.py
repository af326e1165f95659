"""Results on items equal those of each item alone, whatever their order; baselines follow the same protocol."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from charlm.evaluation.baselines import encoded, fit_baselines
from charlm.evaluation.characters import score_items
from charlm.evaluation.items import measure_items
from charlm.evaluation.ngrams import fit_ngrams, ngram_nats
from charlm.evaluation.reading import measure_text
from charlm.library.measuring import assess, evaluate
from charlm.library.models import open_run
from charlm.library.scoring import score, score_lines
from charlm.networks.building import Network, build_model
from charlm.runs.run import Run
from charlm.settings.model import ModelSettings
from charlm.text.items import NONCHARACTER, item_places
from charlm.text.vocabulary import Ids, Vocabulary

V = 6
ENCODING = "utf-8"


def draw_items(number: int = 30, seed: int = 0) -> Ids:
    """Return random items between boundaries, which have the id 0."""
    random = np.random.default_rng(seed)
    items = (np.append(random.integers(1, V, random.integers(1, 9)), 0) for _ in range(number))
    return np.concatenate([[0], *items]).astype(np.uint8)


def shuffled(ids: Ids, seed: int = 1) -> Ids:
    """Return the same items in another order."""
    items = np.split(ids[1:], np.flatnonzero(ids[1:] == 0)[:-1] + 1)
    order = np.random.default_rng(seed).permutation(len(items))
    return np.concatenate([ids[:1], *(items[place] for place in order)])


@pytest.fixture(scope="module")
def network() -> Network:
    """Return a small network with fresh weights."""
    return build_model(ModelSettings(cell="gru", hidden_size=6), V, seed=0)


@pytest.mark.parametrize("chunk_chars", [1, 7, 2048])
def test_the_result_is_the_sum_over_items_that_are_read_alone(network: Network, chunk_chars: int) -> None:
    ids = draw_items()
    alone = [
        measure_text(network, ids[place : place + length + 1]).main.nats
        for place, length in zip(*item_places(ids, 0), strict=True)
    ]
    costs: list[float] = []
    figure = measure_items(network, ids, 0, chunk_chars=chunk_chars, observe=costs.extend).main
    assert figure.nats == pytest.approx(sum(alone), rel=1e-6)
    assert figure.num_predicted == len(ids) - 1
    # The costs are in the order of the text, whatever was read side by side.
    ends = np.cumsum([0, *item_places(ids, 0)[1]])
    assert [sum(costs[start:end]) for start, end in pairwise(ends)] == pytest.approx(alone, rel=1e-5)


def test_the_order_of_items_does_not_matter(network: Network) -> None:
    ids = draw_items()
    first, second = (measure_items(network, each, 0).main.nats for each in (ids, shuffled(ids)))
    assert first == pytest.approx(second, rel=1e-6)


def test_a_part_of_the_items_is_measured_whole(network: Network) -> None:
    ids = draw_items()
    places, _ = item_places(ids, 0)
    assert measure_items(network, ids, 0, max_chars=int(places[3]) + 2).main.num_predicted == places[3]


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_scores_of_items_add_up_to_the_result(network: Network, direction: str) -> None:
    ids, vocabulary = draw_items(), Vocabulary("\nabcde")
    scored = list(score_items(network, ids[1:], 0, vocabulary, direction=direction))
    in_order = ids if direction == "forward" else ids[::-1]
    nats = sum(each.bits or 0 for each in scored) * math.log(2)
    assert nats == pytest.approx(measure_items(network, in_order, 0).main.nats, rel=1e-5)
    assert [each.position for each in scored] == list(range(len(ids) - 1))
    assert "".join(each.character for each in scored) == vocabulary.decode(ids[1:])
    assert all(each.bits is not None for each in scored)


@pytest.mark.parametrize("order", [1, 2, 5])
def test_ngrams_do_not_see_the_item_before(order: int) -> None:
    train, text = draw_items(200), draw_items(50, seed=3)
    nats = [
        ngram_nats(fit_ngrams(known, V, order, boundary=0), read, V, boundary=0).sum()
        for known in (train, shuffled(train))
        for read in (text, shuffled(text))
    ]
    assert nats == pytest.approx([nats[0]] * 4, rel=1e-9)


def test_a_bigram_knows_how_items_begin_and_end() -> None:
    # All items begin with 1 and end with 2: both cost next to nothing.
    ids = np.concatenate([[0], *([1, inner, 2, 0] for inner in [3, 4, 5, 3, 4] * 20)]).astype(np.uint8)
    nats = ngram_nats(fit_ngrams(ids, V, 2, boundary=0), ids, V, boundary=0)
    assert nats[0::4].max() < 0.05
    assert nats[3::4].max() < 0.05
    assert nats[1::4].mean() > 0.9


def test_begins_are_counted_as_often_as_they_occur() -> None:
    firsts = [1] * 90 + [2] * 10
    ids = np.concatenate([[0], *([first, 3, 0] for first in firsts)]).astype(np.uint8)
    nats = ngram_nats(fit_ngrams(ids, V, 5, boundary=0), ids, V, boundary=0)
    shares = Counter(firsts)
    assert math.exp(-nats[0]) == pytest.approx(shares[1] / len(firsts), abs=0.05)


def test_compressors_get_items_joined_by_line_ends() -> None:
    vocabulary = Vocabulary("ab" + NONCHARACTER)
    assert encoded(vocabulary.encode(f"ab{NONCHARACTER}b{NONCHARACTER}"), vocabulary, "latin-1") == b"ab\nb\n"
    ids = vocabulary.encode(NONCHARACTER + f"ab{NONCHARACTER}" * 40)
    figures = fit_baselines(ids, vocabulary, ENCODING, boundary=2).measure(ids)
    assert {figure.num_predicted for figure in figures.values()} == {120}


def test_an_assessment_has_the_result_per_item(listed: Run) -> None:
    found = assess(listed)
    record = found.as_record()
    assert record["num_items"] == found.num_items == 15
    assert record["nats_per_item"] == pytest.approx(found.figures.main.nats / 15)
    assert {"uniform", "unigram", "bigram", "5-gram", "bzip2", "xz"} <= set(found.baselines)
    end = listed.summary()
    assert end is not None
    assert end["test_nats_per_item"] == pytest.approx(record["nats_per_item"])


def test_files_are_measured_item_by_item(listed: Run, tmp_path: Path) -> None:
    model = open_run(listed)
    names = ["bako", "", "lita", "bako"]
    path = tmp_path / "mine.txt"
    path.write_bytes("\r\n".join(names).encode())
    figure = evaluate(model, files=[path]).main
    assert figure.num_predicted == 15
    scored = [each for name in ("bako", "lita", "bako") for each in score(model, name)]
    assert figure.nats == pytest.approx(sum(each.bits or 0 for each in scored) * math.log(2), rel=1e-5)
    lines = list(score_lines(model, files=[path]))
    assert [line.text for line in lines] == names
    assert lines[0].bits == pytest.approx(lines[3].bits)

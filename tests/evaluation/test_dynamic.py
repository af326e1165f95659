"""Dynamic evaluation: each character is predicted before the weights learn from it, and the model is not changed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pairs import one_in
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from typer.testing import Result

import charlm
from charlm.errors import ConfigError, DivergedError, RunError, TextError
from charlm.evaluation import dynamic
from charlm.evaluation.dynamic import Adaptation, measure_dynamically, measure_gradients, tune_adaptation
from charlm.evaluation.figure import Figure
from charlm.evaluation.intervals import BLOCK_CHARS, BlockSums
from charlm.evaluation.reading import measure_text
from charlm.library.training import train
from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.building import build_model
from charlm.networks.inputs import as_tensor
from charlm.networks.language_model import CharLM
from charlm.networks.recurrent import State
from charlm.runs.run import Run
from charlm.settings.model import ModelSettings
from charlm.settings.schema import Settings
from charlm.text.vocabulary import Ids

Charlm = Callable[..., Result]
# The gradient statistics cover this many characters of the training text.
V, N, KNOWN = 7, 103, 120
# The statistics of a run cover this many characters.
FEW = 300
MODERATE = Adaptation(1e-3, 1e-2, 20)


def build(**settings: Any) -> CharLM:
    """Return a small model that is far from sure and far from uniform."""
    settings = {"hidden_size": 8, "implementation": "reference"} | settings
    network = build_model(ModelSettings(**settings), V, seed=0)
    assert isinstance(network, CharLM)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 3
    return network


def draw_ids(length: int = N, seed: int = 0) -> Ids:
    return np.random.default_rng(seed).integers(V, size=length).astype(np.uint8)


def roots_of(network: CharLM, adaptation: Adaptation = MODERATE) -> list[Tensor]:
    return measure_gradients(network, draw_ids(KNOWN, seed=1), segment_chars=adaptation.segment_chars)


def measure(network: CharLM, ids: Ids, adaptation: Adaptation = MODERATE, **options: Any) -> Figure:
    return measure_dynamically(network, ids, roots_of(network, adaptation), adaptation, **options)


def costs_of(
    network: CharLM, ids: Ids, adaptation: Adaptation = MODERATE, roots: list[Tensor] | None = None
) -> list[float]:
    seen: list[float] = []
    roots = roots or roots_of(network, adaptation)
    measure_dynamically(network, ids, roots, adaptation, observe=lambda costs: seen.extend(costs.tolist()))
    return seen


# The result.


@pytest.mark.parametrize("segment_chars", one_in(6, [1, 7, 20, N - 1, N, 1_000]))
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_without_learning_the_result_is_static_evaluation(cell: str, segment_chars: int) -> None:
    network, ids = build(cell=cell), draw_ids()
    static = measure_text(network, ids).main
    found = measure(network, ids, Adaptation(0.0, 0.0, segment_chars))
    assert found.num_predicted == static.num_predicted
    assert found.nats == pytest.approx(static.nats, rel=1e-6)
    assert measure(network, ids, Adaptation(0.0, 0.5, segment_chars)).nats == pytest.approx(static.nats, rel=1e-6)


def test_a_text_of_one_segment_is_predicted_by_the_trained_weights() -> None:
    network, ids = build(), draw_ids(21)
    assert measure(network, ids, Adaptation(0.1, 0.0, 20)).nats == pytest.approx(measure_text(network, ids).main.nats)


@pytest.mark.parametrize("segment_chars", [1, 4, 20])
def test_no_character_is_seen_before_it_is_predicted(segment_chars: int) -> None:
    network, ids = build(), draw_ids()
    adaptation = Adaptation(1e-2, 1e-2, segment_chars)
    roots = roots_of(network, adaptation)
    whole = costs_of(network, ids, adaptation, roots)
    for place in sorted({1, 2, segment_chars, segment_chars + 1, segment_chars + 2, 2 * segment_chars + 1, N - 1}):
        changed = ids.copy()
        changed[place] = (ids[place] + 1) % V
        costs = costs_of(network, changed, adaptation, roots)
        # Cost k is of character k + 1: all before the changed one's are the same to the last bit.
        assert costs[: place - 1] == whole[: place - 1]
        assert costs[place - 1] != whole[place - 1]
        # A text that ends there has the same beginning too: the size of the last segment does not matter.
        assert costs_of(network, ids[: place + 1], adaptation, roots) == pytest.approx(whole[:place], rel=1e-4)


def test_each_cost_is_observed_once_and_in_order() -> None:
    network, ids = build(), draw_ids()
    costs = costs_of(network, ids)
    assert len(costs) == N - 1
    assert sum(costs) == pytest.approx(measure(network, ids).nats, rel=1e-12)


@pytest.mark.parametrize("implementation", ["reference", "torch", pytest.param("native", marks=pytest.mark.kernels)])
@pytest.mark.parametrize("is_training", [True, False])
def test_the_network_is_not_changed_by_a_bit(implementation: str, is_training: bool) -> None:
    network = build(implementation=implementation, num_layers=2, dropout=0.5).train(is_training)
    modes = [module.training for module in network.modules()]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        first = measure(network, draw_ids(), Adaptation(0.05, 0.1))
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    if implementation == "torch":
        assert getattr(network.recurrent, "dropout") == 0.5  # noqa: B009
    # Nothing is random, and nothing is remembered.
    assert measure(network, draw_ids(), Adaptation(0.05, 0.1)) == first


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_on_a_gpu_it_learns_as_on_the_processor(cell: str) -> None:
    network, ids = build(cell=cell, implementation="torch", num_layers=2, dropout=0.4), draw_ids()
    expected = costs_of(network, ids)
    assert costs_of(network.cuda(), ids) == pytest.approx(expected, rel=1e-2, abs=1e-3)


def test_a_frozen_network_learns_too() -> None:
    ids = draw_ids()
    learned = measure(build(), ids)
    assert measure(build().requires_grad_(False), ids) == learned


# The update rule.


def steps_by_hand(
    network: CharLM, train: Ids, ids: Ids, adaptation: Adaptation
) -> Iterator[tuple[dict[str, Tensor], float]]:
    """Yield the weights before each segment and its nats, by equations 4 to 6 taken literally, in float64."""
    size = adaptation.segment_chars
    trained = {name: value.detach().double() for name, value in network.named_parameters()}
    network = network.double()

    def gradients(weights: dict[str, Tensor], text: Tensor, state: State) -> tuple[dict[str, Tensor], State, float]:
        weights = {name: value.clone().requires_grad_() for name, value in weights.items()}
        logits, state = functional_call(network, weights, (text[:-1], state))
        nats = cross_entropy(logits.flatten(0, 1), text[1:].flatten(), reduction="sum")
        (nats / size).backward()
        found = {name: value.grad for name, value in weights.items()}
        kept = {name: grad for name, grad in found.items() if grad is not None}
        return kept, tuple(part.detach() for part in state), nats.item()

    state, seen = network.initial_state(1), []
    for start in range(0, len(train) - 1, size):
        grads, state, _ = gradients(trained, as_tensor(train[start : start + size + 1][:, None], network), state)
        seen.append(grads)
    root = {name: torch.stack([grads[name] ** 2 for grads in seen]).mean(0).sqrt() for name in trained}
    norm = sum(value.sum() for value in root.values()) / sum(value.numel() for value in root.values())
    weights, state = trained, network.initial_state(1)
    for start in range(0, len(ids) - 1, size):
        grads, state, nats = gradients(weights, as_tensor(ids[start : start + size + 1][:, None], network), state)
        yield weights, nats
        weights = {
            name: theta
            - adaptation.learning_rate * grads[name] / (root[name] + dynamic.EPSILON)
            + (adaptation.decay * root[name] / norm).clamp(max=1) * (trained[name] - theta)
            for name, theta in weights.items()
        }


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize(
    "adaptation",
    [Adaptation(1e-3, 0.0, 20), Adaptation(1e-2, 0.05, 9), Adaptation(2e-2, 0.9, 13), Adaptation(1e-2, 50.0, 20)],
    ids=str,
)
def test_the_update_rule_is_that_of_the_paper(cell: str, adaptation: Adaptation) -> None:
    train, ids = draw_ids(KNOWN, seed=1), draw_ids()
    network = build(cell=cell)
    roots = measure_gradients(network, train, segment_chars=adaptation.segment_chars)
    seen: list[float] = []
    measure_dynamically(network, ids, roots, adaptation, observe=lambda costs: seen.append(float(costs.sum())))
    expected = [nats for _, nats in steps_by_hand(network, train, ids, adaptation)]
    assert seen == pytest.approx(expected, rel=2e-4)
    static = measure_text(build(cell=cell), ids).main.nats
    assert abs(sum(expected) - static) > 10 * abs(sum(expected) - sum(seen))


def bias_only() -> CharLM:
    """Return a model all of whose weights but the output's bias are zero: only that bias ever has a gradient."""
    network = build(cell="rnn")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.decoder.bias.copy_(torch.linspace(-1, 1, V))
    return network


def bias_costs(train: Ids, ids: Ids, adaptation: Adaptation) -> list[float]:
    """Return each segment's nats under a bias alone: softmax minus the characters' shares is its gradient."""
    size = adaptation.segment_chars
    trained = np.linspace(-1, 1, V)

    def cost_and_gradient(bias: np.ndarray, targets: Ids) -> tuple[float, np.ndarray]:
        log_p = bias - np.log(np.exp(bias).sum())
        counts = np.bincount(targets, minlength=V)
        return -float(log_p[targets].sum()), (len(targets) * np.exp(log_p) - counts) / size

    starts = range(0, len(train) - 1, size)
    squares = [cost_and_gradient(trained, train[start + 1 : start + size + 1])[1] ** 2 for start in starts]
    root = np.sqrt(np.mean(squares, axis=0))
    norm = root.sum() / sum(parameter.numel() for parameter in bias_only().parameters())
    bias, costs = trained.copy(), []
    for start in range(0, len(ids) - 1, size):
        cost, gradient = cost_and_gradient(bias, ids[start + 1 : start + size + 1])
        costs.append(cost)
        back = np.minimum(adaptation.decay * root / norm, 1) * (trained - bias)
        bias = bias - adaptation.learning_rate * gradient / (root + dynamic.EPSILON) + back
    return costs


@pytest.mark.parametrize("length", [2, 5, 6, 7, 300])
@pytest.mark.parametrize(
    "adaptation",
    [Adaptation(0.1, 0.0, 5), Adaptation(0.1, 1e-3, 5), Adaptation(0.1, 0.01, 5), Adaptation(0.1, 1.0, 5)],
    ids=str,
)
def test_a_model_of_one_bias_moves_as_computed_by_hand(length: int, adaptation: Adaptation) -> None:
    train, ids = draw_ids(length, seed=1), draw_ids(43)
    roots = measure_gradients(bias_only(), train, segment_chars=adaptation.segment_chars)
    seen: list[float] = []
    measure_dynamically(bias_only(), ids, roots, adaptation, observe=lambda costs: seen.append(float(costs.sum())))
    assert seen == pytest.approx(bias_costs(train, ids, adaptation), rel=1e-4)
    others = torch.cat([root.flatten() for root in roots[:-1]])
    assert len(seen) == 9
    assert others.count_nonzero() == 0


def test_weights_that_never_had_a_gradient_are_no_trouble() -> None:
    network, ids = bias_only(), draw_ids()
    roots = [torch.zeros_like(parameter) for parameter in network.parameters()]
    found = measure_dynamically(network, ids, roots, Adaptation(0.0, 1.0))
    assert found.nats == pytest.approx(measure_text(network, ids).main.nats)


def test_a_learned_initial_state_learns_only_from_the_first_segment() -> None:
    class Beginning(CharLM):
        def __init__(self) -> None:
            super().__init__(ModelSettings(hidden_size=8, cell="gru"), V, "reference")
            self.load_state_dict(build(cell="gru").state_dict())
            self.beginning = nn.Parameter(torch.full((1, 1, 8), 0.5))

        def initial_state(self, batch_size: int) -> State:
            return (self.beginning.expand(-1, batch_size, -1),)

    network, ids = Beginning(), draw_ids()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    names = [name for name, _ in network.named_parameters()]
    roots = measure_gradients(network, draw_ids(101, seed=1), segment_chars=10)
    first = measure_gradients(network, draw_ids(101, seed=1)[:11], segment_chars=10)
    place = names.index("beginning")
    torch.testing.assert_close(roots[place], first[place] / math.sqrt(10))
    learned = measure_dynamically(network, ids, roots, Adaptation(1e-3, 1e-2, 10))
    assert learned != measure_text(network, ids).main
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("implementation", ["torch", pytest.param("native", marks=pytest.mark.kernels)])
def test_all_implementations_learn_alike(cell: str, implementation: str) -> None:
    ids = draw_ids()
    shape: dict[str, Any] = {"cell": cell, "num_layers": 2, "dropout": 0.4}
    expected = costs_of(build(**shape), ids)
    network = build(**shape, implementation=implementation)
    assert costs_of(network, ids) == pytest.approx(expected, rel=2e-3, abs=2e-4)
    static: list[float] = []
    measure_text(network, ids, observe=lambda costs: static.extend(costs.tolist()))
    moved = np.abs(np.array(expected) - static).max()
    assert moved > 20 * np.abs(np.array(costs_of(network, ids)) - expected).max()


def test_dropout_is_off_while_it_learns_whatever_the_implementation() -> None:
    for implementation in ("reference", "torch"):
        network = build(num_layers=2, dropout=0.9, implementation=implementation).train()
        plain = build(num_layers=2, implementation=implementation)
        assert measure(network, draw_ids()) == measure(plain, draw_ids())


def test_a_rate_that_is_too_high_is_reported() -> None:
    with pytest.raises(DivergedError, match=r"no longer finite after [0-9,]+ characters .* learning rate 1e\+38 and"):
        measure(build(), draw_ids(), Adaptation(1e38, 0.0))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((-0.1, 0.0, 20), "the learning rate must be a number from 0 upwards, got -0.1"),
        ((math.nan, 0.0, 20), "the learning rate must be a number from 0 upwards, got nan"),
        ((0.0, math.inf, 20), "the decay must be a number from 0 upwards, got inf"),
        ((0.0, -1.0, 20), "the decay must be a number from 0 upwards, got -1"),
        ((0.0, 0.0, 0), "a segment must have at least 1 character, got 0"),
    ],
)
def test_rates_out_of_range_are_refused(values: tuple[float, float, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Adaptation(*values)


# Tuning.


@pytest.mark.parametrize(
    ("learning_rate", "decay", "segment_chars"),
    [(None, None, 20), (1e-3, None, 5), (None, 0.0, 5), pytest.param(None, None, 5, marks=pytest.mark.slow)],
)
def test_tuning_chooses_the_pair_with_the_lowest_cost(
    learning_rate: float | None, decay: float | None, segment_chars: int
) -> None:
    network, ids = build(), np.tile(draw_ids(15), 5)
    roots = measure_gradients(network, draw_ids(KNOWN, seed=1), segment_chars=segment_chars)
    done: list[int] = []
    found = tune_adaptation(
        network, ids, roots, learning_rate=learning_rate, decay=decay, segment_chars=segment_chars, report=done.append
    )
    scale = segment_chars / 20
    rates = [scale * rate for rate in dynamic.LEARNING_RATES] if learning_rate is None else [learning_rate]
    decays = [scale * rate for rate in dynamic.DECAYS] if decay is None else [decay]
    pairs = [Adaptation(rate, pull, segment_chars) for rate in rates for pull in decays]
    costs = {pair: measure_dynamically(network, ids, roots, pair).nats for pair in pairs}
    assert found == min(costs, key=costs.__getitem__)
    assert dynamic.num_trials(learning_rate, decay) == len(pairs)
    assert done == sorted(done)
    assert done[-1] == len(pairs) * (len(ids) - 1)


def test_a_trial_that_diverges_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    network, ids = build(), draw_ids()
    roots = measure_gradients(network, draw_ids(KNOWN, seed=1), segment_chars=20)
    monkeypatch.setattr(dynamic, "LEARNING_RATES", (1e38, 1e-4))
    rates: dict[str, Any] = {"decay": 0.0, "segment_chars": 20}
    assert tune_adaptation(network, ids, roots, learning_rate=None, **rates).learning_rate == 1e-4
    with pytest.raises(DivergedError, match="no longer finite"):
        tune_adaptation(network, ids, roots, learning_rate=1e38, **rates)


# Runs.


@pytest.fixture
def _few_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the statistics from the beginning of the training split only."""
    monkeypatch.setattr(dynamic, "STATISTICS_CHARS", FEW)


def halves(run: Run) -> CharLM:
    network = charlm.open_run(run).network
    network = network.forward_half if isinstance(network, BidirectionalLM) else network
    assert isinstance(network, CharLM)
    return network


@pytest.mark.parametrize("direction", ["forward", "backward", "bidirectional"])
def test_a_run_is_measured_in_its_own_reading_order(
    tmp_path: Path, tiny_settings: Callable[..., Settings], corpus_text: str, direction: str
) -> None:
    settings = tiny_settings(f"model.direction={direction}", "corpus.max_chars=800", "corpus.split=[400,200,200]")
    run = train(settings, name="run", runs_dir=tmp_path)
    model = charlm.open_run(run)
    vocabulary, network = model.checkpoint.vocabulary, halves(run)
    parts = [vocabulary.encode(text) for text in (corpus_text[:400], corpus_text[400:600], corpus_text[600:800])]
    known, val, test = (ids[::-1] if direction == "backward" else ids for ids in parts)
    roots = measure_gradients(network, known, segment_chars=20)
    tuned = tune_adaptation(network, val, roots, learning_rate=None, decay=None, segment_chars=20)
    found = charlm.evaluate_dynamically(run)
    assert found.adaptation == tuned
    assert (found.tuned_chars, found.is_tuned_on_itself, found.interval) == (199, False, None)
    assert found.figure == measure_dynamically(network, test, roots, tuned)
    (tmp_path / "test.txt").write_text(corpus_text[600:800], encoding="utf-8")
    assert charlm.evaluate_dynamically(run, files=[tmp_path / "test.txt"]) == found
    given = charlm.evaluate_dynamically(run, learning_rate=0.0, decay=0.0)
    assert (given.adaptation, given.tuned_chars) == (Adaptation(0.0, 0.0), 0)
    assert given.figure.nats == pytest.approx(charlm.evaluate(run).main.nats, rel=1e-6)


def test_statistics_and_trials_read_only_bounded_beginnings(
    trained: Run, corpus_text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dynamic, "STATISTICS_CHARS", 300)
    monkeypatch.setattr(dynamic, "TUNING_CHARS", 60)
    seen: list[tuple[int, int]] = []
    found = charlm.evaluate_dynamically(trained, report=lambda done, total: seen.append((done, total)))
    model, network = charlm.open_run(trained), halves(trained)
    known, val, test = (
        model.checkpoint.vocabulary.encode(text)
        for text in (corpus_text[:300], corpus_text[2700:2760], corpus_text[2850:])
    )
    roots = measure_gradients(network, known, segment_chars=20)
    tuned = tune_adaptation(network, val, roots, learning_rate=None, decay=None, segment_chars=20)
    assert found.figure == measure_dynamically(network, test, roots, tuned)
    assert (found.adaptation, found.tuned_chars) == (tuned, 59)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (299 + 15 * 59 + 149, 299 + 15 * 59 + 149)
    assert {total for _, total in seen} == {seen[-1][1]}


@pytest.mark.usefixtures("_few_statistics")
def test_it_is_reported_whether_the_rates_were_chosen_on_the_text_itself(
    trained: Run, tmp_path: Path, corpus_text: str
) -> None:
    path = tmp_path / "val.txt"
    path.write_text(corpus_text[2700:2850], encoding="utf-8")
    by_name, by_file = (
        charlm.evaluate_dynamically(trained, split="val"),
        charlm.evaluate_dynamically(trained, files=[path]),
    )
    assert by_name == by_file
    assert by_name.is_tuned_on_itself
    assert charlm.evaluate_dynamically(trained, split="val", decay=0.0).is_tuned_on_itself
    given = charlm.evaluate_dynamically(trained, split="val", learning_rate=1e-4, decay=0.0)
    assert (given.is_tuned_on_itself, given.tuned_chars) == (False, 0)
    assert not charlm.evaluate_dynamically(trained).is_tuned_on_itself


@pytest.mark.usefixtures("_few_statistics")
def test_an_unusual_text_is_learned_while_it_is_read(trained: Run, tmp_path: Path) -> None:
    path = tmp_path / "other.txt"
    path.write_text("moon hut. goat moss unhosted the dune gnu.\n" * 60, encoding="utf-8")
    static = charlm.evaluate(trained, files=[path]).main
    found = charlm.evaluate_dynamically(trained, files=[path])
    assert found.figure.num_predicted == static.num_predicted
    assert found.figure.bits_per_char < 0.8 * static.bits_per_char


@pytest.mark.usefixtures("_few_statistics")
def test_the_interval_is_that_of_the_costs(trained: Run, tmp_path: Path, corpus_text: str) -> None:
    # Eleven blocks: an interval needs ten.
    path, long = tmp_path / "long.txt", (corpus_text * 2)[: 11 * BLOCK_CHARS]
    path.write_text(long, encoding="utf-8")
    found = charlm.evaluate_dynamically(trained, files=[path], learning_rate=1e-4, decay=0.0)
    model, network, costs = charlm.open_run(trained), halves(trained), BlockSums()
    encode = model.checkpoint.vocabulary.encode
    roots = measure_gradients(network, encode(corpus_text[:FEW]), segment_chars=20)
    measure_dynamically(network, encode(long), roots, Adaptation(1e-4, 0.0), observe=costs.add)
    assert found.interval == costs.interval()
    assert found.interval is not None
    low, high = (nats / math.log(2) for nats in found.interval)
    assert found.as_record()["bpc_interval"] == [low, high]
    assert low < found.figure.bits_per_char < high


def test_a_leaky_model_is_refused(
    tmp_path: Path, tiny_settings: Callable[..., Settings], charlm_command: Charlm
) -> None:
    run = train(tiny_settings("train.max_steps=1", "model.direction=leaky"), name="run", runs_dir=tmp_path)
    with pytest.raises(ConfigError, match="the model of run run is leaky: it reads its own target"):
        charlm.evaluate_dynamically(run)
    assert charlm_command("eval", f"--run={run.path}", "--dynamic").exit_code == 2


def test_what_cannot_be_measured_is_refused(
    tmp_path: Path, tiny_settings: Callable[..., Settings], charlm_command: Charlm, corpus_text: str
) -> None:
    corpus, other = tmp_path / "corpus.txt", tmp_path / "other.txt"
    corpus.write_text(corpus_text, encoding="utf-8")
    other.write_text(corpus_text[:100], encoding="utf-8")
    settings = tiny_settings("train.max_steps=1", f"corpus.path='{corpus}'", "corpus.split=none")
    run = train(settings, name="run", runs_dir=tmp_path)
    with pytest.raises(RunError, match="has no test split"):
        charlm.evaluate_dynamically(run)
    with pytest.raises(RunError, match="no validation split to choose the rates on: give --learning-rate and --decay"):
        charlm.evaluate_dynamically(run, files=[other], decay=0.0)
    given = {"learning_rate": 1e-4, "decay": 0.0}
    assert charlm.evaluate_dynamically(run, files=[other], **given).figure.num_predicted == 99
    assert charlm.evaluate_dynamically(run, split="train", **given).figure.num_predicted == 2_999
    other.write_text("a", encoding="utf-8")
    with pytest.raises(TextError, match="the text has 1 characters: at least two"):
        charlm.evaluate_dynamically(run, files=[other], **given)
    corpus.write_text(corpus_text + "a", encoding="utf-8")
    result = charlm_command("eval", f"--run={run.path}", "--dynamic", f"--corpus={other}")
    assert (result.exit_code, result.stdout) == (3, "")
    message = "dynamic evaluation needs the training split of the run run: the corpus has changed since"
    assert message in result.stderr
    assert result.stderr.rstrip().endswith("restore that text")


# The command line.


@pytest.mark.usefixtures("_few_statistics")
def test_eval_prints_both_results_each_under_its_name(trained: Run, charlm_command: Charlm) -> None:
    command = ("eval", f"--run={trained.path}", "--dynamic", "--decay=0.001", "--segment-chars=10")
    result = charlm_command(*command, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    record = json.loads(result.stdout)
    assert list(record) == ["run", "step", "text", "static", "dynamic", "saving", "adaptive"]
    plain = json.loads(charlm_command("eval", f"--run={trained.path}", "--json").stdout)
    beside = ("run", "step", "text", "adaptive")
    assert record["static"] == {key: value for key, value in plain.items() if key not in beside}
    assert record["adaptive"] == plain["adaptive"]
    found = charlm.evaluate_dynamically(trained, decay=0.001, segment_chars=10)
    assert record["dynamic"] == found.as_record()
    assert record["dynamic"]["learning_rate"] == found.adaptation.learning_rate
    assert record["dynamic"]["bpc"] == found.figure.bits_per_char
    assert record["saving"] == pytest.approx(1 - found.figure.nats / plain["nats"])
    lines = charlm_command(*command).stdout.splitlines()
    assert lines[0] == "run trained, step 60, the test split"
    assert (
        lines[1] == f"static              perplexity {plain['perplexity']:.2f}, {plain['bpc']:.3f} bits per character"
    )
    assert lines[2] == (
        f"dynamic             perplexity {found.figure.perplexity:.2f}, {found.figure.bits_per_char:.3f} bits per "
        f"character, {100 * record['saving']:.1f} % fewer"
    )
    rate = f"{found.adaptation.learning_rate:g}"
    assert f"learning            rate {rate}, decay 0.001, after every 10 characters" in lines
    assert "tuned on            149 characters of the validation split" in lines
    assert any(line.startswith("baselines           uniform") for line in lines)
    assert any(line.startswith("adaptive            bzip2") and "PPMd (order 6)" in line for line in lines)


@pytest.mark.usefixtures("_few_statistics")
def test_eval_prints_where_the_rates_come_from(
    trained: Run, charlm_command: Charlm, tmp_path: Path, corpus_text: str
) -> None:
    command = ("eval", f"--run={trained.path}", "--dynamic")
    itself = charlm_command(*command, "--split=val").stdout
    assert "149 characters of the validation split, which is the text measured here\n" in itself
    # Eleven blocks: an interval needs ten.
    path, long = tmp_path / "long.txt", (corpus_text * 2)[: 11 * BLOCK_CHARS]
    path.write_text(long, encoding="utf-8")
    one = charlm_command(*command, "--learning-rate=0.0001", "--decay=0", "--segment-chars=1").stdout
    assert "rate 0.0001, decay 0, after every 1 character\n" in one
    worse = charlm_command(*command, "--learning-rate=0.2", "--decay=0").stdout.splitlines()[2]
    assert re.search(r"bits per character, \d+\.\d % more$", worse)
    given = (*command, f"--corpus={path}", "--learning-rate=0.0001", "--decay=0", "--no-baselines")
    shown = charlm_command(*given).stdout
    assert not any(word in shown for word in ("tuned", "baselines", "warning"))
    for name in ("static", "dynamic"):
        low, high = json.loads(charlm_command(*given, "--json").stdout)[name]["bpc_interval"]
        assert f"95 %, {name:<14}{low:.3f} to {high:.3f} bits per character\n" in shown


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--dynamic", "--gaps=5/25"), 2, "--gaps and --dynamic are different measures: choose one at a time"),
        (("--dynamic", "--novelty"), 2, "--dynamic and --novelty are different measures: choose one at a time"),
        (("--decay=0.1",), 2, "--decay belongs to --dynamic"),
        (
            ("--novelty", "--learning-rate=0", "--segment-chars=3"),
            2,
            "--learning-rate, --segment-chars belong to --dynamic",
        ),
        (("--dynamic", "--temperature=1"), 2, "--temperature belongs to --novelty"),
        (("--dynamic", "--learning-rate=-1"), 2, "the learning rate must be a number from 0 upwards, got -1.0"),
        (("--dynamic", "--decay=nan"), 2, "the decay must be a number from 0 upwards, got nan"),
        (("--dynamic", "--learning-rate=1e38", "--decay=0"), 5, "give a lower --learning-rate"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    trained: Run, charlm_command: Charlm, options: tuple[str, ...], code: int, message: str
) -> None:
    result = charlm_command("eval", f"--run={trained.path}", *options)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1

"""Worked steps can be recomputed with a pocket calculator, and lead to what the network and autograd compute."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from calculator import calculate
from inspected import CELLS, OTHERS, H, V, build
from pairs import by_pairs
from torch.func import jacrev
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from charlm.errors import ConfigError
from charlm.insight.worked_backpropagation import NUM_STEPS, backpropagation_parts
from charlm.insight.worked_cells import LETTERS
from charlm.insight.worked_chain import chosen_row, follow_chain
from charlm.insight.worked_clipping import Clipped, clipping_parts
from charlm.insight.worked_equations import equation_parts
from charlm.insight.worked_network import plain_network, read_layers, state_after
from charlm.insight.worked_perplexity import WholeSplit, character_costs, perplexity_parts
from charlm.insight.worked_records import Passage, Term, WorkedLine, WorkedPart, quoted
from charlm.library.worked_markdown import arithmetic, number
from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.building import build_model
from charlm.networks.language_model import CharLM
from charlm.settings.loading import load_settings
from charlm.settings.model import ModelSettings

EVERY = by_pairs(tuple(CELLS), tuple(OTHERS))
SYMBOLS = "abc\nef|"
IDS = (3, 1, 4, 1, 5, 2, 6, 5, 3, 5, 1, 2)


def passage(ids: tuple[int, ...] = IDS, start: int = 4) -> Passage:
    return Passage(ids, tuple(SYMBOLS[each] for each in ids), start, "a text")


def lines_of(*parts: WorkedPart) -> list[WorkedLine]:
    return [line for part in parts for line in part.lines]


def the_line(symbol: str, *parts: WorkedPart) -> WorkedLine:
    (line,) = [line for line in lines_of(*parts) if line.symbol == symbol]
    return line


def column(ids: tuple[int, ...]) -> torch.Tensor:
    return torch.tensor(ids)[:, None]


def assert_recomputed(*parts: WorkedPart, rel: float = 1e-9) -> None:
    """Check each line that names numbers."""
    with_terms = [line for line in lines_of(*parts) if line.terms and line.formula]
    assert with_terms
    for line in with_terms:
        assert calculate(line) == pytest.approx(line.value, rel=rel, abs=1e-12), line


@pytest.mark.parametrize(("cell", "other"), EVERY)
def test_each_equation_can_be_recomputed_from_its_own_numbers(cell: str, other: str) -> None:
    parts = equation_parts(plain_network(build(cell, other)), passage(), SYMBOLS)
    assert_recomputed(*parts)
    # Each result that a later formula names is the very number that stands there.
    for part in parts:
        values: dict[str, float] = {}
        for line in part.lines:
            for term in line.terms:
                if term.symbol not in ("mean", "dev", "logit", "log_sum", "P"):
                    assert values.get(term.symbol, term.value) == pytest.approx(term.value, abs=1e-12), line
            values[line.symbol] = line.value


@pytest.mark.parametrize(("cell", "other"), EVERY)
def test_the_equations_lead_to_the_network_s_own_state_and_loss(cell: str, other: str) -> None:
    network = plain_network(build(cell, other))
    parts = equation_parts(network, passage(), SYMBOLS)
    with torch.no_grad():
        logits, state = network(column(IDS[:-1]))
        before = state_after(network, IDS[:-2])
    for layer, part in enumerate(parts[:-1]):
        assert (part.layer, part.title) == (layer + 1, f"Layer {layer + 1}")
        for letter, old, new in zip("hc", before, state, strict=False):
            # Zoneout has a line more.
            last = [line for line in part.lines if line.symbol.rstrip("'") == letter and line.symbol != letter][-1]
            assert last.value == pytest.approx(float(new[layer, 0, part.unit - 1]), abs=1e-12)
            assert last.norm == pytest.approx(float(new[layer, 0].norm()), abs=1e-12)
            assert the_line(letter, part).value == pytest.approx(float(old[layer, 0, part.unit - 1]), abs=1e-12)
        changes = (state[0][layer, 0] - before[0][layer, 0]).abs()
        assert part.unit == int(changes.argmax()) + 1
    nats = float(cross_entropy(logits[-1], torch.tensor(IDS[-1:])))
    assert the_line("nats", parts[-1]).value == pytest.approx(nats, abs=1e-12)
    assert the_line("perplexity", parts[-1]).value == pytest.approx(math.exp(nats))


@pytest.mark.parametrize("cell", CELLS)
def test_products_equal_a_scalar_loop(cell: str) -> None:
    network = plain_network(build(cell, "embedding"))
    part = equation_parts(network, passage(), SYMBOLS)[0]
    model, x = network.model, network.vectors[IDS[-2]].tolist()  # pyright: ignore[reportOptionalSubscript]
    h = state_after(network, IDS[:-2])[0][0, 0].tolist()
    numbers = {term.symbol: term.value for line in part.lines for term in line.terms}
    for place, letter in enumerate(LETTERS[model.cell]):
        row = place * H + part.unit - 1
        weights = [network.get_parameter(f"recurrent.weight_{side}h_l0")[row].tolist() for side in "ih"]
        assert numbers[f"W_i{letter} x"] == pytest.approx(sum(w * each for w, each in zip(weights[0], x, strict=True)))
        if (cell, letter) != ("gru before", "n"):
            plain = sum(w * each for w, each in zip(weights[1], h, strict=True))
            assert numbers[f"W_h{letter} h"] == pytest.approx(plain)


def test_the_likeliest_characters_come_first_and_the_one_that_came_is_among_them() -> None:
    network = plain_network(build("lstm"))
    with torch.no_grad():
        worst = int(network(column(IDS[:-1]))[0][-1, 0].argmin())
    output = equation_parts(network, passage((*IDS[:-1], worst)), SYMBOLS)[-1]
    found = [line for line in output.lines if line.symbol.startswith("P(")]
    assert [line.value for line in found] == sorted((line.value for line in found), reverse=True)
    assert len(found) == 6
    assert found[-1].meaning == f"place {V}, the one that came"


@pytest.mark.parametrize("start", [1, 4])
def test_perplexity_is_the_exponential_of_the_mean_of_the_network_s_own_nats(start: int) -> None:
    network = plain_network(build("gru"))
    parts = perplexity_parts(network, passage(start=start), WholeSplit(2.0, math.exp(2.0), 1_234))
    assert_recomputed(*parts)
    with torch.no_grad():
        logits, _ = network(column(IDS[:-1]))
    nats = cross_entropy(logits[:, 0], torch.tensor(IDS[1:]), reduction="none")[start - 1 :]
    assert [line.value for line in parts[0].lines] == pytest.approx(nats.tolist())
    assert [line.value for line in parts[1].lines] == pytest.approx(
        [float(nats.sum()), float(nats.mean()), float(nats.mean()) / math.log(2), math.exp(float(nats.mean()))]
    )
    assert "1,234 predicted" in parts[2].text
    assert len(perplexity_parts(network, passage(), None)) == 2


@pytest.mark.parametrize(("cell", "other"), EVERY)
def test_the_chain_rule_leads_to_autograd_s_gradients(cell: str, other: str) -> None:
    network = plain_network(build(cell, other))
    ids = IDS[-NUM_STEPS - 1 :]
    chain = follow_chain(network, ids, state_after(network, IDS[: -len(ids)]))
    # Plain truncated back-propagation: the state before the window is a constant.
    state = state_after(network, IDS[: -len(ids)])
    logits, _ = network(column(ids[:-1]), state)
    loss = cross_entropy(logits[-1], torch.tensor(ids[-1:]))
    loss.backward()
    layer = network.model.num_layers - 1
    plain = network.get_parameter(f"recurrent.weight_hh_l{layer}").grad
    assert plain is not None
    assert chain.loss == pytest.approx(loss.item())
    contributions = math.fsum(step.contribution for step in chain.steps)
    assert contributions == pytest.approx(float(plain[chain.row, chain.column]), rel=1e-9)
    assert chain.autograd_weight == pytest.approx(contributions, rel=1e-9)
    assert_close(chain.steps[0].before, chain.autograd_state, rtol=1e-9, atol=1e-15)
    assert chain.row == chosen_row(network, chain.unit)


@pytest.mark.parametrize("cell", CELLS)
def test_the_jacobians_are_those_of_jacrev(cell: str) -> None:
    network = plain_network(build(cell, num_layers=1))
    chain = follow_chain(network, IDS, network.initial_state(1))
    is_lstm, last = network.model.cell == "lstm", chain.reading.states[-2]

    def step(flat: torch.Tensor) -> torch.Tensor:
        state = (flat[:H], flat[H:]) if is_lstm else (flat,)
        _, after = network.read(column(IDS[-2:-1]), tuple(part[None, None] for part in state))
        return torch.cat([part.flatten() for part in after])

    jacobian = jacrev(step)(torch.cat([part.detach().flatten() for part in last]))
    assert isinstance(jacobian, torch.Tensor)
    jacobian = jacobian.detach()
    place = chain.unit + (H if is_lstm else 0)
    assert chain.steps[-1].diagonal == pytest.approx(float(jacobian[place, place]))
    assert chain.steps[-1].stretch == pytest.approx(float(torch.linalg.matrix_norm(jacobian, 2)))
    if is_lstm:
        gate = read_layers(network, IDS[:-1], network.initial_state(1))[0].gates["f"].detach()[-1, 0, chain.unit]
        assert chain.steps[-1].diagonal == pytest.approx(float(gate))


@pytest.mark.parametrize(("cell", "other"), EVERY)
def test_backpropagation_can_be_recomputed(cell: str, other: str) -> None:
    parts = backpropagation_parts(plain_network(build(cell, other)), passage())
    assert_recomputed(*parts)
    *_, total, autograd = parts[-1].lines
    assert total.value == pytest.approx(autograd.value, rel=1e-9)
    window = {line.symbol: line.value for line in parts[2].lines[:-2]}
    assert f"dL/dh_{NUM_STEPS - 1}" in window


@pytest.mark.parametrize("ids", [(1, 2), (1, 2, 3)])
def test_a_text_of_two_characters_is_enough(ids: tuple[int, ...]) -> None:
    network = plain_network(build("lstm"))
    short = passage(ids, 1)
    assert len(character_costs(network, short)) == len(ids) - 1
    assert_recomputed(*equation_parts(network, short, SYMBOLS), *backpropagation_parts(network, short))


@pytest.mark.parametrize(
    ("changes", "factor", "after"),
    [
        ({"clip_norm": 1.0}, 0.2, -0.8),
        ({"clip_norm": 10.0}, 1.0, -4.0),
        ({"clip_norm": None, "clip_value": 0.5}, None, -0.5),
        ({"clip_norm": None}, None, -4.0),
    ],
)
def test_clipping_multiplies_each_entry_by_the_same_factor(
    changes: dict[str, Any], factor: float | None, after: float
) -> None:
    before = {"recurrent.weight_hh_l0": torch.tensor([[0.0, 3.0]]), "decoder.bias": torch.tensor([0.0, -4.0])}
    clipped = {"recurrent.weight_hh_l0": torch.zeros(1, 2), "decoder.bias": torch.tensor([0.0, after])}
    overrides = [f"optimizer.{key}={'null' if value is None else value}" for key, value in changes.items()]
    optimizer = load_settings(overrides=overrides).optimizer
    parts = clipping_parts(Clipped(before, clipped), optimizer, [0.5, 2.0, 1.5])
    assert the_line("norm", *parts).value == 5.0
    assert [line.value for line in lines_of(*parts) if line.symbol == "factor"] == ([factor] if factor else [])
    assert "decoder.bias[1]" in parts[1].text
    if changes.get("clip_value") is None:
        assert_recomputed(*parts, rel=1e-6)  # gradients of a training step are in single precision
    shares = [line.value for line in lines_of(*parts) if line.symbol == "share"]
    assert shares == ([pytest.approx(2 / 3 if changes["clip_norm"] == 1.0 else 0.0)] if factor else [])


def test_without_recorded_norms_the_part_says_so() -> None:
    gradients = {f"p{place}": torch.tensor([float(place)]) for place in range(20)}
    parts = clipping_parts(Clipped(gradients, gradients), load_settings().optimizer, [])
    assert parts[-1].lines == ()
    assert_recomputed(parts[0])
    assert parts[0].lines[-2].meaning == "12 others"


def test_a_bidirectional_network_gives_its_forward_half_and_a_leaky_one_nothing() -> None:
    settings = ModelSettings(cell="gru", hidden_size=H, direction="bidirectional")
    network = build_model(settings, V, seed=0)
    assert isinstance(network, BidirectionalLM)
    half: CharLM = plain_network(network)
    assert_close(half.decoder.weight, network.forward_half.decoder.weight.double())
    with pytest.raises(ConfigError, match="leaky"):
        plain_network(build_model(settings.replaced({"direction": "leaky"}), V, seed=0))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.25, "0.2500"), (-0.25, "-0.2500"), (0.0, "0.0000"), (-0.0, "0.0000"), (3.1e-7, "3.100e-07"), (1_200, "1,200")],
)
def test_numbers_have_four_decimals_or_an_exponent(value: float, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(
    ("formula", "values", "shown"),
    [
        ("W_ii x + b_ii + c", {"W_ii x": -0.5, "b_ii": -0.25, "c": 1.0}, "-0.5000 - 0.2500 + 1.0000"),
        ("tanh(a)", {"a": -1.0}, "tanh(-1.0000)"),
        ("g * (a - mean)", {"g": -1.0, "a": 0.5, "mean": -2.0}, "-1.0000 * (0.5000 + 2.0000)"),
        ("f * c + i", {"f": 0.5, "c": -0.5, "i": -1e-5}, "0.5000 * (-0.5000) - 1.000e-05"),
        ("x + r * (h + b)", {"x": 1.0, "r": 0.5, "h": -1.0, "b": -2.0}, "1.0000 + 0.5000 * (-1.0000 - 2.0000)"),
        ("d * c + (1 - d) * c'", {"d": 0.1, "c": 1.0, "c'": 2.0}, "0.1000 * 1.0000 + (1 - 0.1000) * 2.0000"),
    ],
)
def test_a_formula_is_written_with_its_numbers(formula: str, values: dict[str, float], shown: str) -> None:
    terms = tuple(Term(name, value) for name, value in values.items())
    assert arithmetic(WorkedLine("y", formula, 0.0, terms)) == shown


def test_characters_are_quoted_so_that_each_can_be_seen() -> None:
    assert [quoted(each) for each in ("a", "\n", "'", "\u0301")] == ["'a'", r"'\n'", '"\'"', "'◌\u0301'"]

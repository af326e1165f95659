"""Honesty: no prediction changes by a single bit when something changes that it must not see."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import nn

from charlm.evaluation.reading import measure_text
from charlm.networks import affine, language_model, torch_nn
from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.building import build_model, num_parameters
from charlm.networks.inputs import as_tensor
from charlm.networks.language_model import CharLM
from charlm.networks.leaky import LeakyLM
from charlm.settings.model import ModelSettings

V, T = 5, 6
STACKS = list(product(("rnn", "gru", "lstm"), (1, 2, 3), ("torch", "reference"), (None, 4)))
NATIVE = [
    pytest.param(stack, marks=pytest.mark.kernels)
    for stack in product(("rnn", "gru", "lstm"), (1, 2), ("native",), (None, 4))
]


def settings(cell, num_layers, implementation, embedding_size, **others) -> ModelSettings:
    return ModelSettings(
        cell=cell,
        num_layers=num_layers,
        implementation=implementation,
        embedding_size=embedding_size,
        hidden_size=7,
        **others,
    )


def some_text(length: int = T + 1) -> torch.Tensor:
    return torch.randint(V, (length, 2), generator=torch.Generator().manual_seed(3))


def read(network: BidirectionalLM, text: torch.Tensor, beyond: int = 0):
    """Read a window whose last `beyond` characters are the lookahead."""
    end = len(text) - beyond
    state = network.initial_state(text.shape[1])
    return network.read_window(text[: end - 1], text[1:end], text[end:], state)


@pytest.mark.parametrize("stack", STACKS + NATIVE)
def test_a_causal_model_does_not_see_what_follows(stack):
    network = build_model(settings(*stack), V, seed=0)
    text = some_text(T)
    logits, _ = network(text, network.initial_state(2))
    for t in range(1, T):
        changed = text.clone()
        changed[t:] = (changed[t:] + 1) % V
        moved, _ = network(changed, network.initial_state(2))
        assert torch.equal(moved[:t], logits[:t])
        assert not torch.equal(moved[t], logits[t])


@pytest.mark.parametrize("beyond", [0, 2])
@pytest.mark.parametrize("stack", STACKS + NATIVE)
def test_no_readout_sees_its_target_or_its_hidden_side(stack, beyond):
    network = build_model(settings(*stack, direction="bidirectional"), V, seed=0)
    text = some_text(T + 1 + beyond)
    before = read(network, text, beyond)
    for t in range(T + 1):
        changed = text.clone()
        changed[t] = (changed[t] + 1) % V
        after = read(network, changed, beyond)
        # forward[k] is for text[k + 1] from text[..k]; backward[k] for text[k] from text[k + 1..]; both[k] for
        # text[k + 1] from all the others.
        assert torch.equal(after.forward[:t], before.forward[:t])
        assert torch.equal(after.backward[t:], before.backward[t:])
        if t > 0:
            assert torch.equal(after.both[t - 1], before.both[t - 1])
        others = [k for k in range(T) if k != t - 1]
        assert all(not torch.equal(after.both[k], before.both[k]) for k in others)


def probes_on(network: BidirectionalLM, monkeypatch) -> list[torch.Tensor]:
    """Add zeros that collect gradients to the inputs of both stacks; they are listed in the order of reading."""
    probes: list[torch.Tensor] = []

    def probed(vectors: torch.Tensor) -> torch.Tensor:
        probe = torch.zeros_like(vectors, requires_grad=True)
        probes.append(probe)
        return vectors + probe

    looked_up = [(language_model, "embedding")]
    if network.forward_half.model.is_one_hot:
        looked_up = [(torch_nn, "one_hot"), (affine, "embedding")]
    for module, name in looked_up:
        function = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, function=function: probed(function(*args)))
    return probes


@pytest.mark.parametrize("stack", STACKS)
def test_the_gradient_to_what_may_not_be_seen_is_exactly_zero(stack, monkeypatch):
    network = build_model(settings(*stack, direction="bidirectional"), V, seed=0).double()
    probes = probes_on(network, monkeypatch)
    text = some_text()
    readouts = read(network, text)
    ahead, behind = probes  # ahead[k] is text[k], behind[k] is text[T - k]
    for k in range(T):
        seen = torch.autograd.grad(readouts.both[k].sum(), [ahead, behind], retain_graph=True)
        reaches = {position for position in range(T) if seen[0][position].any()}
        reaches |= {T - position for position in range(T) if seen[1][position].any()}
        assert reaches == set(range(T + 1)) - {k + 1}
        (back,) = torch.autograd.grad(readouts.backward[k].sum(), [behind], retain_graph=True)
        assert {T - position for position in range(T) if back[position].any()} == set(range(k + 1, T + 1))


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_the_stock_construction_leaks(cell):
    network = build_model(settings(cell, 2, "torch", None, direction="leaky"), V, seed=0)
    assert isinstance(network, LeakyLM)
    text = some_text()
    changed = text.clone()
    changed[3] = (changed[3] + 1) % V
    state = network.initial_state(2)
    before, after = network(text[:-1], state)[0], network(changed[:-1], state)[0]
    # Position 2 should predict character 3, but its logits change with it.
    assert not torch.equal(before[2], after[2])


def test_joining_layers_leaks_even_when_the_target_is_stepped_over():
    torch.manual_seed(0)
    stock = nn.LSTM(V, 7, num_layers=2, bidirectional=True)
    text = torch.nn.functional.one_hot(some_text(), V).float()
    changed = text.clone()
    changed[3] = changed[3].roll(1, dims=-1)

    def around(vectors: torch.Tensor) -> torch.Tensor:
        hidden, _ = stock(vectors)
        return torch.cat([hidden[2, :, :7], hidden[4, :, 7:]], dim=-1)

    assert not torch.equal(around(text), around(changed))
    separate = build_model(settings("lstm", 2, "torch", None, direction="bidirectional"), V, seed=0)
    ids = some_text()
    moved = ids.clone()
    moved[3] = (moved[3] + 1) % V
    assert torch.equal(read(separate, ids).both[2], read(separate, moved).both[2])


@pytest.mark.parametrize("stack", STACKS[::3])
def test_readouts_equal_two_models_run_apart(stack):
    network = build_model(settings(*stack, direction="bidirectional"), V, seed=0).double()
    text = some_text(T + 3)
    readouts = read(network, text, beyond=2)
    forward, backward = network.forward_half, network.backward_half
    for k in range(T):
        ahead, _ = forward.read(text[: k + 1], forward.initial_state(2))
        behind, _ = backward.read(text[k + 2 :].flip(0), backward.initial_state(2))
        both = ahead[-1] @ forward.decoder.weight.T + behind[-1] @ backward.decoder.weight.T + network.both_bias
        torch.testing.assert_close(readouts.both[k], both)
        torch.testing.assert_close(readouts.forward[k], forward.decoder(ahead[-1]))
        one_more, _ = backward.read(text[k + 1 :].flip(0), backward.initial_state(2))
        torch.testing.assert_close(readouts.backward[k], backward.decoder(one_more[-1]))


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_chunked_evaluation_equals_whole(cell, direction):
    network = build_model(settings(cell, 2, "torch", None, direction=direction), V, seed=1).double()
    ids = some_text(50)[:, 0].numpy().astype("uint8")
    whole = measure_text(network, ids, chunk_chars=1000)
    for chunk_chars in (1, 7, 48, 49):
        chunked = measure_text(network, ids, chunk_chars=chunk_chars)
        for name in ("main", "backward", "cloze"):
            left, right = getattr(chunked, name), getattr(whole, name)
            assert (left is None) == (right is None) == (direction == "forward" and name != "main")
            if left:
                assert left.num_predicted == right.num_predicted == 49
                assert left.nats == pytest.approx(right.nats, rel=1e-12)


def test_evaluation_equals_each_character_predicted_by_itself():
    network = build_model(settings("gru", 2, "reference", None, direction="bidirectional"), V, seed=1).double()
    ids = some_text(12)[:, 0].numpy().astype("uint8")
    text = as_tensor(ids[:, None], network)
    forward, backward = network.forward_half, network.backward_half
    nats = {"main": 0.0, "backward": 0.0, "cloze": 0.0}
    for t in range(12):
        state = forward.initial_state(1)
        ahead = forward.read(text[:t], state)[0][-1, 0] if t > 0 else None
        behind = backward.read(text[t + 1 :].flip(0), state)[0][-1, 0] if t < 11 else torch.zeros(7).double()
        if t > 0:
            nats["main"] -= forward.decoder(ahead).log_softmax(-1)[ids[t]].item()
            both = forward.decoder.weight @ ahead + backward.decoder.weight @ behind + network.both_bias
            nats["cloze"] -= both.log_softmax(-1)[ids[t]].item()
        if t < 11:
            nats["backward"] -= backward.decoder(behind).log_softmax(-1)[ids[t]].item()
    figures = measure_text(network, ids, chunk_chars=5)
    for name, expected in nats.items():
        assert getattr(figures, name).nats == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_two_stacks_have_twice_the_parameters_and_one_more_bias(cell):
    causal = build_model(settings(cell, 2, "torch", 4), V, seed=0)
    assert isinstance(causal, CharLM)
    both = build_model(settings(cell, 2, "torch", 4, direction="bidirectional"), V, seed=0)
    assert num_parameters(both) == 2 * num_parameters(causal) + V


def test_each_readout_has_a_bias_of_its_own():
    network = build_model(settings("rnn", 1, "torch", None, direction="bidirectional"), V, seed=0)
    text = some_text()
    before = read(network, text)
    with torch.no_grad():
        network.both_bias[0] += 1.0
    after = read(network, text)
    assert torch.equal(before.forward, after.forward)
    assert torch.equal(before.backward, after.backward)
    torch.testing.assert_close(after.both[..., 0], before.both[..., 0] + 1.0)


@pytest.mark.parametrize("stack", STACKS[::5] + NATIVE[::5])
def test_dropout_reaches_both_stacks_and_only_in_training(stack):
    cell, _, implementation, embedding_size = stack
    model = settings(cell, 2, implementation, embedding_size, direction="bidirectional", dropout=0.5)
    network = build_model(model, V, seed=0)
    text = some_text()
    torch.manual_seed(0)
    first, second = read(network, text), read(network, text)
    assert not torch.equal(first.forward, second.forward)
    assert not torch.equal(first.backward, second.backward)
    network.eval()
    assert torch.equal(read(network, text).both, read(network, text).both)


@pytest.mark.parametrize("stack", STACKS[::4])
def test_both_implementations_load_each_other(stack):
    cell, num_layers, _, embedding_size = stack
    models = [
        settings(cell, num_layers, name, embedding_size, direction="bidirectional") for name in ("torch", "reference")
    ]
    networks = [build_model(model, V, seed=seed).double() for seed, model in enumerate(models)]
    networks[1].load_state_dict(networks[0].state_dict())
    text = some_text()
    left, right = (read(network, text) for network in networks)
    for name in ("forward", "backward", "both"):
        torch.testing.assert_close(getattr(left, name), getattr(right, name))

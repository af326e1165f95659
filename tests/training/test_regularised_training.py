"""Training regularised networks: learned states and smoothed labels, and the settings that do not go together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from predicting import sample_text
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from charlm.errors import ConfigError
from charlm.evaluation.characters import score_characters
from charlm.evaluation.gaps import measure_gaps
from charlm.evaluation.reading import measure_text
from charlm.generation.infill import fill_gap
from charlm.library.training import train
from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.building import Network, build_model
from charlm.networks.implementations import choose_implementation
from charlm.networks.language_model import CharLM
from charlm.networks.recurrent import State
from charlm.networks.torch_predictor import writing_half
from charlm.settings.loading import load_settings
from charlm.settings.model import ModelSettings
from charlm.settings.schema import Settings
from charlm.text.vocabulary import Vocabulary
from charlm.text.windows import Window
from charlm.training import loop
from charlm.training.optimizer import build_optimizer
from charlm.training.step import StepOutcome, take_step, window_loss
from charlm.training.threads import choose_threads

T, B, V, H, L = 5, 3, 6, 4, 2
RATE = 0.5
CELLS = ["rnn", "gru", "lstm"]
IMPLEMENTATIONS = ["reference", "torch", pytest.param("native", marks=pytest.mark.kernels)]
DIRECTIONS = ["forward", "backward", "bidirectional"]
CLOSE = {"rtol": 1e-5, "atol": 1e-7}
VOCABULARY = Vocabulary("abcdef")
IDS = np.random.default_rng(0).integers(V, size=40).astype(np.uint8)


def build_settings(cell: str = "lstm", *, method: str = "consecutive", **parts: dict[str, Any]) -> Settings:
    """Return settings of plain gradient descent without clipping; parts such as `model` are merged in."""
    sections: dict[str, dict[str, Any]] = {
        "sampling": {"method": method, "batch_size": B, "seq_len": T},
        "model": {"cell": cell, "hidden_size": H, "num_layers": L},
        "optimizer": {"method": "sgd", "learning_rate": RATE, "clip_norm": None},
        "train": {"max_steps": 100},
    }
    return Settings.model_validate({name: section | parts.get(name, {}) for name, section in sections.items()})


def build(settings: Settings) -> Network:
    """Return a network whose learned states, if it has any, are not zero."""
    network = build_model(settings.model, V, seed=0)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "initial" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return network


def draw_windows(number: int, beyond: int = 0) -> list[Window]:
    """Return consecutive windows."""
    text = np.random.default_rng(1).integers(V, size=(number * T + 1 + beyond, B)).astype(np.uint8)
    starts = range(0, number * T, T)
    return [
        Window(text[at : at + T], text[at + 1 : at + T + 1], text[at + T + 1 : at + T + 1 + beyond]) for at in starts
    ]


def tensors(window: Window) -> tuple[Tensor, Tensor, Tensor]:
    inputs, targets, beyond = (
        torch.from_numpy(part.astype(np.int64)) for part in (window.inputs, window.targets, window.beyond)
    )
    return inputs, targets, beyond


def step(network: Network, settings: Settings, state: State, *windows: Window, rate: float = 0.0) -> StepOutcome:
    """Take a step, which leaves the weights unchanged unless there is a rate."""
    optimizer = build_optimizer(network.parameters(), settings.optimizer)
    return take_step(network, optimizer, windows, state, settings=settings, step=0, learning_rate=rate)


def gradients_of(network: Network) -> dict[str, Tensor]:
    return {name: each.grad.clone() for name, each in network.named_parameters() if each.grad is not None}


def learned(network: Network) -> dict[str, Tensor]:
    return {name: each.detach().clone() for name, each in network.named_parameters() if "initial" in name}


# Learned states.


def explicit_gradients(network: CharLM, settings: Settings, window: Window) -> dict[str, Tensor]:
    """Return the gradients of the learned states: those of a state given to each row, summed over the rows."""
    state = tuple(
        part.detach()[:, None].repeat(1, B, 1).requires_grad_()
        for name, part in network.named_parameters()
        if "initial" in name
    )
    inputs, targets, _ = tensors(window)
    logits, _ = network(inputs, state)
    loss = cross_entropy(logits.flatten(0, 1), targets.flatten())
    parts = torch.autograd.grad(loss, state)
    assert len(parts) == (2 if settings.model.cell == "lstm" else 1)
    return {f"initial.{number}": part.sum(1) for number, part in enumerate(parts)}


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_at_the_start_of_an_epoch_a_learned_state_has_the_gradient_of_all_its_rows(
    cell: str, implementation: str
) -> None:
    settings = build_settings(cell, model={"learned_state": True, "implementation": implementation})
    network = build(settings)
    assert isinstance(network, CharLM)
    first, second = draw_windows(2)
    expected = explicit_gradients(network, settings, first)
    before = learned(network)
    outcome = step(network, settings, network.initial_state(B), first, rate=RATE)
    found = {name: value for name, value in gradients_of(network).items() if "initial" in name}
    assert all(value.abs().max() > 0 for value in expected.values())
    assert_close(found, expected, **CLOSE)
    assert_close(learned(network), {name: before[name] - RATE * value for name, value in expected.items()}, **CLOSE)
    # The next window continues from what has been read.
    step(network, settings, outcome.state, second)
    assert not any("initial" in name for name in gradients_of(network))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_random_sampling_starts_each_window_from_the_learned_state(cell: str, implementation: str) -> None:
    model = {"learned_state": True, "implementation": implementation}
    settings = build_settings(cell, method="random", model=model, optimizer={"accumulation": 2})
    network = build(settings)
    assert isinstance(network, CharLM)
    windows = draw_windows(2)
    expected = [explicit_gradients(network, settings, window) for window in windows]
    # This holds for any state that is given.
    given = tuple(torch.full_like(part, 9.0).detach() for part in network.initial_state(B))
    step(network, settings, given, *windows)
    found = {name: value for name, value in gradients_of(network).items() if "initial" in name}
    assert_close(found, {name: (value + expected[1][name]) / 2 for name, value in expected[0].items()}, **CLOSE)


@pytest.mark.parametrize("method", ["consecutive", "random"])
def test_each_half_learns_a_state_of_its_own_in_every_window(method: str) -> None:
    model = {"learned_state": True, "direction": "bidirectional", "lookahead": 2}
    settings = build_settings("lstm", method=method, model=model)
    network = build(settings)
    first, second = draw_windows(2, beyond=2)
    outcome = step(network, settings, network.initial_state(B), first)
    names = {f"{half}.initial.{number}" for half in ("forward_half", "backward_half") for number in range(2)}
    assert names <= gradients_of(network).keys()
    step(network, settings, outcome.state, second)
    # The backward half starts afresh in each window; the forward half continues if sampling does.
    left = names if method == "random" else {name for name in names if name.startswith("backward")}
    assert names & gradients_of(network).keys() == left


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_a_run_begins_each_epoch_with_the_learned_state(
    direction: str, tiny_settings: Callable[..., Settings], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[int, bool]] = []

    def spy(network: Network, optimizer: Any, windows: Any, state: State, **options: Any) -> StepOutcome:
        is_learned = all(torch.equal(part, own) for part, own in zip(state, network.initial_state(4), strict=True))
        assert all(part.requires_grad == is_learned for part in state)
        begun.append((options["step"], is_learned))
        return take_step(network, optimizer, windows, state, **options)

    monkeypatch.setattr(loop, "take_step", spy)
    options = ("sampling.seq_len=96", "model.learned_state=true", f"model.direction={direction}", "train.max_steps=16")
    run = train(tiny_settings(*options), name="run", runs_dir=tmp_path)
    assert [number for number, is_learned in begun if is_learned] == [0, 7, 14]
    assert len(begun) == 16
    assert run.summary() is not None


class Starts:
    """Record the state that each half of a network starts from, each time it does not continue."""

    def __init__(self, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
        halves = {"only": network}
        if isinstance(network, BidirectionalLM):
            halves = {"forward": network.forward_half, "backward": network.backward_half}
        self.seen: dict[str, list[State]] = {name: [] for name in halves}
        self.halves = halves
        for name, half in halves.items():
            monkeypatch.setattr(half, "read", self._spy(name, half.read))

    def _spy(self, name: str, read: Callable[..., Any]) -> Callable[..., Any]:
        def spy(ids: Tensor, state: State) -> Any:
            self.seen[name].append(tuple(part.detach().clone() for part in state))
            return read(ids, state)

        return spy

    def assert_learned(self, *names: str) -> None:
        """Assert that these halves have begun, and with their own state in each row."""
        for name in names:
            assert self.seen[name], name
            for part, own in zip(self.seen[name][0], self.halves[name].initial, strict=True):
                assert_close(part, own.detach()[:, None].expand_as(part), rtol=0, atol=0)


USES: dict[str, tuple[tuple[str, ...], Callable[[Any], Any]]] = {
    "evaluation": (("forward", "backward"), lambda network: measure_text(network, IDS, chunk_chars=7)),
    "scoring": (
        ("forward", "backward"),
        lambda network: list(score_characters(network, IDS, VOCABULARY, chunk_chars=7)),
    ),
    "writing": (
        ("forward",),
        lambda network: list(sample_text(writing_half(network), VOCABULARY, IDS[:3], length=5)),
    ),
    "gaps": (
        ("forward", "backward"),
        lambda network: measure_gaps(network, IDS, gap=2, every=9, passes=1, chains=1),
    ),
    "filling": (
        ("forward", "backward"),
        lambda network: list(fill_gap(network, VOCABULARY, IDS[:3], IDS[5:9], length=2)),
    ),
}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("use", USES)
def test_whatever_reads_a_text_from_its_end_or_start_begins_with_what_that_half_learned(
    use: str, cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {"learned_state": True, "direction": "bidirectional", "implementation": "reference"}
    network = build(build_settings(cell, model=model))
    names, run = USES[use]
    starts = Starts(network, monkeypatch)
    run(network)
    starts.assert_learned(*names)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_evaluation_equals_each_character_predicted_by_itself_from_the_learned_states(
    cell: str, direction: str
) -> None:
    model = {"learned_state": True, "residual": True, "direction": direction}
    network = build(build_settings(cell, model=model)).double()
    forward = writing_half(network)
    ids = torch.from_numpy(IDS[:12].astype(np.int64))[:, None]
    nats = {"main": 0.0, "backward": 0.0, "cloze": 0.0}

    def ends(half: CharLM, text: Tensor) -> Tensor:
        """Return what the last layer put out after a text of any length, none included."""
        state = tuple(part[:, None] for part in half.initial)
        return half.read(text, state)[0][-1, 0] if len(text) else half.initial[0].sum(0)

    def cost(logits: Tensor, t: int) -> float:
        return -logits.log_softmax(-1)[ids[t, 0]].item()

    for t in range(12):
        ahead = ends(forward, ids[:t])
        nats["main"] += cost(forward.decoder(ahead), t) if t > 0 else 0.0
        if isinstance(network, BidirectionalLM):
            half = network.backward_half
            behind = ends(half, ids[t + 1 :].flip(0))
            both = forward.decoder.weight @ ahead + half.decoder.weight @ behind + network.both_bias
            nats["cloze"] += cost(both, t) if t > 0 else 0.0
            nats["backward"] += cost(half.decoder(behind), t) if t < 11 else 0.0
    figures = measure_text(network, IDS[:12], chunk_chars=5)
    for name, expected in nats.items():
        figure = getattr(figures, name)
        assert (figure is None) == (expected == 0.0)
        if figure:
            assert figure.nats == pytest.approx(expected, rel=1e-12)
    if direction != "bidirectional":
        scores = score_characters(network, IDS[:12], VOCABULARY, direction=direction, chunk_chars=5)
        text = IDS[:12][::-1] if direction == "backward" else IDS[:12]
        read = measure_text(network, text).main.bits_per_char * 11
        assert sum(score.bits or 0.0 for score in scores) == pytest.approx(read, rel=1e-9)


def test_steps_can_be_timed_from_a_learned_state() -> None:
    settings = build_settings(model={"learned_state": True, "zoneout": 0.1}, optimizer={"method": "adam"})
    assert choose_threads(settings, V, torch.device("cpu")) >= 1


# Smoothed labels.


def smoothed(logits: Tensor, targets: Tensor, share: float) -> Tensor:
    """Return the mean cross entropy with (1 - share) of the target and share of the uniform distribution."""
    logs = logits.log_softmax(-1)
    right = logs.gather(-1, targets[..., None])[..., 0]
    return -((1 - share) * right + share * logs.mean(-1)).mean()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_the_loss_is_smoothed_and_the_reported_result_is_not(direction: str, share: float) -> None:
    weights = {"forward": 0.5, "backward": 2.0, "both": 0.25} if direction == "bidirectional" else {}
    model = {"direction": direction, **({"loss_weights": weights} if weights else {})}
    settings = build_settings("gru", model=model, optimizer={"label_smoothing": share})
    network = build(settings)
    (window,) = draw_windows(1)
    inputs, targets, beyond = tensors(window)
    readouts = network.read_window(inputs, targets, beyond, network.initial_state(B))
    parts = [("forward", readouts.forward, targets)]
    if readouts.backward is not None and readouts.both is not None:
        parts += [("backward", readouts.backward, inputs), ("both", readouts.both, targets)]
    each = [smoothed(logits, wanted, share) for _, logits, wanted in parts]
    factors = [weights.get(name, 1.0) for name, _, _ in parts]
    expected = torch.stack([factor * cost for factor, cost in zip(factors, each, strict=True)]).sum()
    torchs = [
        cross_entropy(logits.flatten(0, 1), wanted.flatten(), label_smoothing=share) for _, logits, wanted in parts
    ]
    assert_close(each, torchs, **CLOSE)
    plain = torch.stack([smoothed(logits, wanted, 0.0) for _, logits, wanted in parts])
    loss, means = window_loss(readouts, inputs, targets, settings.model.loss_weights, smoothing=share)
    assert_close((loss, means), (expected, plain.detach()), **CLOSE)
    assert not means.requires_grad
    names, parameters = zip(*network.named_parameters(), strict=True)
    gradients = dict(zip(names, torch.autograd.grad(expected, parameters), strict=True))
    outcome = step(network, settings, network.initial_state(B), window)
    assert_close(gradients_of(network), gradients, **CLOSE)
    figures = outcome.figures
    found = [figure.nats_per_char for figure in (figures.main, figures.backward, figures.cloze) if figure]
    assert found == pytest.approx(plain.tolist(), rel=1e-6)
    if share == 0.9:
        assert abs(each[0].item() - plain[0].item()) > 1e-3


# Settings.


NOT_TOGETHER: list[tuple[dict[str, Any], str, str]] = [
    ({"residual": True}, "residual", "acts between layers, and model.num_layers is 1: change one of them"),
    ({"dropout": 0.5}, "dropout", "acts between layers, and model.num_layers is 1: change one of them"),
    ({"locked_dropout": True}, "locked_dropout", "changes how dropout acts, and there is none: set dropout"),
    ({"locked_dropout": True, "recurrent_dropout": 0.5}, "locked_dropout", "changes how dropout acts"),
    ({"cell": "gru", "zoneout_cells": 0.5}, "zoneout_cells", "belongs to the lstm cell, and model.cell is gru"),
    ({"cell": "rnn", "zoneout_cells": 0.0}, "zoneout_cells", "belongs to the lstm cell, and model.cell is rnn"),
    ({"cell": "gru", "layer_norm": True, "reset_after": False}, "layer_norm", "and model.reset_after is false"),
    (
        {"tied_embeddings": True, "embedding_size": 256, "direction": "bidirectional"},
        "tied_embeddings",
        "has no meaning for bidirectional models, which have two embeddings and two output layers",
    ),
    (
        {"tied_embeddings": True, "embedding_size": 8},
        "tied_embeddings",
        "needs model.embedding_size to equal model.hidden_size: 256, not 8",
    ),
    ({"tied_embeddings": True}, "tied_embeddings", "needs model.embedding_size to equal model.hidden_size: 256"),
    *(
        ({"direction": "leaky", "num_layers": 2, "dropout": 0.1, "embedding_size": 256, **setting}, key, "leaky models")
        for setting in (
            *({name: 0.5} for name in ("input_dropout", "output_dropout", "recurrent_dropout", "zoneout")),
            {"zoneout_cells": 0.5},
            *({name: True} for name in ("locked_dropout", "layer_norm", "residual", "tied_embeddings")),
            {"learned_state": True},
        )
        for key in setting
    ),
]


@pytest.mark.parametrize(("model", "key", "reason"), NOT_TOGETHER, ids=lambda value: str(value)[:60])
def test_conflicting_settings_are_refused_by_name(model: dict[str, Any], key: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(overrides=["corpus.name=stories", *(f"model.{name}={value}" for name, value in model.items())])
    lines = [line for line in str(caught.value).splitlines() if line.startswith(f"model.{key} ")]
    assert len(lines) == len(str(caught.value).splitlines()) == 1
    assert reason in lines[0]


@pytest.mark.parametrize(
    "model",
    [
        {"residual": True, "num_layers": 2},
        {"locked_dropout": True, "input_dropout": 0.5},
        {"locked_dropout": True, "output_dropout": 0.5},
        {"locked_dropout": True, "dropout": 0.5, "num_layers": 2},
        {"zoneout_cells": 0.5},
        {"cell": "gru", "layer_norm": True},
        {"cell": "gru", "layer_norm": True, "reset_after": True},
        {"tied_embeddings": True, "embedding_size": 256},
        {"tied_embeddings": True, "embedding_size": 256, "direction": "backward"},
        {"direction": "bidirectional", "layer_norm": True, "learned_state": True, "zoneout": 0.1},
    ],
    ids=str,
)
def test_compatible_settings_are_accepted(model: dict[str, Any]) -> None:
    assert Settings.model_validate({"model": model})


@pytest.mark.parametrize("implementation", ["auto", "torch"])
@pytest.mark.parametrize("feature", [{"layer_norm": True}, {"zoneout": 0.5}, {"zoneout_cells": 0.5}], ids=str)
def test_the_leaky_construction_is_never_built_with_what_torch_does_not_have(
    feature: dict[str, Any], implementation: str
) -> None:
    with pytest.raises(ConfigError, match=r"leaky is torch\.nn's own construction"):
        choose_implementation(ModelSettings(direction="leaky", implementation=implementation, **feature))

"""The page's networks are those of the package: the same probabilities, and the same texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from pairs import covering
from predicting import CELLS, predictor, sample_texts

from charlm.generation.filters import Filters
from charlm.networks.building import build_model
from charlm.networks.language_model import CharLM
from charlm.pages.models import computed_settings
from charlm.pages.weights import PackedWeights, pack_weights
from charlm.settings.model import ModelSettings
from charlm.text.vocabulary import Vocabulary

V, LENGTH, NUM_TEXTS = 29, 1_000, 10
ALL_CELLS = {**CELLS, "rnn sigmoid": {"cell": "rnn", "activation": "sigmoid"}}
EXTRAS: dict[str, dict[str, Any]] = {
    "plain": {},
    "layer_norm": {"layer_norm": True},
    "zoneout": {"zoneout": 0.2},
}
INPUTS: dict[str, dict[str, Any]] = {
    "one-hot": {"hidden_size": 23},
    "embedding": {"hidden_size": 20, "embedding_size": 7},
    "tied": {"hidden_size": 16, "embedding_size": 16, "tied_embeddings": True},
}
DEPTHS: dict[str, dict[str, Any]] = {
    "1": {},
    "2": {"num_layers": 2},
    "3": {"num_layers": 3},
    "2 residual": {"num_layers": 2, "residual": True},
    "3 residual": {"num_layers": 3, "residual": True},
}
AXES = tuple(ALL_CELLS), tuple(EXTRAS), tuple(INPUTS), tuple(DEPTHS), ("zeros", "learned")
CASES = sorted(covering(*AXES))
# Ten texts of each take seconds: one case in six stays in the quick suite.
SLOW = [case for at, case in enumerate(CASES) if at % 6]
VOCABULARY = Vocabulary("".join(chr(0x100 + at) for at in range(V)))
PREFIX = VOCABULARY.encode("ĀāĂă")
FILTERS = Filters(temperature=0.9, top_k=20)
WRITE = """(t, { settings, tensors, base64, V, prefix, numTexts, length, filters, read }) => {
    const network = new t.Network(settings, t.decodeTensors(base64, tensors), V);
    const texts = Array.from({ length: numTexts }, (_, sample) => {
        const writer = new t.Writer(network, prefix, { numCharacters: V, seed: 5n, sample, filters });
        return Array.from({ length }, () => writer.next().id);
    });
    const state = network.initialState();
    const probabilities = read.map((id) => {
        network.advance(state, id);
        return Array.from(t.softmax(network.logits(state)));
    });
    return { texts, probabilities };
}"""


def built(cell: str, extra: str, inputs: str, depth: str, start: str) -> CharLM:
    """Return a network whose distributions are neither flat nor sure, and differ from step to step."""
    # The cell with the reset gate before the product has no layer normalisation.
    extra = "zoneout" if (cell, extra) == ("gru before", "layer_norm") else extra
    fields = {
        **ALL_CELLS[cell],
        **EXTRAS[extra],
        **INPUTS[inputs],
        **DEPTHS[depth],
        "learned_state": start == "learned",
    }
    if cell == "lstm" and extra == "zoneout":
        fields["zoneout_cells"] = 0.3
    network = build_model(ModelSettings(**fields), V, seed=3)
    generator = torch.Generator().manual_seed(0)
    # Stronger, a plain RNN is chaotic: two texts would part from the least rounding, whoever computes them.
    factor = 1.0 if cell.startswith("rnn") or extra == "layer_norm" else 2.0
    with torch.no_grad():
        # All units of a sigmoid are positive, so that what they share would decide everything.
        network.decoder.weight *= 1 if "tied" in inputs or "sigmoid" in cell else 5
        for name, parameter in network.named_parameters():
            if name.startswith("recurrent."):
                parameter *= factor
            if "gain" in name or "bias" in name or name.startswith("initial"):
                parameter += torch.randn(parameter.shape, generator=generator) / 5
    return network.eval()


def in_page(network: CharLM, packed: PackedWeights, read: np.ndarray, num_texts: int = NUM_TEXTS) -> dict[str, Any]:
    """Return what the page is given."""
    return {
        "settings": computed_settings(network.model),
        "tensors": [asdict(place) for place in packed.places],
        "base64": packed.base64,
        "V": V,
        "prefix": PREFIX.tolist(),
        "numTexts": num_texts,
        "length": LENGTH,
        "filters": {"temperature": FILTERS.temperature, "topK": FILTERS.top_k},
        "read": read.tolist(),
    }


def packed_weights(network: CharLM, **options: Any) -> PackedWeights:
    return pack_weights({name: value.numpy() for name, value in network.state_dict().items()}, **options)


@pytest.mark.parametrize(
    ("cell", "extra", "inputs", "depth", "start"),
    [pytest.param(*case, marks=[pytest.mark.slow] * (case in SLOW)) for case in CASES],
)
def test_texts_and_probabilities_are_those_of_the_command(
    engine: Callable[..., Any], cell: str, extra: str, inputs: str, depth: str, start: str
) -> None:
    network = built(cell, extra, inputs, depth, start)
    options = {"num_samples": NUM_TEXTS, "seed": 5, "length": LENGTH, "filters": FILTERS}
    texts = [VOCABULARY.encode(text).tolist() for text in sample_texts(network, VOCABULARY, PREFIX, **options)]
    history = np.concatenate([PREFIX, texts[0]]).astype(np.int64)
    model = predictor(network, VOCABULARY)
    logits, _ = model.predict(history[:, None], model.initial_state(1))
    expected = torch.from_numpy(logits[:, 0]).double().softmax(-1).numpy()
    found = engine(WRITE, in_page(network, packed_weights(network), history))
    assert np.abs(np.array(found["probabilities"]) - expected).max() < 1e-5
    same = sum(ours == theirs for ours, theirs in zip(found["texts"], texts, strict=True))
    assert same >= 0.9 * NUM_TEXTS
    # The texts say something: they differ, and use more than a few characters.
    assert len({tuple(text) for text in texts}) == NUM_TEXTS
    assert len(set(texts[0])) > 5


RECORD = """(t, { settings, tensors, base64, V, read, layer }) => {
    const network = new t.Network(settings, t.decodeTensors(base64, tensors), V);
    const { parts, watch } = t.layerRecorder(network, layer, read.length);
    const bits = Array.from(t.readText(network, read, null, watch), (each) => each.bits);
    return { bits, parts: Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, Array.from(part)])) };
}"""


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("cell", ["rnn tanh", "gru", "gru before", "lstm"])
def test_what_is_looked_at_are_the_states_and_gates(engine: Callable[..., Any], cell: str, layer: int) -> None:
    network = built(cell, "plain", "one-hot", "2", "zeros")
    ids = np.random.default_rng(0).integers(V, size=50)
    found = engine(RECORD, in_page(network, packed_weights(network), ids) | {"layer": layer})
    parts = {name: np.array(part).reshape(50, -1) for name, part in found["parts"].items()}
    with torch.no_grad():
        states = [network(torch.from_numpy(ids[: length + 1])[:, None])[1] for length in range(50)]
        logits, _ = network(torch.from_numpy(ids)[:, None])
    h = np.stack([state[0][layer, 0].numpy() for state in states])
    np.testing.assert_allclose(parts["h"], h, atol=1e-5)
    before = np.concatenate([np.zeros_like(h[:1]), h[:-1]])
    # Each new state follows from the gates that are shown, by the equations.
    if "gru" in cell:
        np.testing.assert_allclose((1 - parts["z"]) * parts["n"] + parts["z"] * before, h, atol=1e-5)
    if cell == "lstm":
        c = np.stack([state[1][layer, 0].numpy() for state in states])
        c_before = np.concatenate([np.zeros_like(c[:1]), c[:-1]])
        np.testing.assert_allclose(parts["c"], c, atol=1e-5)
        np.testing.assert_allclose(parts["f"] * c_before + parts["i"] * parts["g"], c, atol=1e-5)
        np.testing.assert_allclose(parts["o"] * np.tanh(c), h, atol=1e-5)
    log_probabilities = logits[:-1, 0].double().log_softmax(-1).numpy()
    expected = -log_probabilities[np.arange(49), ids[1:]] / np.log(2)
    assert found["bits"][0] is None
    np.testing.assert_allclose(found["bits"][1:], expected, atol=1e-4)

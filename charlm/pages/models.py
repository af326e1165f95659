"""What a page knows of each of its networks: settings, symbols, how texts begin, and the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from charlm.errors import ConfigError
from charlm.insight.neurons import Neuron
from charlm.networks.predictor import Floats
from charlm.pages.weights import PackedWeights, pack_weights
from charlm.runs.checkpoints import Checkpoint
from charlm.runs.json_records import Json
from charlm.settings.model import ModelSettings
from charlm.text.items import boundary_id

HALF = "forward_half."
BIDIRECTIONAL_NOTE = "The network reads in both directions; the page has its forward half, which writes."
# The settings that the script computes with.
COMPUTED = (
    *("cell", "hidden_size", "num_layers", "layer_norm", "residual", "zoneout", "embedding_size", "tied_embeddings"),
    "learned_state",
)


@dataclass(frozen=True, kw_only=True)
class PageModel:
    """A network of a page.

    Args:
        name: what to call it.
        checkpoint: its settings, vocabulary, weights and step.
        weights: the weights that the page carries.
        opening: the text that it reads before it writes without a prefix; None if it needs one.
        is_shown: whether that text is a part of what is written.
        license: what the giver says about rights; empty if nothing was said.
        bits_per_char: the result on the validation split; None if it is not known.
        neurons: units that follow a feature of the text.
    """

    name: str
    checkpoint: Checkpoint
    weights: PackedWeights
    opening: str | None
    is_shown: bool = False
    license: str = ""
    bits_per_char: float | None = None
    neurons: Sequence[Neuron] = ()

    @property
    def note(self) -> str | None:
        """What must be said about it; None for a forward model."""
        is_half = self.checkpoint.settings.model.direction == "bidirectional"
        return BIDIRECTIONAL_NOTE if is_half else None

    def as_json(self) -> Json:
        """Return everything but the weights, as the script reads it; text that is read is in code points."""
        settings, vocabulary = self.checkpoint.settings, self.checkpoint.vocabulary
        return {
            "name": self.name,
            "step": self.checkpoint.step,
            "license": self.license,
            "note": self.note,
            "bits_per_char": self.bits_per_char,
            "parameters": self.weights.num_parameters,
            "settings": computed_settings(settings.model),
            "characters": [ord(each) for each in vocabulary.characters],
            "has_unknown": vocabulary.has_unknown,
            "unknown": vocabulary.policy(settings.corpus.unknown),
            "boundary": boundary_id(settings.corpus, vocabulary),
            "items": settings.corpus.items,
            "separator": settings.corpus.separator,
            "clean": settings.corpus.clean.model_dump(mode="json"),
            "opening": None if self.opening is None else [ord(each) for each in self.opening],
            "is_shown": self.is_shown,
            "neurons": [asdict(neuron) for neuron in self.neurons],
            "tensors": [asdict(place) for place in self.weights.places],
        }


def page_weights(name: str, model: ModelSettings, weights: Mapping[str, Floats], *, int8: bool) -> PackedWeights:
    """Return the weights that a page carries: of a bidirectional model, the forward half.

    Args:
        name: what to call the run in a message.
        model: the network's settings.
        weights: all of its parameters.
        int8: see `pack_weights`.
    Raises:
        ConfigError: for a backward and for a leaky model.
    """
    if model.direction == "backward":
        raise ConfigError(f"the model of run {name} reads backwards, and a page writes forwards: give it another run")
    if model.direction == "leaky":
        raise ConfigError(
            f"the model of run {name} is leaky: it reads each character before it predicts it, so a page cannot write "
            "with it"
        )
    if model.direction == "bidirectional":
        weights = {key.removeprefix(HALF): array for key, array in weights.items() if key.startswith(HALF)}
    # In an order of their own, so that the same network is the same page.
    return pack_weights({key: weights[key] for key in sorted(weights)}, int8=int8)


def computed_settings(model: ModelSettings) -> Json:
    """Return the settings that the network's script computes with, with the defaults of its cell filled in."""
    return {
        **{name: getattr(model, name) for name in COMPUTED},
        "nonlinearity": model.nonlinearity,
        "reset_after": model.reset_after is not False,
        "zoneout_cells": model.zoneout_cells or 0.0,
    }

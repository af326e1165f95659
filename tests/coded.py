"""Models with fresh weights, which code files as well as trained ones do, only not as briefly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from charlm.library.file_coder import FileCoder
from charlm.library.models import Model
from charlm.library.networks import Networks
from charlm.networks.building import build_model
from charlm.runs.checkpoints import Checkpoint
from charlm.runs.run import Run
from charlm.settings.loading import load_settings
from charlm.text.vocabulary import Vocabulary

ENGLISH = "\n !',.?ABCDEHIOSTWabcdefghiklmnoprstuvwy"


def fresh_model(*overrides: str, characters: str = ENGLISH, has_unknown: bool = False, seed: int = 0) -> Model:
    """Return a model with fresh weights, whose distributions are not flat, as though it were that of a run."""
    settings = load_settings(overrides=["model.hidden_size=24", *overrides])
    vocabulary = Vocabulary("".join(sorted(characters)), has_unknown)
    network = build_model(settings.model, len(vocabulary), seed=seed)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            weight *= 4 if "decoder" in name else 2
    weights = {name: weight.detach().numpy() for name, weight in network.state_dict().items()}
    checkpoint = Checkpoint(7, settings, vocabulary, weights, {}, None)  # pyright: ignore[reportArgumentType]
    return Model(Run(Path("runs") / "fresh"), checkpoint, Networks(checkpoint, "cpu"))


def round_trip(model: Model, content: bytes) -> Any:
    """Code bytes, decode them with another copy of the model, and return what was coded."""
    coded = FileCoder(model).encode(content, None)
    assert FileCoder(model).decode(coded, Path("coded.cz"), None) == content
    return coded

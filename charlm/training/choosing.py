"""Fill in what an automatic recipe leaves open, by the text, the time, and a second of trial steps on this machine."""

from __future__ import annotations

from charlm.recipes.automatic import REFERENCE, REFERENCE_SYMBOLS, Task, automatic, num_members
from charlm.settings.layers import SettingsLayer, keyed_layer, merge
from charlm.settings.loading import check_layer, dotted_values
from charlm.settings.schema import Settings
from charlm.text.corpus import Corpus, load_corpus
from charlm.training.contest import choose_computation
from charlm.training.resolution import this_machine
from charlm.training.speed import seconds_of_a_step

# For a run whose length is given in steps or epochs.
DEFAULT_MINUTES = 5.0


def fill_in(asked: Settings, corpus: Corpus) -> Settings:
    """Return settings with a value for each that the recipe chooses and nobody has written; others stay.

    Args:
        asked: the settings that the user wrote.
        corpus: the corpus that they name.
    Raises:
        ConfigError: if what was written cannot be combined.
    """
    if asked.train.recipe is None:
        return asked
    choices = automatic(_task(asked, corpus), dotted_values(asked, only_written=True))
    epochs = choices.pop("train.epochs", None)
    layers = [keyed_layer(key.split("."), value, "the recipe") for key, value in choices.items()]
    filled = check_layer(merge([*layers, SettingsLayer(asked.model_dump(mode="json", exclude_unset=True), {})]))
    # A text that is too short for its minutes ends before them.
    return filled if epochs is None else filled.replaced({"train.epochs": epochs, "train.fit_minutes": None})


def choose_members(asked: Settings) -> int:
    """Return how many networks should share the minutes of an automatic recipe, if they are joined afterwards.

    Raises:
        TextError: for a corpus that cannot be read.
    """
    corpus = load_corpus(asked.corpus, asked.vocabulary)
    return num_members(_task(asked, corpus), dotted_values(asked, only_written=True))


def _task(asked: Settings, corpus: Corpus) -> Task:
    minutes = asked.train.fit_minutes or asked.train.minutes or DEFAULT_MINUTES
    return Task(len(corpus.ids), len(corpus.vocabulary), 60 * minutes * _reference_speed(asked))


def _reference_speed(asked: Settings) -> float:
    """Return how many characters a second the reference network reads in training."""
    train = asked.train
    layers = [keyed_layer(key.split("."), value, "the recipe") for key, value in REFERENCE.items()]
    settings = check_layer(merge(layers)).replaced(
        {f"train.{name}": getattr(train, name) for name in ("threads", "device", "fit_minutes")}
    )
    machine = this_machine(settings)
    choice = choose_computation(settings, REFERENCE_SYMBOLS, machine.implementation, machine.device)
    settings = settings.replaced({"model.implementation": choice.implementation, "train.threads": choice.threads})
    sampling = settings.sampling
    return sampling.batch_size * sampling.seq_len / seconds_of_a_step(settings, REFERENCE_SYMBOLS)

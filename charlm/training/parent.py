"""Training on: what a run takes over from the checkpoint that it starts from, and what must not contradict it."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

from pydantic import JsonValue

from charlm.errors import ConfigError, printable
from charlm.networks.extending import extend_weights
from charlm.runs.facts import ParentFacts
from charlm.runs.parents import Parent, is_same_start, open_parent
from charlm.runs.run import runs_folder
from charlm.runs.tensors import Array
from charlm.settings.loading import dotted_values
from charlm.settings.model import model_conflicts
from charlm.settings.schema import Settings
from charlm.settings.template import inline
from charlm.text.inheriting import KnownSymbols, added_characters, new_ids
from charlm.text.notices import Notice
from charlm.text.vocabulary import Vocabulary

# The sections that come from the parent.
INHERITED = ("model", "vocabulary", "corpus.clean")
# Settings of the network that change no shape and no equation: how it is trained, and by which code it is computed.
MAY_CHANGE = (
    *("model.dropout", "model.input_dropout", "model.output_dropout", "model.locked_dropout"),
    *("model.recurrent_dropout", "model.zoneout", "model.zoneout_cells"),
    *("model.lookahead", "model.loss_weights.forward", "model.loss_weights.backward", "model.loss_weights.both"),
    "model.implementation",
)
# What null means where it names an equation.
MEANT_BY_NULL: dict[str, JsonValue] = {"model.activation": "tanh", "model.reset_after": True}


def find_parent(
    asked: Settings, runs_dir: Path | None, begun: Vocabulary | None
) -> tuple[Settings, Parent] | tuple[Settings, None]:
    """Return a run's settings with what it takes over, and the checkpoint that it starts from, if it starts from one.

    Args:
        asked: the settings that the user wrote.
        runs_dir: the folder of runs; None means CHARLM_RUNS_DIR or ./runs.
        begun: the symbols of a run that is resumed after it started from another, which it does not need any more.
    Raises:
        RunError: if there is no such checkpoint.
        ConfigError: naming each setting that contradicts it.
    """
    if asked.start.run is None or begun is not None:
        return asked, None
    parent = open_parent(asked.start.run, folder=runs_dir or runs_folder())
    return inherit_settings(asked, parent), parent


def inherit_settings(asked: Settings, parent: Parent) -> Settings:
    """Return settings with the network, cleaning and vocabulary of the parent, and with its checkpoint's path.

    Raises:
        ConfigError: naming each setting that was written and differs from the parent's.
    """
    theirs = parent.checkpoint.settings
    then, written = dotted_values(theirs), dotted_values(asked, only_written=True)
    changed = {key for key in written if key in MAY_CHANGE}
    differing = [
        f"{key} is {inline(then.get(key))} there, and {inline(value)} was asked for"
        for key, value in sorted(written.items())
        if any(key.startswith(f"{section}.") for section in INHERITED)
        and key not in MAY_CHANGE
        and _meant(key, then.get(key)) != _meant(key, value)
    ]
    if differing:
        raise ConfigError(
            f"training on keeps the network, the cleaning and the vocabulary of the run {printable(parent.run.name)}: "
            f"{'; '.join(differing)}; leave that out, or train a new model without --from (start.run)"
        )
    # The code that computed the parent need not exist on this machine.
    changed.add("model.implementation")
    settings = asked.replaced(
        {
            **{section: attrgetter(section)(theirs) for section in INHERITED},
            "start.run": str(parent.path),
        }
    ).replaced({key: attrgetter(key)(asked) for key in changed})
    if problems := [f"{key} {reason}" for key, reason in model_conflicts(settings.model)]:
        raise ConfigError("\n".join(problems))
    return settings


def keep_start(asked: Settings, stored: Settings) -> Settings:
    """Return settings in which another name of the stored parent is replaced by the stored one."""
    name, checkpoint = asked.start.run, stored.start.run
    if name is None or checkpoint is None or not is_same_start(name, checkpoint):
        return asked
    return asked.replaced({"start.run": checkpoint})


def known_symbols(settings: Settings, parent: Parent | None, begun: Vocabulary | None) -> KnownSymbols | None:
    """Return the symbols that the corpus is read with, or None if they are chosen by the corpus alone.

    Args:
        settings: the settings of the run.
        parent: the checkpoint that it starts from.
        begun: the symbols of a run that is resumed after it started from a parent.
    """
    if begun is not None:
        return KnownSymbols(begun, "drop")
    return parent and KnownSymbols(parent.checkpoint.vocabulary, settings.start.new_characters)


def inherited_weights(parent: Parent, vocabulary: Vocabulary) -> dict[str, Array]:
    """Return the parent's weights for a vocabulary that has at least its symbols."""
    checkpoint = parent.checkpoint
    positions = new_ids(checkpoint.vocabulary, vocabulary).tolist()
    return extend_weights(checkpoint.model, checkpoint.settings.model, positions, len(vocabulary))


def parent_facts(parent: Parent | None, vocabulary: Vocabulary) -> ParentFacts | None:
    """Return what is recorded about a parent, before anything is measured; None without a parent.

    Args:
        parent: the checkpoint that the run starts from.
        vocabulary: the symbols of the run.
    """
    if parent is None:
        return None
    checkpoint, environment = parent.checkpoint, parent.run.environment()
    return ParentFacts(
        name=printable(parent.run.name),
        path=str(parent.run.path.absolute()),
        step=checkpoint.step,
        weights_sha256=parent.weights_sha256,
        added=added_characters(checkpoint.vocabulary, vocabulary),
        corpus=checkpoint.settings.corpus.model_dump(mode="json"),
        corpus_sha256=checkpoint.state.corpus_sha256 or environment.corpus_sha256,
    )


def parent_notices(parent: Parent | None) -> Iterator[Notice]:
    """Yield what a person should know about the checkpoint that a run starts from."""
    if parent is not None and (sentence := parent.notice):
        yield Notice(sentence)


def _meant(key: str, value: JsonValue) -> JsonValue:
    return MEANT_BY_NULL.get(key) if value is None else value

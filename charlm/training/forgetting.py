"""What a run that started from another has learned and forgotten: both texts' validation splits, before and after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pydantic import ValidationError

from charlm.errors import CharlmError, StoppedError, printable
from charlm.evaluation.reading import measure_text
from charlm.networks.building import Network
from charlm.runs.facts import ParentFacts
from charlm.runs.rates import Rates
from charlm.runs.restoring import restore_model
from charlm.settings.corpus import CorpusSettings, VocabularySettings
from charlm.text.corpus import load_corpus
from charlm.text.inheriting import KnownSymbols, new_ids, without_characters
from charlm.text.splits import Part, split_corpus
from charlm.text.vocabulary import Vocabulary
from charlm.training.experiment import Experiment
from charlm.training.parent import inherited_weights
from charlm.training.rates import rates_of
from charlm.training.recording import StopRequestedError, leave_if

MAX_SENTENCE = 1_000


@dataclass(frozen=True)
class OldText:
    """The result on the validation split of the text that a run's parent learned.

    Args:
        rates: the result; None if the split was not read.
        problem: why it was not read, as a sentence.
    """

    rates: Rates | None = None
    problem: str | None = None


def measure_parent(experiment: Experiment, should_stop: Callable[[], str | None]) -> Experiment:
    """Measure what the parent makes of the new text and of its own, before the first step.

    Args:
        experiment: from `prepare`; one without a parent is returned unchanged.
        should_stop: called between chunks of the texts.
    Returns:
        The experiment, whose facts have the results, and which no longer holds the parent in memory.
    Raises:
        StoppedError: if `should_stop` returns a word.
    """
    parent, facts = experiment.parent, experiment.facts.parent
    if parent is None or facts is None:
        return experiment
    leave, device, val = leave_if(should_stop), experiment.resolved.device, experiment.split.val
    # The settings are the parent's, because zoneout changes how a network reads, too.
    weights = inherited_weights(parent, experiment.vocabulary)
    extended = replace(parent.checkpoint, vocabulary=experiment.vocabulary, model=weights)
    try:
        rates = val and rates_of(measure_text(restore_model(extended, device=device), val.ids, report=leave))
        old = _read_old(experiment, facts, restore_model(parent.checkpoint, device=device), None, leave)
    except StopRequestedError as request:
        raise StoppedError("stopped before anything was written", request.word) from None
    facts = replace(facts, val=rates, old_val=old.rates, old_text=old.problem)
    return replace(experiment, facts=replace(experiment.facts, parent=facts), parent=None)


def measure_forgetting(experiment: Experiment, parent: ParentFacts, report: Callable[[int], None]) -> OldText:
    """Measure what the network makes of the parent's own text now, if that was measured before the first step.

    Args:
        experiment: whose network is measured.
        parent: what is recorded about the parent.
        report: called with the number of characters done.
    """
    if parent.old_val is None:
        return OldText(problem=parent.old_text)
    return _read_old(experiment, parent, experiment.network, experiment.vocabulary, report)


def _read_old(
    experiment: Experiment,
    facts: ParentFacts,
    network: Network,
    vocabulary: Vocabulary | None,
    report: Callable[[int], None],
) -> OldText:
    """Measure a network on the validation split of the parent's text.

    Args:
        vocabulary: the network's symbols; None means the parent's own.
    """
    try:
        old, part = _old_validation(experiment, facts)
    except (CharlmError, ValidationError) as error:
        sentence = str(error) if isinstance(error, CharlmError) else "its settings are not known any more"
        return OldText(problem=printable(f"the text of the run {facts.name} was not read: {sentence}", MAX_SENTENCE))
    if part is None:
        return OldText(problem=f"the text of the run {facts.name} has no validation split")
    if experiment.split.val is not None and part.sha256 == experiment.split.val.sha256:
        return OldText(problem=f"the run {facts.name} has the same validation split")
    ids = part.ids
    if vocabulary is not None:
        # The same symbols are predicted as before: a character that has one of its own now may have had none then.
        ids = new_ids(old, vocabulary).astype(vocabulary.dtype)[ids]
    return OldText(rates_of(measure_text(network, ids, report=report)))


def _old_validation(experiment: Experiment, facts: ParentFacts) -> tuple[Vocabulary, Part | None]:
    """Return the parent's vocabulary, and its validation split in reading order, if there is one.

    Raises:
        CharlmError: if its text is gone or changed.
        ValidationError: if its settings cannot be read.
    """
    settings = CorpusSettings.model_validate(facts.corpus)
    vocabulary = without_characters(experiment.vocabulary, facts.added)
    corpus = load_corpus(settings, VocabularySettings(), known=KnownSymbols(vocabulary, "drop"))
    if corpus.sha256 != facts.corpus_sha256:
        raise CharlmError(
            f"it has changed since (SHA-256 {corpus.sha256[:12]} now and {facts.corpus_sha256[:12]} then)"
        )
    return vocabulary, split_corpus(corpus, settings).in_reading_order(experiment.settings.model.direction).val

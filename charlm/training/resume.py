"""Resuming a run: which settings may change, which must not, and what is only reported."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from operator import attrgetter

from pydantic import JsonValue

from charlm.errors import CharlmError, CharlmWarning, ConfigError, RunError
from charlm.runs.checkpoints import Checkpoint
from charlm.runs.facts import Fingerprint, SplitFacts
from charlm.runs.run import Run
from charlm.settings.corpus import CorpusSettings
from charlm.settings.layers import SettingsLayer, merge, override_layer, sets
from charlm.settings.loading import check_layer, dotted_values, names_corpus
from charlm.settings.schema import Settings
from charlm.text.files import hash_files, locate_corpus
from charlm.text.notices import name_few
from charlm.training.budget import ended_by
from charlm.training.experiment import Experiment
from charlm.training.parent import keep_start
from charlm.training.progress import Progress
from charlm.training.resolution import OPEN, keep_resolved, this_machine
from charlm.training.threads import most_threads

# These change no step (budgets, what is kept and printed), or another machine may need them, at the cost of exact bits.
MAY_CHANGE = (
    "train.epochs",
    "train.max_steps",
    "train.minutes",
    "train.early_stopping",
    "train.on_divergence",
    "train.max_rollbacks",
    "train.device",
    "train.threads",
    "train.precision",
    "model.implementation",
    "checkpoint",
    "sample",
    "eval.baselines",
    "corpus.name",
    "corpus.path",
    "corpus.glob",
)
# What the minutes of a run have decided.
FITTED = ("train.max_steps", "train.refits", "optimizer.schedule.total_steps")
# These may change too, unless a setting listens to validation: then they decide when and how it is measured.
MAY_CHANGE_UNHEARD = ("train.eval_every", "eval.max_chars")


def combine_settings(stored: Settings, asked: Settings) -> Settings:
    """Return the settings to resume with: the stored ones, with what was asked for now where it may change.

    Only what was written in a file, an option or a call counts (`model_fields_set`); everything left to a default stays
    as the run has it. So does everything that is left for the run to resolve.

    Raises:
        RunError: naming each setting that must not change, with both values.
    """
    asked = keep_start(asked, stored)
    written = dotted_values(asked, only_written=True)
    for key, is_open in OPEN.items():
        if key in written and written[key] == is_open:
            del written[key]
    # The steps of a run without it were not decided by a clock, and it has none to decide them anew.
    changeable = MAY_CHANGE if stored.train.fit_minutes is None else (*MAY_CHANGE, "train.fit_minutes")
    _refuse_changes(stored, written, (*changeable, *MAY_CHANGE_UNHEARD))
    layers = (stored.model_dump(mode="json"), asked.model_dump(mode="json", exclude_unset=True))
    combined = keep_resolved(check_layer(merge([SettingsLayer(values, {}) for values in layers])), stored)
    if combined.train.fit_minutes is not None and stored.train.fit_minutes is not None:
        # Other minutes move the end of the run from where it is; they do not begin it anew.
        combined = combined.replaced({key: attrgetter(key)(stored) for key in FITTED})
    if stored.validation_listeners or combined.validation_listeners:
        _refuse_changes(stored, written, changeable)
    return combined


def _refuse_changes(stored: Settings, written: dict[str, JsonValue], changeable: Iterable[str]) -> None:
    then = dotted_values(stored)
    refused = [
        f"{key} was {then.get(key)!r} and is {value!r}"
        for key, value in sorted(written.items())
        if then.get(key) != value and not any(f"{key}.".startswith(f"{free}.") for free in changeable)
    ]
    if refused:
        raise RunError(
            f"a resumed run keeps its settings: {'; '.join(refused)}; start another run for that, without --resume"
        )


def check_minutes(name: str, stored: Settings, settings: Settings, step: int) -> None:
    """Refuse other minutes for a run whose learning rate is at its end, because they would change nothing.

    Args:
        name: the run's name.
        stored: the run's settings.
        settings: those that it is resumed with.
        step: steps that it has taken.
    Raises:
        RunError: saying what to do instead.
    """
    before, now, schedule = stored.train.fit_minutes, settings.train.fit_minutes, stored.optimizer.schedule
    is_over = ended_by(stored.train, Progress(step=step), 0.0) is not None
    if before is None or now is None or now == before or not is_over or schedule.method != "cosine":
        return
    raise RunError(
        f"the learning rate of the run {name}, fitted to {before:g} minutes, has ended at "
        f"{schedule.min_learning_rate:g}, so {now:g} minutes would change nothing: train on from it as a new run with "
        f"--from {name} --minutes {now:g}"
    )


def is_corpus_written(asked: Settings | None, overrides: Iterable[str | SettingsLayer]) -> bool:
    """Return whether the settings that were written, or else the overrides, name a corpus."""
    if asked is None:
        layer = merge([override_layer(each) for each in overrides])
        return names_corpus(layer) or sets(layer, "corpus.glob")
    return bool(asked.corpus.model_fields_set & {"name", "path", "glob"})


def available_here(settings: Settings) -> Settings:
    """Return settings that this machine can honour: a run may be resumed without the kernels, and on fewer cores."""
    if (settings.train.threads or 1) > most_threads():
        settings = settings.replaced({"train.threads": None})
    try:
        this_machine(settings)
    except ConfigError:
        if settings.model.implementation != "native":
            raise
        return settings.replaced({"model.implementation": "auto"})
    return settings


def check_text_of_finished(run: Run, settings: Settings, *, is_written: bool) -> None:
    """Make sure that the closing results of a finished run are those of the text it is resumed with.

    Args:
        settings: the combined settings.
        is_written: whether a corpus was asked for. If not, the corpus may be gone or changed: then a `CharlmWarning`
            says so, and the results are those of the text as it was.
    Raises:
        RunError: if the text that was asked for is not the run's, or does not exist.
    """
    problem = text_problem(run, settings.corpus)
    if problem is None:
        return
    if is_written:
        raise RunError(
            f"{problem}; the run {run.name} is finished: leave the corpus out to see its results, or name another run "
            "to train on this one"
        )
    warnings.warn(f"{problem}; the results below are those of the old text", CharlmWarning, stacklevel=2)


def text_problem(run: Run, corpus: CorpusSettings) -> str | None:
    """Return why a corpus is not the one that a run was begun with, or None if it is."""
    recorded = run.environment()
    try:
        files = locate_corpus(corpus)
        found, _ = hash_files(files)
    except CharlmError as error:
        return str(error)
    if found == recorded.corpus_sha256:
        return None
    name = corpus.name or name_few(corpus.path or ())
    return _changed_sentence(name, run, found, recorded.corpus_sha256, tuple(map(str, files)))


def _changed_sentence(name: str, run: Run, found: str, recorded: str, files: str | tuple[str, ...]) -> str:
    """Say that a text has changed, and which files have come or gone if the run recorded others."""
    then = run.environment().corpus
    changes = ""
    if not isinstance(files, str) and not isinstance(then, str):
        new, gone = (
            [file for file in one if file not in other] for one, other in ((files, set(then)), (then, set(files)))
        )
        lists = [f"{word} {name_few(each)}" for word, each in (("new", new), ("gone", gone)) if each]
        changes = f" ({'; '.join(lists)})" if lists else ""
    return (
        f"the corpus {name} is not the text that the run {run.name} was begun with: its SHA-256 is {found[:12]} and "
        f"was {recorded[:12]}{changes}"
    )


def check_same_text(run: Run, checkpoint: Checkpoint | None, experiment: Experiment) -> None:
    """Make sure that corpus, splits and vocabulary are those of the checkpoint or, without one, of the run.

    Raises:
        RunError: saying what changed.
    """
    facts, environment = experiment.facts, run.environment()
    name = facts.corpus_name
    saved = checkpoint.state if checkpoint else environment
    then = saved.corpus_sha256 or environment.corpus_sha256
    if facts.corpus_sha256 != then:
        raise RunError(
            f"{_changed_sentence(name, run, facts.corpus_sha256, then, facts.corpus)}; bring the old text back, or "
            "start another run"
        )
    for part in _changed_parts(facts.split, saved.split or environment.split):
        raise RunError(f"the {part} split of the corpus {name} is not what it was when the run {run.name} began")
    if checkpoint is None:
        return
    before, after = checkpoint.vocabulary, experiment.vocabulary
    if before != after:
        lost, new = (sorted(set(a.characters) - set(b.characters)) for a, b in ((before, after), (after, before)))
        raise RunError(
            f"the vocabulary has changed since the run {run.name} began: {len(before)} symbols then, {len(after)} now"
            f" (gone {lost[:5]}, new {new[:5]})"
        )


def describe_change(then: Fingerprint | None, now: Fingerprint) -> str | None:
    """Return one line that says how two fingerprints differ, or None if the bits are certain to be the same."""
    if then is None:
        return "an older charlm did not record what it ran on: the bits of an uninterrupted run are not promised"
    then, now = {"precision": "float32", **then}, {"precision": "float32", **now}
    # An older charlm recorded the number of threads also where it no longer matters.
    keys = [key for key in {**then, **now} if key in now or key != "threads"]
    changes = [f"{key} {then.get(key)} then, {now.get(key)} now" for key in keys if then.get(key) != now.get(key)]
    return f"{'; '.join(changes)}: the bits of an uninterrupted run are not promised" if changes else None


def _changed_parts(now: SplitFacts | None, then: SplitFacts | None) -> Iterator[str]:
    before, after = dict(then or {}), dict(now or {})
    for name in ("train", "val", "test"):
        if before.get(name) != after.get(name):
            yield name

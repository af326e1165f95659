"""Going on with a run: what may change, what must not, and what is only said."""

from __future__ import annotations

from collections.abc import Iterator

from charlm.errors import ConfigError, RunError
from charlm.runs.checkpoints import Checkpoint
from charlm.runs.facts import Fingerprint, SplitFacts
from charlm.runs.run import Run
from charlm.settings.loading import dotted_values
from charlm.settings.schema import Settings
from charlm.training.experiment import Experiment
from charlm.training.resolution import keep_resolved, this_machine
from charlm.training.threads import most_threads

# What changes no step: budgets, what is kept and printed. And what another machine may need, without a promise of bits.
MAY_CHANGE = (
    "train.epochs",
    "train.max_steps",
    "train.minutes",
    "train.early_stopping",
    "train.on_divergence",
    "train.max_rollbacks",
    "train.device",
    "train.threads",
    "model.implementation",
    "checkpoint",
    "sample",
    "eval.baselines",
    "corpus.name",
    "corpus.path",
)
# Free too, unless a setting listens to validation: then when it is asked, and over how much, decides steps.
MAY_CHANGE_UNHEARD = ("train.eval_every", "eval.max_chars")


def combine_settings(stored: Settings, asked: Settings) -> Settings:
    """Return the settings to go on with: the stored ones with what may change as it is asked for now.

    What the asked settings leave open, for a run to resolve, stays as it was resolved.

    Raises:
        RunError: naming each setting that must not change, with both values.
    """
    resolved = keep_resolved(asked, stored)
    is_heard = bool(stored.validation_listeners or resolved.validation_listeners)
    changeable = MAY_CHANGE if is_heard else MAY_CHANGE + MAY_CHANGE_UNHEARD
    then, now = dotted_values(stored), dotted_values(resolved)
    refused = [
        f"{key} was {then.get(key)!r} and is {now.get(key)!r}"
        for key in sorted({*then, *now})
        if then.get(key) != now.get(key) and not any(f"{key}.".startswith(f"{free}.") for free in changeable)
    ]
    if refused:
        raise RunError(
            f"a run that goes on keeps its settings: {'; '.join(refused)}; start another run for that, without --resume"
        )
    return resolved


def available_here(settings: Settings) -> Settings:
    """Return settings that this machine can honour: a run may go on where there are no kernels, and on fewer cores."""
    if (settings.train.threads or 1) > most_threads():
        settings = settings.replaced({"train.threads": None})
    try:
        this_machine(settings)
    except ConfigError:
        if settings.model.implementation != "native":
            raise
        return settings.replaced({"model.implementation": "auto"})
    return settings


def check_same_text(run: Run, checkpoint: Checkpoint | None, experiment: Experiment) -> None:
    """Make sure that the corpus, its parts and the vocabulary are those of the checkpoint, without one, of the run.

    Raises:
        RunError: saying what changed.
    """
    facts, environment = experiment.facts, run.environment()
    name = facts.corpus_name
    saved = checkpoint.state if checkpoint else environment
    then = saved.corpus_sha256 or environment.corpus_sha256
    if facts.corpus_sha256 != then:
        raise RunError(
            f"the corpus {name} has changed since the run {run.name} began: its SHA-256 is "
            f"{facts.corpus_sha256[:12]} and was {then[:12]}; bring the old text back, or start another run"
        )
    for part in _changed_parts(facts.split, saved.split or environment.split):
        raise RunError(f"the {part} part of the corpus {name} is not what it was when the run {run.name} began")
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
    """Say in one line in what two fingerprints differ, or return None where bits are promised."""
    if then is None:
        return "an older charlm did not write down what it ran on: the bits of an uninterrupted run are not promised"
    changes = [
        f"{key} {then.get(key)} then, {now.get(key)} now" for key in {**then, **now} if then.get(key) != now.get(key)
    ]
    return f"{'; '.join(changes)}: the bits of an uninterrupted run are not promised" if changes else None


def _changed_parts(now: SplitFacts | None, then: SplitFacts | None) -> Iterator[str]:
    before, after = dict(then or {}), dict(now or {})
    for name in ("train", "val", "test"):
        if before.get(name) != after.get(name):
            yield name

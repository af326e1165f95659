"""Make an ensemble: of networks that have learned the same text, and of n-grams of that text."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from charlm.errors import ConfigError, RunError, printable
from charlm.evaluation.assessment import Assessment, assess_measured, assess_text
from charlm.evaluation.baselines import MAX_TRAIN_CHARS, Baselines, fit_baselines
from charlm.evaluation.figure import Figure, Figures
from charlm.evaluation.intervals import BlockSums
from charlm.library.ensembles import common_direction, digest_of, ngram_predictor
from charlm.library.measured_texts import read_parts
from charlm.library.models import Model, open_run
from charlm.mixtures.cross_fitting import CrossFit, cross_fit
from charlm.mixtures.mixture import Experts, Mixture
from charlm.runs.creation import check_new_name, create_run
from charlm.runs.durable import sha256
from charlm.runs.ensembles import (
    FORMAT,
    NGRAM_TEXT,
    Ensemble,
    Member,
    NgramMember,
    is_ensemble,
    pack_ngram_text,
    recorded_path,
)
from charlm.runs.facts import Environment
from charlm.runs.json_records import json_file, json_line
from charlm.runs.records import Summary
from charlm.runs.run import ENSEMBLE, METRICS, Run, runs_folder
from charlm.text.splits import Part, Split
from charlm.text.vocabulary import Ids
from charlm.training.rates import rates_of_whole

# All orders up to this are interpolated; a longer context is hardly ever met again.
NGRAM_ORDER = 12
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class MadeEnsemble:
    """An ensemble that was made.

    Args:
        run: its run.
        ensemble: what it consists of.
        summary: its results: `test` where there is a test split, which nothing was fitted to, and `val`, each half of
            which was measured under weights that were fitted to the other half.
    """

    run: Run
    ensemble: Ensemble
    summary: Summary

    def as_record(self) -> dict[str, object]:
        """Return JSON values."""
        return {"ensemble": self.ensemble.as_json(), "results": self.summary.as_json(), "path": str(self.run.path)}


def ensemble(
    name: str,
    *runs: str | Path | Run,
    ngrams: bool = False,
    runs_dir: str | Path | None = None,
    report: Report | None = None,
) -> MadeEnsemble:
    """Join runs, and n-grams of their training text, into an ensemble that is taken wherever a run is read.

    Args:
        name: the name of the ensemble, a new one in the folder of runs.
        runs: runs or exported files that have learned the same splits of the same text with the same vocabulary, of
            which the best checkpoints are used; of bidirectional models only the forward halves take part.
        ngrams: whether n-grams of the training split, of all orders up to 12, take part.
        runs_dir: the folder of runs; None takes CHARLM_RUNS_DIR or ./runs.
        report: called with the number of characters read and the total.
    Raises:
        ConfigError: for a name that is bad or exists, for a single run without n-grams, for a member that is named
            twice, and for leaky members and members that do not fit together.
        RunError: for a run that is missing, damaged, or an ensemble, and where there is no validation split.
        TextError: for a corpus that is missing or has changed.
        StorageError: if it cannot be written.

    Example:
        >>> made = charlm.ensemble("joined", "my-run", ngrams=True)
        >>> made.ensemble.description, made.summary.val.bpc < 4
        ('1 network + 12-gram', True)
        >>> charlm.generate("joined", "the ", length=10).pop()[:4]
        'the '
    """
    began, folder = time.monotonic(), runs_folder(runs_dir)
    check_new_name(name, folder)
    members = _members(runs, folder, has_ngrams=ngrams)
    first = members[0]
    parts, val = _measured_parts(first)
    text = parts.train.ids[-MAX_TRAIN_CHARS:] if ngrams else None
    counted = None if text is None else ngram_predictor(text, first, NGRAM_ORDER)
    experts = Experts([member.networks.main for member in members], counted, len(first.checkpoint.vocabulary))
    num_val = len(val.ids) - 1
    told = _phases(report, num_val + (len(parts.test.ids) - 1 if parts.test else 0))
    fit = cross_fit(experts, val, report=told(0))
    on_val, on_test = _assess(first, parts, val, Mixture(experts, fit.weights), fit, told(num_val))
    files = {} if text is None else {NGRAM_TEXT: pack_ngram_text(text)}
    joined = Ensemble(
        format=FORMAT,
        members=tuple(_member(each, folder, nats) for each, nats in zip(members, fit.alone.tolist(), strict=False)),
        ngrams=None if text is None else _ngram_member(parts.train.ids, text, files[NGRAM_TEXT], fit),
        weights=tuple(tuple(row) for row in fit.weights.tolist()),
    )
    environment = _environment(members, joined)
    summary = _summary(name, members, environment, on_val, on_test, seconds=time.monotonic() - began)
    files |= {ENSEMBLE: json_file(joined), METRICS: f"{json_line(summary)}\n".encode()}
    settings = first.checkpoint.settings.replaced({"model.direction": common_direction(first)})
    run, ownership = create_run(settings, environment, folder=folder, name=name, files=files)
    ownership.release()
    return MadeEnsemble(run, joined, summary)


def _measured_parts(model: Model) -> tuple[Split, Part]:
    """Return the splits of a member's corpus, and the one that the weights are fitted to."""
    parts = read_parts(model)
    if parts.val is None:
        split = model.checkpoint.settings.corpus.split
        raise RunError(
            f"the run {model.run.name} has no validation split (corpus.split {split}), to which an ensemble fits its "
            "weights"
        )
    return parts, parts.val


def _members(runs: Sequence[str | Path | Run], folder: Path, *, has_ngrams: bool) -> list[Model]:
    """Open the members, and refuse those that do not fit together."""
    if not runs:
        raise ConfigError("name the runs to join, as in charlm ensemble NAME RUN RUN")
    if len(runs) == 1 and not has_ngrams:
        raise ConfigError("an ensemble of one run needs --ngrams: name more runs, or add it")
    members: list[Model] = []
    for run in runs:
        model = open_run(run, runs_dir=folder)
        if isinstance(model.run, Run) and is_ensemble(model.run):
            raise RunError(f"{model.run.name} is an ensemble already: name its members instead")
        _check_fits(model, members)
        members.append(model)
    return members


def _check_fits(model: Model, others: Sequence[Model]) -> None:
    name = model.run.name
    if model.direction == "leaky":
        raise ConfigError(f"the run {name} is leaky: it reads the characters that it predicts, so it cannot take part")
    if not others:
        return
    first = others[0]
    digest = digest_of(model)
    if same := [each.run.name for each in others if digest_of(each) == digest]:
        is_twice = same[0] == name
        raise ConfigError(f"{name} is named twice" if is_twice else f"{name} and {same[0]} are the same network")
    pair = f"{first.run.name} and {name}"
    if model.checkpoint.vocabulary != first.checkpoint.vocabulary:
        raise ConfigError(f"{pair} have different vocabularies, so their predictions cannot be joined")
    if common_direction(model) != common_direction(first):
        raise ConfigError(f"{pair} read in different directions, so their predictions cannot be joined")
    if _text_of(model) != _text_of(first):
        raise ConfigError(
            f"{pair} have learned different splits or texts: what one has learned, the other would be measured on"
        )


def _text_of(model: Model) -> tuple[object, ...]:
    """Return what identifies the splits that a member has learned and was measured on."""
    facts, corpus = model.run.environment(), model.checkpoint.settings.corpus
    return facts.corpus_sha256, facts.split and facts.split.as_json(), corpus.split, corpus.items, model.boundary


def _assess(
    model: Model, parts: Split, val: Part, mixture: Mixture, fit: CrossFit, report: Callable[[int], None]
) -> tuple[Assessment, Assessment | None]:
    """Return the results on validation, from the cross-fitted costs, and on the test split."""
    vocabulary, encoding = model.checkpoint.vocabulary, model.checkpoint.settings.corpus.encoding
    baselines: Baselines | None = None
    if model.checkpoint.settings.eval.baselines:
        boundary = parts.train.boundary
        baselines = fit_baselines(parts.train.ids, vocabulary, encoding, val=val.ids, boundary=boundary)
    blocks = BlockSums()
    blocks.add(fit.costs)
    figures = Figures(Figure(float(fit.costs.sum()), len(fit.costs)))
    on_val = assess_measured(figures, blocks, val, vocabulary, encoding=encoding, baselines=baselines)
    if parts.test is None:
        return on_val, None
    return on_val, assess_text(mixture, parts.test, vocabulary, encoding=encoding, baselines=baselines, report=report)


def _member(model: Model, folder: Path, nats: float) -> Member:
    settings = model.checkpoint.settings.model
    half = ", forward half" if model.direction == "bidirectional" else ""
    return Member(
        name=printable(model.run.name),
        path=recorded_path(model.run.path, folder),
        step=model.checkpoint.step,
        sha256=digest_of(model),
        model=f"{settings.cell} {settings.num_layers}x{settings.hidden_size}{half}",
        val_nats_per_char=nats,
    )


def _ngram_member(train: Ids, text: Ids, content: bytes, fit: CrossFit) -> NgramMember:
    return NgramMember(
        order=NGRAM_ORDER,
        num_chars=len(text),
        is_cut=len(text) < len(train),
        sha256=sha256(content),
        val_nats_per_char=float(fit.alone[-1]),
    )


def _environment(members: Sequence[Model], joined: Ensemble) -> Environment:
    return replace(
        members[0].run.environment(),
        num_parameters=sum(member.run.environment().num_parameters for member in members),
        direction=common_direction(members[0]),
        parent=None,
        ensemble=joined.description,
    )


def _summary(
    name: str,
    members: Sequence[Model],
    environment: Environment,
    val: Assessment,
    test: Assessment | None,
    *,
    seconds: float,
) -> Summary:
    """Return the closing results; the seconds are those of all members' training and of joining them."""
    trained = [summary.seconds for member in members if (summary := member.run.summary())]
    return Summary(
        kind="end",
        run=name,
        stopped_by="joined",
        steps=0,
        epochs=0,
        best_step=0,
        seconds=round(sum(trained) + seconds, 3),
        chars_per_second=0.0,
        num_parameters=environment.num_parameters,
        direction=environment.direction,
        corpus_sha256=environment.corpus_sha256,
        split=environment.split,
        train=None,
        val=rates_of_whole(val),
        test=test and rates_of_whole(test),
    )


def _phases(report: Report | None, total: int) -> Callable[[int], Callable[[int], None]]:
    """Return a function that makes callbacks for consecutive readings, from how much comes before each."""

    def phase(before: int) -> Callable[[int], None]:
        return lambda done: report(before + done, total) if report else None

    return phase

"""Open an ensemble: its members, which must be those it was made of, and its n-grams, as one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Never

import numpy as np

from charlm.coding.coded_file import model_digest
from charlm.errors import RunError, printable
from charlm.evaluation.ngrams import count_ngrams
from charlm.library.models import Model, open_run
from charlm.mixtures.mixture import Experts, Mixture
from charlm.mixtures.ngram_predictor import NgramPredictor
from charlm.runs.checkpoints import Checkpoint, Choice
from charlm.runs.ensembles import Ensemble, Member, member_path, read_ensemble, read_ngram_text, refuse_ensemble
from charlm.runs.run import ENSEMBLE, Run
from charlm.runs.tensors import Array
from charlm.settings.model import Direction
from charlm.text.vocabulary import Ids

if TYPE_CHECKING:
    from charlm.networks.building import Network


class MixedNetworks:
    """The networks of an ensemble and its n-grams; they predict together.

    Args:
        run: the ensemble's run.
        ensemble: what it consists of.
        members: its networks.
    """

    step = None

    def __init__(self, run: Run, ensemble: Ensemble, members: Sequence[Model]) -> None:
        self.run, self.ensemble, self.members = run, ensemble, members

    def on_device(self, device: str) -> MixedNetworks:
        """Return the same networks on another device."""
        members = [replace(member, networks=member.networks.on_device(device)) for member in self.members]
        return MixedNetworks(self.run, self.ensemble, members)

    @property
    def description(self) -> str:
        """The members in a few words, as Python shows a model."""
        return f"ensemble={self.ensemble.description!r}"

    @cached_property
    def main(self) -> Mixture:
        """What predicts: all members together."""
        ngrams, vocabulary = self.ensemble.ngrams, self.members[0].checkpoint.vocabulary
        counted = None
        if ngrams:
            ids = read_ngram_text(self.run, ngrams, len(vocabulary))
            counted = ngram_predictor(ids, self.members[0], ngrams.order)
        experts = Experts([member.networks.main for member in self.members], counted, len(vocabulary))
        if len(self.ensemble.weights) != experts.num_lengths:
            raise RunError(f"{self.run.path / ENSEMBLE} is damaged: its weights do not fit its n-grams")
        return Mixture(experts, self.ensemble.table)

    @property
    def measured(self) -> Mixture:
        """What is measured on whole texts."""
        return self.main

    @property
    def readable(self) -> Mixture:
        """What scores texts."""
        return self.main

    @property
    def told_of_validation(self) -> str:
        """What must be said of a result on the validation split."""
        told = f"the weights of {self.run.name} were fitted to the validation split, so its result there flatters it"
        summary = self.run.summary()
        if summary is None or summary.val is None:
            return told
        return f"{told}: with weights fitted to the other half of it, it is {summary.val.bpc:.3f} bits per character"

    def check_single(self) -> None:
        """Refuse what needs one network.

        Raises:
            RunError: always.
        """
        self._refuse()

    @property
    def backward(self) -> Never:
        """Refuse to write towards a suffix.

        Raises:
            RunError: always.
        """
        self._refuse()

    @property
    def torch(self) -> Network:
        """Refuse what needs the weights of one network.

        Raises:
            RunError: always.
        """
        self._refuse()

    def _refuse(self) -> Never:
        refuse_ensemble(self.run)
        raise AssertionError


def open_ensemble(run: Run, checkpoint: Choice = "best", device: str = "cpu") -> Model:
    """Open an ensemble as a model.

    Args:
        run: its run.
        checkpoint: best or last, which mean the same; an ensemble has no steps.
        device: see `open_run`.
    Raises:
        RunError: for a step, for a member that is missing or has changed, and for a damaged record.
    """
    if isinstance(checkpoint, int) and checkpoint != 0:
        raise RunError(f"{run.name} is an ensemble, which has no checkpoint of step {checkpoint:,}")
    ensemble = read_ensemble(run)
    members = [_opened_member(run, member, device) for member in ensemble.members]
    if len({len(member.checkpoint.vocabulary) for member in members}) > 1:
        raise RunError(f"the members of {run.name} have different vocabularies")
    first = members[0].checkpoint
    settings = first.settings.replaced({"model.direction": common_direction(members[0])})
    state = replace(first.state, step=0, val_nats_per_char=None, progress={}, fingerprint=None)
    shared = Checkpoint(0, settings, first.vocabulary, _recognised_by(ensemble), {}, state)
    return Model(run, shared, MixedNetworks(run, ensemble, members))


def verify_ensemble(run: Run) -> list[str]:
    """Return the names of an ensemble's members, and "n-grams" if it has any, once all are found unchanged.

    Raises:
        RunError: naming the first that is missing or has changed.
    """
    model = open_ensemble(run)
    ensemble = read_ensemble(run)
    if ensemble.ngrams:
        read_ngram_text(run, ensemble.ngrams, len(model.checkpoint.vocabulary))
    return [*(member.name for member in ensemble.members), *["n-grams"] * (ensemble.ngrams is not None)]


def digest_of(model: Model) -> str:
    """Return the SHA-256 by which a member is recognised: of its settings, vocabulary and weights."""
    found = model.checkpoint
    return model_digest(found.settings.model, found.settings.corpus, found.vocabulary, found.model).hex()


def common_direction(model: Model) -> Direction:
    """Return the direction in which a member reads: of a bidirectional one, only the forward half takes part."""
    return "backward" if model.direction == "backward" else "forward"


def ngram_predictor(ids: Ids, model: Model, order: int) -> NgramPredictor:
    """Return the n-gram model of a text.

    Args:
        ids: the text in the reading order of the members.
        model: one of them.
        order: the highest n.
    """
    counts = count_ngrams(ids, len(model.checkpoint.vocabulary), order, boundary=model.boundary)
    return NgramPredictor(counts, order)


def _opened_member(run: Run, member: Member, device: str) -> Model:
    path, name = member_path(run, member), printable(member.name)
    if not path.exists():
        raise RunError(f"the ensemble {run.name} needs {name}, and there is no {printable(str(path))}")
    try:
        model = open_run(path if path.is_file() else Run(path), checkpoint=member.step, device=device)
    except RunError as error:
        raise RunError(f"the ensemble {run.name} needs {name} at step {member.step:,}: {error}") from error
    if digest_of(model) != member.sha256:
        raise RunError(
            f"{name} has changed since the ensemble {run.name} was made of it: restore it, or make another ensemble"
        )
    return model


def _recognised_by(ensemble: Ensemble) -> dict[str, Array]:
    """Return what tells one ensemble from another, in place of the weights by which a network is recognised."""
    names = [f"member.{number}.{member.sha256}" for number, member in enumerate(ensemble.members)]
    if ensemble.ngrams:
        names.append(f"ngrams.{ensemble.ngrams.order}.{ensemble.ngrams.sha256}")
    return {**dict.fromkeys(names, np.zeros(0, np.float32)), "weights": ensemble.table.astype(np.float32)}

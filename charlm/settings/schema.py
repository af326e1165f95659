"""The whole configuration of a run, and the conflicts between its sections."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from charlm.settings.corpus import CorpusSettings, SamplingSettings, VocabularySettings, corpus_conflicts
from charlm.settings.model import ModelSettings, model_conflicts
from charlm.settings.optimizer import OptimizerSettings, optimizer_conflicts
from charlm.settings.start import StartSettings, start_conflicts
from charlm.settings.training import CheckpointSettings, EvalSettings, SampleSettings, TrainSettings
from charlm.settings.values import Conflict, Section


class Settings(Section):
    """The whole configuration of a run."""

    corpus: CorpusSettings = Field(default=CorpusSettings(), description="Which text is learned")
    vocabulary: VocabularySettings = Field(default=VocabularySettings(), description="Which characters become symbols")
    sampling: SamplingSettings = Field(default=SamplingSettings(), description="How the text is cut into windows")
    model: ModelSettings = Field(default=ModelSettings(), description="The network")
    start: StartSettings = Field(default=StartSettings(), description="Which run's weights training starts from")
    optimizer: OptimizerSettings = Field(default=OptimizerSettings(), description="How the weights are adjusted")
    train: TrainSettings = Field(
        default=TrainSettings(), description="How long to train, the random seed and the device"
    )
    checkpoint: CheckpointSettings = Field(
        default=CheckpointSettings(), description="Which checkpoints are saved and kept"
    )
    eval: EvalSettings = Field(default=EvalSettings(), description="Evaluations during training")
    sample: SampleSettings = Field(default=SampleSettings(), description="Samples during training")

    @property
    def validation_listeners(self) -> tuple[tuple[str, str], ...]:
        """The settings that let evaluations change later steps, each with its key and its value followed by a space."""
        schedule, average = self.optimizer.schedule, self.optimizer.average
        listeners = (
            ("optimizer.average.method", "triggered ", average.method == "triggered"),
            ("train.early_stopping", "", self.train.early_stopping is not None),
            ("optimizer.schedule.method", "plateau ", schedule.method == "plateau"),
        )
        return tuple((key, value) for key, value, is_set in listeners if is_set)

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if problems := list(_conflicts(self)):
            text = "; ".join(f"{key} {reason}" for key, reason in problems)
            raise PydanticCustomError("conflict", "{text}", {"text": text, "problems": problems})
        return self


def _refit_conflicts(train: TrainSettings) -> Iterator[Conflict]:
    if train.refits and train.max_steps is None:
        yield "train.refits", "belong to a run with train.max_steps, which is null"
    for (step, _), (later, _) in pairwise(train.refits):
        if later <= step:
            yield "train.refits", f"must rise, but step {later:,} follows step {step:,}"
    for step, max_steps in train.refits:
        if max_steps <= step:
            yield "train.refits", f"must end later than they begin, but [{step}, {max_steps}] does not"


def _conflicts(settings: Settings) -> Iterator[Conflict]:
    """Yield the conflicts within each section, then those between sections."""
    yield from corpus_conflicts(settings.corpus)
    yield from start_conflicts(settings.start)
    if settings.start.run is None:
        # Otherwise most of the network's settings are those of that run, which is not read here.
        yield from model_conflicts(settings.model)
    yield from optimizer_conflicts(settings.optimizer)
    train, schedule = settings.train, settings.optimizer.schedule
    is_timed = train.minutes is not None and train.epochs is None and train.max_steps is None
    if schedule.method == "cosine" and schedule.total_steps is None and is_timed and train.fit_minutes is None:
        yield "optimizer.schedule.total_steps", "must be given when train.minutes is the only budget"
    if settings.corpus.items is not None and settings.model.direction in ("bidirectional", "leaky"):
        yield "model.direction", f"{settings.model.direction} reads running text only: leave corpus.items out"
    yield from _refit_conflicts(train)
    if settings.corpus.split == "none":
        for key, asker in settings.validation_listeners:
            yield key, f"{asker}needs a validation split, and corpus.split is none"

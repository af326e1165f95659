"""The whole configuration of a run, and what of its sections does not go together."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from charlm.settings.corpus import CorpusSettings, SamplingSettings, VocabularySettings, corpus_conflicts
from charlm.settings.model import ModelSettings, model_conflicts
from charlm.settings.optimizer import OptimizerSettings, optimizer_conflicts
from charlm.settings.training import CheckpointSettings, EvalSettings, SampleSettings, TrainSettings
from charlm.settings.values import Conflict, Section


class Settings(Section):
    """The whole configuration of a run."""

    corpus: CorpusSettings = Field(default=CorpusSettings(), description="the text")
    vocabulary: VocabularySettings = Field(default=VocabularySettings(), description="the symbols")
    sampling: SamplingSettings = Field(default=SamplingSettings(), description="the windows")
    model: ModelSettings = Field(default=ModelSettings(), description="the network")
    optimizer: OptimizerSettings = Field(default=OptimizerSettings(), description="the optimiser")
    train: TrainSettings = Field(default=TrainSettings(), description="budget, seed and device")
    checkpoint: CheckpointSettings = Field(default=CheckpointSettings(), description="checkpoints")
    eval: EvalSettings = Field(default=EvalSettings(), description="evaluations during training")
    sample: SampleSettings = Field(default=SampleSettings(), description="samples during training")

    @property
    def validation_listeners(self) -> tuple[tuple[str, str], ...]:
        """The settings by which evaluations decide something about later steps: the key, and the value with a space."""
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


def _conflicts(settings: Settings) -> Iterator[Conflict]:
    """Yield settings that are sound alone and not together: of each section, then between sections."""
    yield from corpus_conflicts(settings.corpus)
    yield from model_conflicts(settings.model)
    yield from optimizer_conflicts(settings.optimizer)
    train, schedule = settings.train, settings.optimizer.schedule
    is_timed = train.minutes is not None and train.epochs is None and train.max_steps is None
    if schedule.method == "cosine" and schedule.total_steps is None and is_timed:
        yield "optimizer.schedule.total_steps", "must be given when train.minutes is the only budget"
    if settings.corpus.split == "none":
        for key, asker in settings.validation_listeners:
            yield key, f"{asker}needs a validation part, and corpus.split is none"

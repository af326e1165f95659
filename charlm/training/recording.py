"""What a run measures and writes during training: evaluations and samples, neither of which changes a weight."""

from __future__ import annotations

from collections.abc import Callable

from charlm.evaluation.items import measure_part
from charlm.generation.filters import Filters
from charlm.generation.sampling import sample_text
from charlm.networks.modes import evaluating
from charlm.networks.predictor import Predictor
from charlm.networks.torch_predictor import predictor_of
from charlm.text.items import boundary_character
from charlm.text.reading_order import turned
from charlm.training.events import Evaluation, Samples
from charlm.training.experiment import Experiment
from charlm.training.progress import Progress


class StopRequestedError(Exception):
    """Leave a long evaluation because a request to stop, such as `interrupt`, has arrived."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


def leave_if(should_stop: Callable[[], str | None]) -> Callable[[int], None]:
    """Return a progress callback that leaves an evaluation once a request to stop has arrived."""

    def report(_: int) -> None:
        if word := should_stop():
            raise StopRequestedError(word)

    return report


def measure(
    experiment: Experiment,
    progress: Progress,
    seconds: float,
    *,
    chooses: bool,
    is_closing: bool,
    should_stop: Callable[[], str | None],
) -> Evaluation:
    """Evaluate the current model, which is the network or the average of its weights.

    Args:
        progress: the progress before this evaluation.
        seconds: time since the run began.
        chooses: whether validation is long enough to choose the best checkpoint.
        is_closing: whether it is outside the schedule.
        should_stop: called between chunks of the text.
    Raises:
        StopRequestedError: where it answers.
    """
    settings, val_part = experiment.settings, experiment.split.val
    val = None
    if val_part is not None:
        leave = leave_if(should_stop)
        val = measure_part(experiment.model, val_part, max_chars=settings.eval.max_chars, report=leave)
    recent, last_epoch = progress.since_report, progress.last_epoch
    return Evaluation(
        step=progress.step,
        epoch=progress.epochs_begun,
        seconds=seconds,
        chars_seen=progress.whole.chars,
        recent=recent.figures,
        last_epoch=last_epoch.figures if last_epoch else None,
        val=val,
        is_partial=val_part is not None and len(val_part.ids) > settings.eval.max_chars,
        is_best=chooses
        and val is not None
        and (progress.best_val is None or val.main.nats_per_char < progress.best_val),
        learning_rate=progress.learning_rate,
        gradient_norm=progress.gradient_norm,
        chars_per_second=recent.chars / recent.seconds if recent.seconds > 0 else 0.0,
        epoch_seconds=last_epoch.seconds if last_epoch else None,
        is_closing=is_closing,
    )


def write_samples(
    experiment: Experiment, progress: Progress, *, is_closing: bool, should_stop: Callable[[], str | None]
) -> Samples:
    """Write a continuation of each prefix of the sample table.

    Args:
        is_closing: whether the samples are outside the schedule.
        should_stop: called between characters.
    Raises:
        StopRequestedError: where it answers.
    """
    prefixes = tuple(text for text, _ in experiment.prefixes)
    with evaluating(experiment.model):
        predictor = predictor_of(experiment.model, len(experiment.vocabulary.characters))
        continuations = tuple(
            _continuation(experiment, predictor, progress.step, number, should_stop) for number in range(len(prefixes))
        )
    is_backward = experiment.settings.model.direction == "backward"
    return Samples(progress.step, progress.epoch, prefixes, continuations, is_backward, is_closing)


def _continuation(
    experiment: Experiment, predictor: Predictor, step: int, number: int, should_stop: Callable[[], str | None]
) -> str:
    settings = experiment.settings
    direction = settings.model.direction
    _, ids = experiment.prefixes[number]
    leave = leave_if(should_stop)
    end = boundary_character(settings.corpus)
    pieces: list[str] = []
    for piece in sample_text(
        predictor,
        experiment.vocabulary,
        turned(ids, direction),
        sample=number,
        # Each step draws differently, and never from the random generators of training.
        seed=settings.train.seed + step,
        length=settings.sample.length,
        filters=Filters(temperature=settings.sample.temperature),
        stops=() if end is None else (end,),
    ):
        leave(len(pieces))
        pieces.append(piece)
    return turned("".join(pieces), direction)

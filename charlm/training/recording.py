"""What a run measures and writes on its way: evaluations and samples, neither of which changes a weight."""

from __future__ import annotations

from collections.abc import Callable

from charlm.evaluation.reading import evaluating, measure_text
from charlm.generation.filters import Filters
from charlm.generation.sampling import sample_text, writing_half
from charlm.text.reading_order import turned
from charlm.training.events import Evaluation, Samples
from charlm.training.experiment import Experiment
from charlm.training.progress import Progress


class StopRequestedError(Exception):
    """Leave a long reading: a request to stop, such as `interrupt`, has come in the middle of it."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


def leave_if(should_stop: Callable[[], str | None]) -> Callable[[int], None]:
    """Return what a reading reports to: it leaves the reading once a request to stop has come."""

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
    """Evaluate the model as it is: the network, or the average of its weights.

    Args:
        progress: before this evaluation.
        seconds: since the run began.
        chooses: whether validation is long enough to choose the best checkpoint.
        is_closing: whether it stands outside the schedule.
        should_stop: asked between chunks of the text.
    Raises:
        StopRequestedError: where it answers.
    """
    settings, val_part = experiment.settings, experiment.split.val
    val = None
    if val_part is not None:
        leave = leave_if(should_stop)
        val = measure_text(experiment.model, val_part.ids, max_chars=settings.eval.max_chars, report=leave)
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
    """Write on from each prefix of the sample table.

    Args:
        is_closing: whether they stand outside the schedule.
        should_stop: asked between characters.
    Raises:
        StopRequestedError: where it answers.
    """
    prefixes = tuple(text for text, _ in experiment.prefixes)
    with evaluating(experiment.model):
        continuations = tuple(
            _continuation(experiment, progress.step, number, should_stop) for number in range(len(prefixes))
        )
    is_backward = experiment.settings.model.direction == "backward"
    return Samples(progress.step, progress.epoch, prefixes, continuations, is_backward, is_closing)


def _continuation(experiment: Experiment, step: int, number: int, should_stop: Callable[[], str | None]) -> str:
    settings = experiment.settings
    direction = settings.model.direction
    _, ids = experiment.prefixes[number]
    leave = leave_if(should_stop)
    pieces: list[str] = []
    for piece in sample_text(
        writing_half(experiment.model),
        experiment.vocabulary,
        turned(ids, direction),
        sample=number,
        # Other draws at each step, none of them from the generators of training.
        seed=settings.train.seed + step,
        length=settings.sample.length,
        filters=Filters(temperature=settings.sample.temperature),
    ):
        leave(len(pieces))
        pieces.append(piece)
    return turned("".join(pieces), direction)

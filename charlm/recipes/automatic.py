"""The automatic recipe: every setting that nobody has set, by the text, the time and the speed of the machine.

One quantity decides nearly everything: how often the text can be read in the time. Where that is less than a few times,
the network is chosen for speed and nothing regularises it; where it is a hundred times, text is what is missing, and
dropout holds the network back. The evidence for each number is in the guide's page about the recipe.

Sizes lie on a coarse ladder, so that two equal commands on a noisy machine choose alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from pydantic import JsonValue

Choices = dict[str, JsonValue]
Number = TypeVar("Number", int, float)

# The network whose speed is measured; everything else is computed from that one number.
REFERENCE: Choices = {
    "model.cell": "lstm",
    "model.num_layers": 2,
    "model.hidden_size": 192,
    "model.embedding_size": 32,
    "sampling.batch_size": 16,
    "sampling.seq_len": 64,
}
# However many symbols the text has: a large vocabulary would take most of the trial.
REFERENCE_SYMBOLS = 64
# Products of a unit with one input, for each cell.
GATES = {"rnn": 1, "gru": 3, "lstm": 4}

UNITS = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
# How often a text should be read: so often at this length and this computing, in characters that the reference network
# reads in the time; less often with more text, more often with more time. The units follow, as more of them read less.
TIMES_READ, LENGTH_AT, COMPUTING_AT = 6.0, 190_000, 1.4e6
BY_LENGTH, BY_COMPUTING = -0.5, 0.4
# The fewest units at that computing, growing with its cube root: a text that is hardly read once is as good as endless.
# And the most for a short text, growing with its length.
FEWEST_UNITS, MOST_UNITS, SHORT_AT, MOST_BY_LENGTH = 96, 64, 2_700, 0.85
# Reading a short text more often than this only learns it by heart, however much time there is.
MOST_TIMES_READ, MOST_TIMES_AT, MOST_TIMES_BY_LENGTH = 20.0, 27_000, 0.25
# Below so many characters read by the reference network, two layers do not learn in time what one does.
ONE_LAYER_CHARS = 2e5
# Dropout before the output by how often the text is read: up to the first number, the second; half between layers.
DROPOUTS = ((3.0, 0.0), (5.0, 0.1), (8.0, 0.25), (14.0, 0.4), (math.inf, 0.55))
# Rows of a batch: as many as leave so many steps in all and in an epoch. A short text has shorter windows.
STEPS_WANTED, STEPS_AN_EPOCH, BATCHES, FEWEST_ROWS, FEWEST_WINDOWS = 2_000, 16, (8, 16, 32, 64, 128), 4, 80
# The learning rate grows with the root of the batch, and falls with steps and units.
RATE, ROWS_AT, STEPS_AT, UNITS_AT, BY_STEPS, BY_UNITS = 0.01, 16, 1_500, 192, -0.3, -0.5
RATES = (2e-3, 2e-2)
# A run that starts from the weights of another learns at this share of the rate, or it forgets them first.
STARTED_SHARE = 0.15
# Symbols from which an embedding has more units.
EMBEDDINGS = ((150, 32), (600, 64), (float("inf"), 128))
# Characters of the text up to which the splits are these; longer texts have a million for each held-out split.
SPLITS: Sequence[tuple[float, JsonValue]] = (
    (600, [0.7, 0.3]),
    (6_000, [0.8, 0.1, 0.1]),
    (20_000_000, "default"),
)
HELD_OUT_CHARS = 1_000_000
# The share of a run that the average of weights reaches back, and how often the run is evaluated and sampled.
AVERAGED_SHARE, DECAYS = 0.02, (0.9, 0.999)
NUM_EVALUATIONS, NUM_TABLES, PATIENCE = 20, 4, 10
WARMUP_SHARE, MOST_WARMUP = 0.05, 100


# How many networks an ensemble has at most, and how often each must have read the text.
MOST_MEMBERS, MEMBER_TIMES_READ = 3, 5.0


@dataclass(frozen=True)
class Task:
    """What is to be learned, and in which time.

    Args:
        num_chars: number of characters of the whole text.
        num_symbols: number of symbols of its vocabulary.
        reference_chars: number of characters that the reference network could read in the time on this machine.
    """

    num_chars: int
    num_symbols: int
    reference_chars: float


def automatic(task: Task, fixed: Mapping[str, JsonValue]) -> Choices:
    """Return a value for each setting that the recipe chooses and that is not fixed, by dotted key.

    Args:
        task: text and time.
        fixed: the settings that the user has written, by dotted key; the others are chosen to go with them.

    Example:
        >>> from charlm.recipes.automatic import Task, automatic
        >>> choices = automatic(Task(300_000, 80, 1_800_000), {"model.cell": "gru"})
        >>> choices["model.num_layers"], "model.cell" in choices
        (2, False)
    """
    chosen = Choosing(fixed)
    # Rounded, so that the noise of a measured speed rarely changes anything.
    task = replace(task, reference_chars=2.0 ** round(math.log2(max(1.0, task.reference_chars))))
    num_train = _split(task, chosen)
    _network(task, num_train, chosen)
    chars_read = task.reference_chars * _cost(REFERENCE, REFERENCE_SYMBOLS) / _cost(chosen.all, task.num_symbols)
    _windows(num_train, chars_read, chosen)
    chars_read = _limited(chars_read, num_train, chosen)
    _regularisation(chars_read / num_train, chosen)
    steps = max(1, int(chars_read / (chosen.number("sampling.batch_size") * chosen.number("sampling.seq_len"))))
    _optimiser(steps, chosen)
    _periods(steps, chosen)
    return chosen.own


def num_members(task: Task, fixed: Mapping[str, JsonValue]) -> int:
    """Return how many networks should share the time, if their predictions are joined afterwards.

    Several that have read the text less often predict better together than one that has read it more often, as long as
    each has read it a few times. Source: measured on two texts; see `charlm guide ensembles`.

    Args:
        task: text and time.
        fixed: as for `automatic`.
    """
    num_train = 0.9 * task.num_chars
    for number in range(MOST_MEMBERS, 1, -1):
        share = replace(task, reference_chars=task.reference_chars / number)
        chosen = {**automatic(share, fixed), **fixed}
        chars_read = share.reference_chars * _cost(REFERENCE, REFERENCE_SYMBOLS) / _cost(chosen, task.num_symbols)
        if chars_read >= MEMBER_TIMES_READ * num_train:
            return number
    return 1


class Choosing:
    """Choices so far, on top of what is fixed."""

    def __init__(self, fixed: Mapping[str, JsonValue]) -> None:
        self.fixed, self.own = dict(fixed), Choices()

    @property
    def all(self) -> Choices:
        """Everything that is decided, fixed or chosen."""
        return self.own | self.fixed

    def choose(self, key: str, value: JsonValue) -> None:
        """Choose a value unless the setting is fixed, or something that is part of it."""
        if not any(f"{each}.".startswith(f"{key}.") for each in self.fixed):
            self.own[key] = value

    def number(self, key: str) -> float:
        """Return a number that is decided, or 0 for null."""
        value = self.all[key]
        return float(value) if isinstance(value, int | float) else 0.0


def _split(task: Task, chosen: Choosing) -> int:
    """Choose the splits, and return about how many characters are trained on."""
    held_out = min(HELD_OUT_CHARS, task.num_chars // 20)
    # The sizes of splits of items would be numbers of items.
    length = task.num_chars if chosen.all.get("corpus.items") is None else min(task.num_chars, SPLITS[-1][0])
    by_size = next((split for most, split in SPLITS if length <= most), None)
    chosen.choose("corpus.split", by_size or [task.num_chars - 2 * held_out, held_out, held_out])
    return max(1, task.num_chars - 2 * held_out)


def _network(task: Task, num_train: int, chosen: Choosing) -> None:
    """Choose the network whose size lets it read the text as often as it should."""
    times_read = (
        TIMES_READ * (num_train / LENGTH_AT) ** BY_LENGTH * (task.reference_chars / COMPUTING_AT) ** BY_COMPUTING
    )
    affordable = task.reference_chars * _cost(REFERENCE, REFERENCE_SYMBOLS) / (times_read * num_train)
    chosen.choose("model.cell", "lstm")
    chosen.choose("model.num_layers", 1 if task.reference_chars < ONE_LAYER_CHARS else 2)
    chosen.choose("model.embedding_size", _up_to(EMBEDDINGS, task.num_symbols))

    def off(units: int) -> float:
        return abs(math.log(_cost(chosen.all | {"model.hidden_size": units}, task.num_symbols) / affordable))

    fewest = FEWEST_UNITS * (task.reference_chars / COMPUTING_AT) ** (1 / 3)
    most = MOST_UNITS * (num_train / SHORT_AT) ** MOST_BY_LENGTH
    allowed = [units for units in UNITS if units <= max(most, UNITS[0])]
    # The ladder may have no step between the two bounds; then the text decides.
    fitting = [units for units in allowed if units >= fewest * 0.85] or allowed[-1:]
    chosen.choose("model.hidden_size", min(fitting, key=off))
    # The leaky model is torch.nn's own, which has none of this.
    if chosen.number("model.num_layers") > 1 and chosen.all.get("model.direction") != "leaky":
        chosen.choose("model.residual", value=True)


def _windows(num_train: int, chars_read: float, chosen: Choosing) -> None:
    """Choose windows of which a short text has several, and batches that leave enough steps."""
    chosen.choose("sampling.seq_len", min(64, max(8, num_train // FEWEST_WINDOWS)))
    seq_len = chosen.number("sampling.seq_len")
    enough = [rows for rows in BATCHES if chars_read / (rows * seq_len) >= STEPS_WANTED]
    fitting = [rows for rows in BATCHES if rows * seq_len * STEPS_AN_EPOCH <= num_train]
    chosen.choose("sampling.batch_size", min(max(enough, default=BATCHES[0]), max(fitting, default=FEWEST_ROWS)))


def _limited(chars_read: float, num_train: int, chosen: Choosing) -> float:
    """Return how many characters are read; a short text is not read as often as the time allows."""
    most = MOST_TIMES_READ * (num_train / MOST_TIMES_AT) ** MOST_TIMES_BY_LENGTH * num_train
    if chars_read <= most or any(chosen.all.get(f"train.{name}") for name in ("epochs", "max_steps", "minutes")):
        return chars_read
    chosen.choose("train.epochs", math.ceil(most / num_train))
    return most


def _regularisation(times_read: float, chosen: Choosing) -> None:
    rate = _up_to(DROPOUTS, times_read)
    if chosen.all.get("model.direction") != "leaky":
        chosen.choose("model.output_dropout", rate)
    if chosen.number("model.num_layers") > 1:
        chosen.choose("model.dropout", rate / 2)


def _optimiser(steps: int, chosen: Choosing) -> None:
    if chosen.all.get("optimizer.method", "adam") not in ("adam", "adamw"):
        return
    low, high = RATES
    rate = RATE * (chosen.number("sampling.batch_size") / ROWS_AT) ** 0.5
    rate *= (steps / STEPS_AT) ** BY_STEPS * (chosen.number("model.hidden_size") / UNITS_AT) ** BY_UNITS
    rate = min(high, max(low, rate)) * (STARTED_SHARE if chosen.all.get("start.run") else 1.0)
    chosen.choose("optimizer.learning_rate", float(f"{rate:.2g}"))
    chosen.choose("optimizer.schedule.method", "cosine")
    chosen.choose("optimizer.schedule.warmup_steps", min(MOST_WARMUP, int(WARMUP_SHARE * steps)))
    if chosen.all.get("optimizer.average.method", "ema") == "ema":
        low, high = DECAYS
        decay = min(high, max(low, 1 - 1 / max(1.0, AVERAGED_SHARE * steps)))
        chosen.choose("optimizer.average.method", "ema")
        chosen.choose("optimizer.average.decay", float(f"{decay:.3g}"))


def _periods(steps: int, chosen: Choosing) -> None:
    chosen.choose("train.eval_every", _round(steps / NUM_EVALUATIONS))
    chosen.choose("sample.every", _round(steps / NUM_TABLES))
    if chosen.all.get("corpus.split") != "none":
        chosen.choose("train.early_stopping", PATIENCE)


def _cost(values: Mapping[str, JsonValue], num_symbols: int) -> float:
    """Return how many products a character costs, which is what its time is nearly proportional to."""
    cell = values.get("model.cell")
    layers, units, embedded = (
        float(value) if isinstance(value := values.get(f"model.{name}"), int | float) else 0.0
        for name in ("num_layers", "hidden_size", "embedding_size")
    )
    gates = GATES[cell] if isinstance(cell, str) else GATES["lstm"]
    return gates * units * (units * (2 * layers - 1) + embedded) + units * num_symbols


def _up_to(table: Sequence[tuple[float, Number]], value: float) -> Number:
    """Return the entry of the first row whose bound is not below a value."""
    return next(entry for bound, entry in table if value <= bound)


def _round(steps: float) -> int:
    """Return a number of steps to one digit, at least 1."""
    return max(1, int(float(f"{steps:.1g}")))

"""What the automatic recipe chooses, as a table; and that noise, and whatever the user has fixed, do no harm."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from charlm.recipes.automatic import Task, automatic, num_members
from charlm.settings.layers import keyed_layer, merge
from charlm.settings.loading import check_layer

COLUMNS = (
    *("model.num_layers", "model.hidden_size", "model.output_dropout", "sampling.batch_size", "sampling.seq_len"),
    *("optimizer.learning_rate", "train.eval_every"),
)
# Characters, symbols and characters that the reference network could read; what is chosen.
TABLE = [
    ((200, 30, 1.4e06), (2, 32, 0.25, 4, 8, 0.02, 2)),
    ((200, 30, 1.4e07), (2, 32, 0.25, 4, 8, 0.02, 2)),
    ((3_000, 52, 1.4e06), (2, 64, 0.4, 4, 33, 0.015, 10)),
    ((3_000, 52, 1.4e07), (2, 64, 0.4, 4, 33, 0.015, 10)),
    ((30_000, 60, 1.4e06), (2, 384, 0.4, 8, 64, 0.0068, 30)),
    ((30_000, 60, 1.4e07), (2, 384, 0.55, 16, 64, 0.0097, 30)),
    ((40_000, 1500, 1.4e06), (2, 256, 0.4, 8, 64, 0.0075, 40)),
    ((40_000, 1500, 1.4e07), (2, 512, 0.55, 8, 64, 0.0043, 80)),
    ((214_266, 62, 1.4e06), (2, 192, 0.25, 8, 64, 0.0064, 100)),
    ((214_266, 62, 1.4e07), (2, 512, 0.4, 16, 64, 0.0053, 100)),
    ((1_115_394, 65, 1.4e06), (2, 128, 0.0, 16, 64, 0.011, 100)),
    ((1_115_394, 65, 1.4e07), (2, 256, 0.4, 64, 64, 0.015, 100)),
    ((10_000_000, 100, 1.4e06), (2, 96, 0.0, 16, 64, 0.011, 200)),
    ((10_000_000, 100, 1.4e07), (2, 192, 0.0, 128, 64, 0.02, 100)),
    ((1_000_000_000, 200, 1.4e06), (2, 96, 0.0, 16, 64, 0.011, 200)),
    ((1_000_000_000, 200, 1.4e07), (2, 192, 0.0, 64, 64, 0.015, 200)),
]
FIXED: list[dict[str, Any]] = [
    {},
    {"model.cell": "gru"},
    {"model.num_layers": 1},
    {"model.num_layers": 3, "model.hidden_size": 17},
    {"model.direction": "leaky"},
    {"model.direction": "bidirectional"},
    {"model.embedding_size": None},
    {"optimizer.method": "sgd"},
    {"optimizer.average.method": "none"},
    {"optimizer.schedule.method": "plateau"},
    {"corpus.split": "none"},
    {"sampling.batch_size": 3, "sampling.seq_len": 5},
    {"train.max_steps": 9},
]


@pytest.mark.parametrize(("task", "chosen"), TABLE)
def test_the_choices(task: tuple[int, int, float], chosen: tuple[float, ...]) -> None:
    choices = automatic(Task(*task), {})
    assert tuple(choices[key] for key in COLUMNS) == chosen


def test_noise_of_the_measured_speed_changes_nothing() -> None:
    for exponent in range(14, 30):
        quiet = automatic(Task(300_000, 80, 2.0**exponent), {})
        assert all(automatic(Task(300_000, 80, noise * 2.0**exponent), {}) == quiet for noise in (0.75, 0.9, 1.1, 1.4))


def test_whatever_is_fixed_stays_and_the_rest_is_a_configuration() -> None:
    for fixed, num_chars, reference_chars in product(FIXED, (200, 5_000, 10**6, 10**9), (1e4, 1e7, 1e10)):
        choices = automatic(Task(num_chars, 90, reference_chars), fixed)
        assert not choices.keys() & fixed.keys()
        values = {**choices, **fixed}
        assert check_layer(merge([keyed_layer(key.split("."), value, "test") for key, value in values.items()]))


def test_a_short_text_is_not_read_without_end() -> None:
    assert automatic(Task(3_000, 50, 1e9), {})["train.epochs"] == 12
    assert "train.epochs" not in automatic(Task(3_000_000, 50, 1e6), {})
    assert "train.epochs" not in automatic(Task(3_000, 50, 1e9), {"train.max_steps": 10**6})


def test_a_run_that_starts_from_another_learns_more_slowly() -> None:
    task = Task(300_000, 80, 1e6)
    rate, slower = (automatic(task, fixed)["optimizer.learning_rate"] for fixed in ({}, {"start.run": "runs/a"}))
    assert isinstance(rate, float)
    assert isinstance(slower, float)
    assert 0 < slower < rate / 5


def test_a_short_text_has_a_small_network_however_long_it_may_take() -> None:
    # Between the fewest and the most units, the ladder need not have a step.
    for num_chars in range(200, 3_000, 10):
        units = [automatic(Task(num_chars, 50, 2.0**exponent), {})["model.hidden_size"] for exponent in range(10, 32)]
        assert max(map(int, units)) <= 64


# The reference network reads about 97,000 characters a second on two cores.
@pytest.mark.parametrize(
    ("num_chars", "minutes", "members"),
    [(214_266, 0.1, 1), (214_266, 1, 3), (214_266, 10, 3), (1_115_394, 1, 1), (1_115_394, 3, 3), (10**8, 60, 1)],
)
def test_time_is_divided_among_networks_that_can_each_read_the_text_often_enough(
    num_chars: int, minutes: float, members: int
) -> None:
    assert num_members(Task(num_chars, 64, 60 * minutes * 97_000), {}) == members


def test_the_least_time_makes_one_network_and_the_most_as_many_as_there_may_be() -> None:
    found = [num_members(Task(300_000, 64, 10**power), {}) for power in range(4, 12)]
    assert (found[0], found[-1]) == (1, 3)

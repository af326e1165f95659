"""Spaces: grids in order, draws as pure functions, and every problem with its place."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from charlm.settings.diagnosis import known_keys
from charlm.settings.strict_yaml import Place, parse_yaml
from charlm.sweeps.dimensions import is_count, read_space
from charlm.sweeps.space import Options, Range, Scale, Space

PLACE = Place("sweep.yaml", 3)


def space_of(text: str) -> tuple[Space, list[str]]:
    document = parse_yaml("space:\n" + text, "sweep.yaml")
    space, problems = read_space(document.value["space"], document.places)
    return space, [f"{reason} ({place})" for place, reason in problems]


def values(point: object) -> list[object]:
    return [setting.value for setting in point]


def test_a_grid_is_every_combination_and_the_last_dimension_varies_fastest() -> None:
    space, problems = space_of("  model.cell: [rnn, gru]\n  model.hidden_size: [8, 16]\n")
    assert problems == []
    assert [values(point) for point in space.grid()] == [["rnn", 8], ["rnn", 16], ["gru", 8], ["gru", 16]]
    assert space.grid_size == 4


def test_settings_that_belong_together_vary_together() -> None:
    space, problems = space_of(
        "  cell:\n    - {model.cell: rnn, model.hidden_size: 512}\n    - {model.cell: lstm, model.hidden_size: 256}\n"
    )
    assert problems == []
    assert [values(point) for point in space.grid()] == [["rnn", 512], ["lstm", 256]]
    assert space.keys == ("model.cell", "model.hidden_size")


def test_a_value_of_a_setting_may_be_a_mapping() -> None:
    space, problems = space_of("  train.eval_every: [5, {epochs: 2}]\n")
    assert problems == []
    assert [values(point) for point in space.grid()] == [[5], [{"epochs": 2}]]


def test_a_setting_with_one_value_does_not_vary() -> None:
    space, _ = space_of(
        "  model.cell: [gru]\n  both:\n    - {train.epochs: 1, model.dropout: 0.0}\n"
        "    - {train.epochs: 2, model.dropout: 0.0}\n"
    )
    assert space.varying == {"train.epochs"}


@pytest.mark.parametrize("seed", [0, 1])
def test_a_draw_is_a_function_of_seed_and_number(seed: int) -> None:
    space = Space((Range("a", "log", 1e-4, 1e-1, PLACE), Range("b", "int", 3, 5, PLACE)))
    points = [values(space.draw(seed, number)) for number in range(50)]
    assert points == [values(space.draw(seed, number)) for number in range(50)]
    assert points != [values(space.draw(seed + 1, number)) for number in range(50)]
    assert len({tuple(point) for point in points}) > 45


def test_draws_fill_the_range_evenly_in_its_own_scale() -> None:
    space = Space(
        (
            Range("log", "log", 1e-4, 1e0, PLACE),
            Range("uniform", "uniform", -1.0, 3.0, PLACE),
            Range("int", "int", 0, 3, PLACE),
        )
    )
    drawn = [values(space.draw(0, number)) for number in range(4_000)]
    shares = [
        [math.log10(point[0]) + 4 for point in drawn],
        [point[1] + 1 for point in drawn],
        [point[2] for point in drawn],
    ]
    for share in shares:
        counts = [sum(low <= value < low + 1 for value in share) for low in range(4)]
        # Each quarter has 1,000 expected; five standard deviations are 137.
        assert all(abs(count - 1_000) < 137 for count in counts), counts
    assert {type(point[2]) for point in drawn} == {int}


def test_both_ends_of_a_range_can_be_drawn_and_nothing_beyond() -> None:
    wide = Range("a", "log", 0.00012345, 0.98765, PLACE)
    assert wide.low <= wide.at(0.0)[0].value <= 0.0001235
    assert 0.9876 <= wide.at(1.0 - 1e-12)[0].value <= wide.high
    # Four digits would be beyond the ends.
    assert Range("a", "uniform", 0.123461, 0.98767, PLACE).at(0.0)[0].value == 0.1235
    assert Range("a", "uniform", 0.123449, 0.98767, PLACE).at(0.0)[0].value == 0.123449
    assert Range("a", "uniform", 0.123449, 0.98767, PLACE).at(1.0 - 1e-12)[0].value == 0.98767
    whole = Range("a", "int", 64, 66, PLACE)
    assert [whole.at(share)[0].value for share in (0.0, 0.34, 0.99)] == [64, 65, 66]


@pytest.mark.parametrize(
    ("scale", "low", "high"),
    [
        ("uniform", 0.999, 0.9999),
        ("log", 0.999, 0.9999),
        ("uniform", -1e6 - 1, -1e6),
        ("uniform", 0.5, 0.9),
        ("uniform", -3.0, 1.0),
        ("log", 1e-4, 1e-1),
    ],
)
def test_a_narrow_range_has_as_many_values_as_a_wide_one(scale: Scale, low: float, high: float) -> None:
    dimension = Range("a", scale, low, high, PLACE)
    drawn = [dimension.at(share / 200)[0].value for share in range(200)]
    assert len(set(drawn)) == 200
    assert drawn == sorted(drawn)
    assert all(low <= value <= high for value in drawn)


def test_a_range_of_real_numbers_has_real_ends() -> None:
    space, _ = space_of("  optimizer.weight_decay: {uniform: [0, 1]}\n")
    assert {type(setting.value) for point in space.corners() for setting in point} == {float}


def test_draws_of_an_ordinary_range_have_four_digits() -> None:
    for dimension in (Range("a", "log", 1e-4, 1e-1, PLACE), Range("a", "uniform", 0.0, 0.5, PLACE)):
        for share in range(100):
            value = dimension.at(share / 100)[0].value
            assert value == float(f"{value:.4g}")


def test_draws_repeat_no_point_and_end_where_there_is_no_new_one() -> None:
    space, _ = space_of("  model.cell: [rnn, gru]\n  model.num_layers: {int: [1, 3]}\n")
    points = [tuple(values(point)) for point in space.draws(0)]
    assert len(points) == len(set(points)) == 6


def test_corners_hold_every_value_and_every_end() -> None:
    space, _ = space_of("  model.cell: [rnn, gru, lstm]\n  model.hidden_size: {int: [8, 16]}\n")
    assert [values(point) for point in space.corners()] == [["rnn", 8], ["gru", 8], ["lstm", 8], ["rnn", 16]]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("model.cel: [rnn]", "unknown setting model.cel; did you mean model.cell? (sweep.yaml:2)"),
        ("hidden_size: [8]", "unknown setting hidden_size; did you mean model.hidden_size? (sweep.yaml:2)"),
        ("xyzzy.plugh: [8]", "unknown setting xyzzy.plugh (sweep.yaml:2)"),
        ("model.hidden_size: 8", "must be a list of values, or one of {log: [a, b]}"),
        ("model.hidden_size: []", "must be a list of values"),
        ("model.hidden_size: {lgo: [1, 2]}", "did you mean log? (sweep.yaml:2)"),
        ("model.hidden_size: {log: [1, 2], int: [1, 2]}", "must be a list, or one of log, uniform and int"),
        ("model.hidden_size: {}", "must be a list, or one of log, uniform and int"),
        ("model.hidden_size: {int: [1]}", "int must be two numbers such as int: [64, 256], got [1]"),
        ("model.hidden_size: {int: 1}", "int must be two numbers"),
        ("model.hidden_size: {int: [1, true]}", "int must be two numbers"),
        ("model.hidden_size: {int: [1.5, 2]}", "int must have whole ends, got [1.5, 2]"),
        ("model.hidden_size: {int: [64, 8]}", "int must go from a lower to a higher number, got [64, 8]"),
        ("model.hidden_size: {int: [8, 8]}", "int must go from a lower to a higher number"),
        ("optimizer.learning_rate: {log: [0, 1]}", "log must begin above 0, got 0 (sweep.yaml:2)"),
        ("optimizer.learning_rate: {log: [1e-3, .inf]}", "log must be two numbers"),
        ("train.seed: [1, 2]", "train.seed is set by seeds: how many there are (sweep.yaml:2)"),
        ("train.threads: [1, 2]", "train.threads is set by --jobs"),
        (
            "optimizer.schedule: [{method: cosine}]",
            "optimizer.schedule is a section: name one of its settings in full, such as optimizer.schedule.every",
        ),
        ("optimizer.average: [{method: ema}]", "optimizer.average is a section: name one of its settings in full"),
        (
            "model: {cell: [rnn, gru]}",
            "model is a section: name one of its settings in full, such as model.cell (sweep",
        ),
        ("cell: {model.cell: rnn}", "unknown setting cell; did you mean model.cell? (sweep.yaml:2)"),
        ("both: [{model: {cell: rnn}}]", "model is a section: name one of its settings in full, such as model.cell"),
        ("optimizer.learning_rate: {loguniform: [1e-3, 1e-2]}", "did you mean log? (sweep.yaml:2)"),
        ("model.hidden_size: {Integer: [1, 2]}", "did you mean int? (sweep.yaml:2)"),
        ("model.hidden_size: {min: 1, max: 2}", "with two ends, got {'min': 1, 'max': 2} (sweep.yaml:2)"),
        (
            "train.eval_every: [5, {epochs: 2}]\n  train.eval_every.epochs: [1, 2]",
            "varies train.eval_every.epochs, and so does space.train.eval_every: keep one (sweep.yaml:3)",
        ),
        (
            "train.eval_every.epochs: [1, 2]\n  both: [{train.eval_every: 5}, {model.cell: rnn}]",
            "space.both varies train.eval_every, and so does space.train.eval_every.epochs: keep one (sweep.yaml:3)",
        ),
        ("model.cell: [rnn, gru, rnn]", 'space.model.cell has "rnn" twice (sweep.yaml:2)'),
        (
            "both: [{train.epochs: 2, model.cell: rnn}, {model.cell: rnn, train.epochs: 2}]",
            'space.both has {"model.cell": "rnn", "train.epochs": 2} twice (sweep.yaml:2)',
        ),
        ("cell: [{model.cel: rnn}]", "unknown setting model.cel; did you mean model.cell? (sweep.yaml:2)"),
        ("cell: [{cell: rnn}]", "unknown setting cell; did you mean model.cell?"),
        ("cell: [{model.cell: rnn}, 3]", "unknown setting cell; did you mean model.cell?"),
        (
            "model.cell: [rnn]\n  both: [{model.cell: gru}]",
            "space.both varies model.cell, and so does space.model.cell",
        ),
        (
            "both: [{model.cell: gru, model.hidden_size: 8}]\n  model.hidden_size: [16]",
            "space.model.hidden_size varies model.hidden_size, and so does space.both: keep one (sweep.yaml:3)",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_the_nearest_name(text: str, problem: str) -> None:
    _, problems = space_of(f"  {text}\n")
    assert len(problems) == 1
    assert problem in problems[0]


def test_settings_whose_names_begin_alike_are_two() -> None:
    for first, second in (("zoneout", "zoneout_cells"), ("zoneout_cells", "zoneout")):
        _, problems = space_of(f"  model.{first}: [0.1, 0.2]\n  model.{second}: [0.1, 0.2]\n")
        assert problems == []


def test_entries_of_one_list_may_set_a_setting_or_one_of_its_keys() -> None:
    _, problems = space_of("  every: [{train.eval_every: 5}, {train.eval_every.epochs: 2}]\n")
    assert problems == []


@pytest.mark.parametrize(
    ("key", "is_whole"),
    [
        ("model.hidden_size", True),
        ("model.embedding_size", True),
        ("train.max_steps", True),
        ("checkpoint.keep_every.steps", True),
        ("optimizer.learning_rate", False),
        ("optimizer.momentum", False),
        ("model.cell", False),
        ("model.layer_norm", False),
        ("corpus.split", False),
        ("train.eval_every", False),
    ],
)
def test_whole_numbers_are_known_by_their_setting(key: str, is_whole: bool) -> None:
    assert is_count(key) == is_whole


def test_every_setting_is_a_whole_number_or_is_not() -> None:
    assert {is_count(key) for key in known_keys()} == {False, True}


def test_a_long_list_is_read_in_one_go() -> None:
    # Comparing each entry with all before it would take minutes.
    space, problems = space_of(f"  model.hidden_size: {[*range(1, 10_001)]}\n")
    assert (space.grid_size, problems) == (10_000, [])


def test_all_problems_are_reported_at_once() -> None:
    space, problems = space_of("  model.cel: [rnn]\n  model.hidden_size: {int: [9, 8]}\n  model.dropout: [0.1]\n")
    assert space.keys == ("model.dropout",)
    assert [problem.rpartition("(")[2] for problem in problems] == ["sweep.yaml:2)", "sweep.yaml:3)"]


def test_options_know_the_share_they_are_drawn_by() -> None:
    space, _ = space_of("  model.cell: [rnn, gru]\n")
    (options,) = space.dimensions
    assert isinstance(options, Options)
    assert [values(options.at(share)) for share in (0.0, 0.49, 0.5, 0.99)] == [["rnn"], ["rnn"], ["gru"], ["gru"]]
    assert Path(str(options.options[0][0].place)).name == "sweep.yaml:2"

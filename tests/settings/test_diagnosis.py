"""Everything that is wrong with a configuration is named in sentences: where, what is allowed and what was meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from charlm.errors import ConfigError
from charlm.settings.diagnosis import known_keys, nearest_key
from charlm.settings.layers import text_layer
from charlm.settings.loading import check_layer, load_settings
from charlm.settings.schema import Settings


def read(text: str) -> Settings:
    """Check a configuration's text."""
    return check_layer(text_layer(text, "a.yaml"))


def problems(text: str) -> list[str]:
    """Return the problems of a configuration's text, one on each line."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("model: {hidden_size: 0}", "model.hidden_size must be at least 1, got 0"),
        ("model: {hidden_size: 1e2}", "model.hidden_size must be a whole number, got 100.0"),
        ("model: {hidden_size: 1_000}", "model.hidden_size must be a whole number, got '1_000'"),
        ("model: {cell: LSTM}", "model.cell must be one of 'rnn', 'gru', 'lstm', got 'LSTM'; did you mean lstm?"),
        ("model: {reset_after: no}", "model.reset_after must be true or false, got 'no'"),
        ("model: {dropout: 1}", "model.dropout must be less than 1.0, got 1"),
        ("model: [1]", "model must be a mapping of keys, got [1]"),
        ("model:", "model must be a mapping of keys, got None"),
        ("optimizer: {learning_rate: fast}", "optimizer.learning_rate must be a number, got 'fast'"),
        ("optimizer: {learning_rate: 0}", "optimizer.learning_rate must be greater than 0.0, got 0"),
        ("optimizer: {learning_rate: .inf}", "optimizer.learning_rate must be a finite number, got inf"),
        ("optimizer: {learning_rate: 1e999}", "optimizer.learning_rate must be a finite number, got inf"),
        ("optimizer: {weight_decay: -1}", "optimizer.weight_decay must be at least 0.0, got -1"),
        (
            "optimizer: {schedule: cosine}",
            "optimizer.schedule must be a mapping of keys, got 'cosine'; "
            "did you mean optimizer.schedule.method=cosine?",
        ),
        (
            "train: {device: gpu}",
            "train.device must be auto, cpu, mps, cuda or cuda:N, got 'gpu'; did you mean cuda?",
        ),
        ("train: {seed: -1}", "train.seed must be at least 0, got -1"),
        ("train: {eval_every: 0}", "train.eval_every.steps must be at least 1, got 0"),
        ("train: {eval_every: {epochs: 0}}", "train.eval_every.epochs must be at least 1, got 0"),
        (
            "train: {eval_every: often}",
            "train.eval_every must be a number of steps such as 500, or {epochs: 40}, got 'often'",
        ),
        (
            "sample: {every: {epochs: 1, steps: 1}}",
            "sample.every must be a number of steps such as 500, or {epochs: 40}, got {'epochs': 1, 'steps': 1}",
        ),
        ("sample: {prefixes: [a, 1]}", "sample.prefixes.1 must be text (put quotes around it), got 1"),
        ("sample: {prefixes: {a: 1}}", "sample.prefixes must be a list, got {'a': 1}"),
        ("corpus: {encoding: 8}", "corpus.encoding must be text (put quotes around it), got 8"),
        ("corpus: {name: []}", "corpus.name must be text, got []"),
        (
            "corpus: {clean: all}",
            "corpus.clean must be letters, none, or keys among newline, unicode, lowercase and letters, got 'all'",
        ),
        *(
            (
                f"corpus: {{split: {split}}}",
                "corpus.split must be one of default, nanogpt, torch-rnn, none, standard, percentages such as "
                "80/10/10, fractions such as [0.8, 0.1, 0.1] or sizes in characters such as [90000, 5000, 5000], "
                f"got '{split}'{'; did you mean nanogpt?' if split == 'nanogtp' else ''}",
            )
            for split in ("nanogtp", "80-10-10", "1/2/3/4", "a/b", "²/1")
        ),
        *(
            (
                f"corpus: {{split: {split}}}",
                "corpus.split must be one of default, nanogpt, torch-rnn, none, standard, percentages such as "
                "80/10/10, fractions such as [0.8, 0.1, 0.1] or sizes in characters such as [90000, 5000, 5000], "
                f"got {shown}",
            )
            for split, shown in (
                ("5", "5"),
                ("true", "True"),
                ("[0.9, x]", "[0.9, 'x']"),
                ("[true, 1]", "[True, 1]"),
                ("[.inf, 0.1]", "[inf, 0.1]"),
            )
        ),
        ("eval: {max_chars: 1}", "eval.max_chars must be at least 2, got 1"),
        (f"model: {{cell: {'x' * 70}}}", f"model.cell must be one of 'rnn', 'gru', 'lstm', got '{'x' * 56}..."),
    ],
)
def test_a_bad_value_says_what_is_allowed(text: str, problem: str) -> None:
    assert problems(text) == [f"{problem} (a.yaml:1)"]


@pytest.mark.parametrize(
    ("key", "most"),
    [
        ("model.hidden_size", 65_536),
        ("model.num_layers", 256),
        ("model.embedding_size", 65_536),
        ("model.lookahead", 1_000_000),
        ("sampling.batch_size", 1_000_000),
        ("sampling.seq_len", 1_000_000),
        ("optimizer.accumulation", 1_000_000),
        ("sample.length", 1_000_000),
        ("train.threads", 1_024),
        ("train.epochs", 1_000_000),
        ("train.max_steps", 10**12),
        ("train.eval_every.steps", 10**12),
        ("train.eval_every.epochs", 1_000_000),
        ("checkpoint.keep_last", 10**12),
        ("eval.max_chars", 10**12),
        ("vocabulary.max_size", 10**12),
        ("optimizer.schedule.warmup_steps", 10**12),
    ],
)
def test_every_count_has_an_upper_bound(key: str, most: int) -> None:
    direction = ["model.direction=bidirectional"] * (key == "model.lookahead")
    assert load_settings(overrides=[*direction, f"{key}={most}"])
    for value in (most + 1, 10**15, 10**30):
        with pytest.raises(ConfigError) as caught:
            load_settings(overrides=[*direction, f"{key}={value}"])
        assert str(caught.value).startswith(f"{key} must be at most {most}, got {value} (--set {key}=")


def unbounded(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the numbers of a JSON schema that have no upper bound."""
    if schema.get("type") in ("integer", "number") and not schema.keys() & {"maximum", "exclusiveMaximum"}:
        yield schema
    for part in schema.values():
        for inner in part if isinstance(part, list) else [part]:
            if isinstance(inner, dict):
                yield from unbounded(inner)


def test_every_number_in_the_json_schema_has_an_upper_bound() -> None:
    assert list(unbounded(Settings.model_json_schema())) == []


@pytest.mark.parametrize(
    "key",
    [
        "model.hidden_size",
        "optimizer.learning_rate",
        "train.minutes",
        "train.seed",
        "train.eval_every",
        "model.dropout",
    ],
)
@pytest.mark.parametrize("value", ["true", "false"])
def test_a_boolean_is_never_a_number(key: str, value: str) -> None:
    section, _, name = key.partition(".")
    (problem,) = problems(f"{section}: {{{name}: {value}}}")
    assert problem.startswith(f"{key} must be a")
    assert problem.endswith(f"got {value.title()} (a.yaml:1)")


@pytest.mark.parametrize("value", ["1", "0"])
def test_a_number_is_never_a_boolean(value: str) -> None:
    assert problems(f"corpus: {{clean: {{lowercase: {value}}}}}") == [
        f"corpus.clean.lowercase must be true or false, got {value} (a.yaml:1)"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("modle: {cell: gru}", "unknown key modle; did you mean model?"),
        ("model: {hiden_size: 1}", "unknown key model.hiden_size; did you mean model.hidden_size?"),
        ("model: {hidden-size: 1}", "unknown key model.hidden-size; did you mean model.hidden_size?"),
        ("sampling: {seq len: 1}", "unknown key sampling.seq len; did you mean sampling.seq_len?"),
        ("hidden_size: 1", "unknown key hidden_size; did you mean model.hidden_size?"),
        ("lerning_rate: 1", "unknown key lerning_rate; did you mean optimizer.learning_rate?"),
        ("train: {batch_size: 1}", "unknown key train.batch_size; did you mean sampling.batch_size?"),
        (
            "optimizer: {schedule: {every: {stps: 1}}}",
            "unknown key optimizer.schedule.every.stps; did you mean optimizer.schedule.every.steps?",
        ),
        ("model.hidden_size: 1", "unknown key model.hidden_size; keys are nested: model: {hidden_size: ...}"),
        ("model: {qqqq: 1}", "unknown key model.qqqq"),
        ("1: 1", "unknown key 1"),
        ("corpus: {clean: {leters: true}}", "unknown key corpus.clean.leters; did you mean corpus.clean.letters?"),
    ],
)
def test_an_unknown_key_gets_the_nearest_known_one(text: str, problem: str) -> None:
    assert problems(text) == [f"{problem} (a.yaml:1)"]


@pytest.mark.parametrize("key", known_keys())
def test_every_known_key_is_its_own_nearest(key: str) -> None:
    assert nearest_key(key) == key


def test_all_problems_are_reported_at_once_in_the_order_of_their_places() -> None:
    text = (
        "corpus:\n  split: half\nmodel:\n  hidden_size: 0\n  cel: gru\ntrain: {seed: x,\n  device: gpu}\nsamples: {}\n"
    )
    places = [(line.split()[0], line.rpartition(" ")[2]) for line in problems(text)]
    assert places == [
        ("corpus.split", "(a.yaml:2)"),
        ("model.hidden_size", "(a.yaml:4)"),
        ("unknown", "(a.yaml:5)"),
        ("train.seed", "(a.yaml:6)"),
        ("train.device", "(a.yaml:7)"),
        ("unknown", "(a.yaml:8)"),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("corpus: {name: lyrics, path: /a}", "corpus.path and corpus.name exclude each other: keep one of them"),
        ("corpus: {path: []}", "corpus.path is an empty list: name a text file, or leave it out"),
        (
            "corpus: {path: /a, split: standard}",
            "corpus.split standard needs corpus.name: only known corpora have a standard split",
        ),
        *(
            (
                f"corpus: {{split: {split}}}",
                f"corpus.split needs two or three fractions, or two or three sizes, not {split}",
            )
            for split in ("[]", "[1.0]", "[1, 2, 3, 4]", "[0.9, 1]", "[-1, 5]", "[0, 5]", "[0.0, 1.0]", "[1, 0.0]")
        ),
        ("corpus: {split: 90/5}", "corpus.split fractions must sum to 1, but these sum to 0.95"),
        ("corpus: {split: [0.9, 0.2]}", "corpus.split fractions must sum to 1, but these sum to 1.1"),
        (
            "corpus: {split: [0.3333333, 0.3333333, 0.3333333]}",
            "corpus.split fractions must sum to 1, but these sum to 0.9999999",
        ),
        ("model: {activation: relu}", "model.activation belongs to the rnn cell, and model.cell is lstm"),
        ("model: {reset_after: true}", "model.reset_after belongs to the gru cell, and model.cell is lstm"),
        (
            "model: {cell: gru, forget_bias: 1.0}",
            "model.forget_bias belongs to the lstm cell, and model.cell is gru",
        ),
        ("model: {lookahead: 4}", "model.lookahead belongs to bidirectional models, and model.direction is forward"),
        (
            "model: {direction: backward, loss_weights: {both: 2}}",
            "model.loss_weights belong to bidirectional models, and model.direction is backward",
        ),
        (
            "model: {direction: bidirectional, loss_weights: {forward: 0, backward: 0, both: 0}}",
            "model.loss_weights are all 0: nothing would be learned",
        ),
        ("model: {init: identity}", "model.init identity is meant for model.cell rnn with model.activation relu"),
        (
            "model: {init: identity, cell: rnn}",
            "model.init identity is meant for model.cell rnn with model.activation relu",
        ),
        ("model: {dropout: 0.1}", "model.dropout acts between layers, and model.num_layers is 1: change one of them"),
        (
            "optimizer: {momentum: 0.9}",
            "optimizer.momentum belongs to sgd and rmsprop, and optimizer.method is adam",
        ),
        (
            "optimizer: {schedule: {every: 5}}",
            "optimizer.schedule.every belongs to step and exponential, and the method is constant",
        ),
        (
            "optimizer: {schedule: {method: cosine, factor: 0.5}}",
            "optimizer.schedule.factor belongs to step and exponential and plateau, and the method is cosine",
        ),
        (
            "optimizer: {schedule: {method: step, patience: 2}}",
            "optimizer.schedule.patience belongs to plateau, and the method is step",
        ),
        (
            "optimizer: {schedule: {total_steps: 9}}",
            "optimizer.schedule.total_steps belongs to cosine, and the method is constant",
        ),
        (
            "{train: {minutes: 1}, optimizer: {schedule: {method: cosine}}}",
            "optimizer.schedule.total_steps must be given when train.minutes is the only budget",
        ),
        (
            "{corpus: {split: none}, train: {early_stopping: 3}}",
            "train.early_stopping needs a validation split, and corpus.split is none",
        ),
        (
            "{corpus: {split: none}, optimizer: {schedule: {method: plateau}}}",
            "optimizer.schedule.method plateau needs a validation split, and corpus.split is none",
        ),
    ],
)
def test_conflicting_settings_are_named(text: str, problem: str) -> None:
    assert problems(text) == [f"{problem} (a.yaml:1)"]


@pytest.mark.parametrize(
    "text",
    [
        "model: {cell: rnn, activation: relu, init: identity}",
        "model: {cell: gru, reset_after: false}",
        "model: {direction: bidirectional, lookahead: 4, loss_weights: {both: 0}}",
        "model: {dropout: 0.1, num_layers: 2}",
        "optimizer: {method: sgd, momentum: 0.9}",
        "optimizer: {method: rmsprop, momentum: 0.9}",
        "optimizer: {schedule: {method: plateau, factor: 0.1, patience: 2}}",
        "{train: {minutes: 1}, optimizer: {schedule: {method: cosine, total_steps: 100}}}",
        "{train: {minutes: 1, max_steps: 5}, optimizer: {schedule: {method: cosine}}}",
        "corpus: {name: timemachine, split: standard}",
    ],
)
def test_compatible_settings_are_accepted(text: str) -> None:
    assert read(text) != Settings()


def test_conflicts_are_reported_at_once_each_at_its_line() -> None:
    assert problems(
        "model:\n  activation: relu\n  dropout: 0.5\ntrain: {early_stopping: 1}\ncorpus: {split: none}"
    ) == [
        "model.activation belongs to the rnn cell, and model.cell is lstm (a.yaml:2)",
        "model.dropout acts between layers, and model.num_layers is 1: change one of them (a.yaml:3)",
        "train.early_stopping needs a validation split, and corpus.split is none (a.yaml:4)",
    ]

"""The typed configuration: its defaults and types, the bundled configurations, and how settings are written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from processes import run_code
from pydantic import BaseModel, ValidationError

from charlm.settings.diagnosis import known_keys
from charlm.settings.layers import shipped_names, text_layer
from charlm.settings.loading import check_layer, dump_settings, load_run_settings, load_settings
from charlm.settings.schema import Settings
from charlm.settings.template import commented_defaults
from charlm.settings.training import DEFAULT_EPOCHS
from charlm.settings.values import Period
from charlm.text.known import corpus_names


def read(text: str) -> Settings:
    """Check a configuration's text."""
    return check_layer(text_layer(text, "a.yaml"))


def write(path: Path, text: str) -> Path:
    """Write a configuration file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each field of a section and of the sections in it, with its dotted key."""
    for name, field in model.model_fields.items():
        yield prefix + name, field
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from sections(part, f"{prefix}{name}.")


@pytest.mark.parametrize("name", shipped_names())
def test_a_bundled_configuration_loads_and_names_a_known_corpus(name: str) -> None:
    corpus = load_settings(name).corpus
    assert corpus.path is None
    assert corpus.name in corpus_names()


def test_each_classic_experiment_has_a_bundled_configuration() -> None:
    lyrics = [f"lyrics-{model}" for model in ("rnn", "gru", "lstm", "deep-lstm")]
    scratch = [f"lyrics-{cell}-scratch" for cell in ("rnn", "gru", "lstm")]
    time_machine = [f"timemachine-{model}" for model in ("rnn", "gru", "lstm", "deep-lstm")]
    assert {"quickstart", *lyrics, *scratch, *time_machine} <= set(shipped_names())


def test_the_template_loads_as_the_defaults() -> None:
    assert check_layer(text_layer(commented_defaults(), "template")) == Settings()


def test_the_template_has_every_key_below_its_meaning() -> None:
    lines = commented_defaults().splitlines()
    assert max(map(len, lines[1:])) <= 80
    text = "\n".join(line.strip() for line in lines).replace("\n# ", " ")
    for key, field in sections(Settings):
        # Periods are written inline.
        if "every." not in key:
            assert f"{field.description}.\n{key.rpartition('.')[2]}:" in text


@pytest.mark.parametrize("name", shipped_names())
def test_dumped_settings_load_as_equal_settings(name: str, tmp_path: Path) -> None:
    settings = load_settings(name, overrides=["corpus.split=80/10/10", "train.minutes=2", "sample.every=7"])
    file = write(tmp_path / "config.yaml", dump_settings(settings))
    assert load_run_settings(file) == settings


@given(st.lists(st.text(), max_size=3))
@hypothesis_settings(deadline=None)
def test_any_prefixes_survive_a_dump(prefixes: list[str]) -> None:
    settings = Settings.model_validate({"sample": {"prefixes": prefixes}})
    assert read(dump_settings(settings)) == settings


def test_a_dump_spells_out_every_key() -> None:
    values = text_layer(dump_settings(Settings()), "dump").values
    for key, _ in sections(Settings):
        if "every." not in key:
            inner: Any = values
            for name in key.split("."):
                assert name in inner
                inner = inner[name]


def test_the_example_in_the_documentation_loads() -> None:
    settings = read(
        "corpus:     {name: tinyshakespeare, split: nanogpt}\n"
        "sampling:   {method: consecutive, batch_size: 32, seq_len: 64}\n"
        "model:      {cell: lstm, hidden_size: 256, num_layers: 2, dropout: 0.1, implementation: auto}\n"
        "optimizer:  {method: adam, learning_rate: 1e-2, clip_norm: 1.0,\n"
        "             schedule: {method: cosine, warmup_steps: 100}}\n"
        "train:      {epochs: 10, seed: 0, eval_every: 500}\n"
        'sample:     {prefixes: ["ROMEO:", "The "], length: 80, temperature: 0.8, every: 500}\n'
    )
    assert settings.optimizer.learning_rate == 0.01
    assert settings.train.eval_every == Period(steps=500)
    assert settings.sample.prefixes == ("ROMEO:", "The ")


def test_every_setting_has_a_description() -> None:
    assert [key for key, field in sections(Settings) if not field.description] == []
    assert sorted({key for key, _ in sections(Settings)}) == known_keys()


@pytest.mark.parametrize(
    ("text", "budgets"),
    [
        ("", (DEFAULT_EPOCHS, None, None)),
        ("train: {epochs: null}", (DEFAULT_EPOCHS, None, None)),
        ("train: {epochs: 3}", (3, None, None)),
        ("train: {max_steps: 5}", (None, 5, None)),
        ("train: {minutes: 2}", (None, None, 2.0)),
        ("train: {minutes: 0.5, max_steps: 5}", (None, 5, 0.5)),
        ("train: {epochs: 3, max_steps: 5, minutes: 1}", (3, 5, 1.0)),
    ],
)
def test_a_budget_of_steps_or_minutes_removes_the_default_epochs(text: str, budgets: tuple[float | None, ...]) -> None:
    train = read(text).train
    assert (train.epochs, train.max_steps, train.minutes) == budgets


def test_defaults_are_those_that_are_documented() -> None:
    settings = Settings()
    assert settings.corpus.encoding == "utf-8"
    assert settings.corpus.unknown == "error"
    assert settings.corpus.split == "default"
    assert settings.optimizer.method == "adam"
    assert settings.model.embedding_size is None
    assert settings.model.implementation == "auto"
    assert settings.eval.max_chars == 20_000


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().model.cell = "gru"


def test_a_whole_number_widens_to_a_float() -> None:
    found = read("optimizer: {learning_rate: 1, clip_norm: 5}\nmodel: {forget_bias: 1}")
    values = (found.optimizer.learning_rate, found.optimizer.clip_norm, found.model.forget_bias)
    assert values == (1.0, 5.0, 1.0)
    assert {type(value) for value in values} == {float}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80/10/10", (0.8, 0.1, 0.1)),
        ("90 / 10", (0.9, 0.1)),
        ("33/33/34", (0.33, 0.33, 0.34)),
        ("100/0/0", (1.0, 0.0, 0.0)),
        ("[0.7, 0.2, 0.1]", (0.7, 0.2, 0.1)),
        ("[90000, 5000, 5000]", (90000, 5000, 5000)),
        ("[100, 0]", (100, 0)),
        ("nanogpt", "nanogpt"),
    ],
)
def test_a_split_is_a_name_percentages_fractions_or_sizes(text: str, expected: Any) -> None:
    split = read(f"corpus: {{split: {text}}}").corpus.split
    assert split == expected
    assert [type(part) for part in split] == [type(part) for part in expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("letters", {"letters": True}),
        ("none", {"newline": "keep"}),
        ("{newline: lf, lowercase: true}", {"newline": "lf", "lowercase": True}),
    ],
)
def test_cleaning_has_short_names(text: str, expected: dict[str, Any]) -> None:
    clean = read(f"corpus: {{clean: {text}}}").corpus.clean
    assert clean.model_dump() == {"newline": "lf", "unicode": "none", "lowercase": False, "letters": False} | expected


def test_a_period_in_epochs_is_counted_in_steps() -> None:
    settings = read("train: {eval_every: {epochs: 3}}\nsample: {every: 7}")
    assert settings.train.eval_every.in_steps(10) == 30
    assert settings.sample.every.in_steps(10) == 7


def test_settings_need_no_torch() -> None:
    code = (
        "import sys\n"
        "import charlm.settings.layers, charlm.settings.template, charlm.text.vocabulary\n"
        "from charlm.cli.main import app\n"
        "for words in (['config', 'show'], ['config', 'schema'], ['config', 'check', 'quickstart']):\n"
        "    app(words, standalone_mode=False)\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    finished = run_code(code, is_cold=True)
    assert (finished.exit_code, finished.stderr) == (0, "")
    assert finished.stdout.startswith("corpus:\n")
    assert finished.stdout.endswith("quickstart: good\n")


OLDER = "clean: {newline: keep, unicode: none, lowercase: false, letters: false}"


@pytest.mark.parametrize(
    ("text", "between", "newline"),
    [
        ("path: [a.txt, b.txt]", "newline", "lf"),
        ("path: [a.txt, b.txt], clean: none", "newline", "keep"),
        (f"path: [a.txt, b.txt], {OLDER}", "nothing", "keep"),
        (f"path: [a.txt, b.txt], {OLDER.replace('keep', 'lf')}", "nothing", "lf"),
        (f"path: [a.txt, b.txt], between_files: newline, {OLDER}", "newline", "keep"),
    ],
)
def test_a_run_of_an_older_charlm_keeps_its_line_ends_and_its_files_joined(
    text: str, between: str, newline: str
) -> None:
    corpus = read(f"corpus: {{{text}}}").corpus
    assert (corpus.between_files, corpus.clean.newline) == (between, newline)

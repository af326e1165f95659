"""`charlm config`: show, check, schema, init."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from charlm.settings.layers import shipped_names, text_layer
from charlm.settings.loading import check_layer, dump_settings, load_settings
from charlm.settings.schema import Settings
from charlm.settings.strict_yaml import parse_yaml
from charlm.settings.template import commented_defaults

Command = Callable[..., Result]
CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def fits(value: Any, schema: dict[str, Any], definitions: dict[str, Any]) -> bool:
    """Return whether a value follows a JSON schema, for the keywords that ours uses."""
    if "$ref" in schema:
        return fits(value, definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        return any(fits(value, option, definitions) for option in schema["anyOf"])
    if value not in schema.get("enum", [value]):
        return False
    if isinstance(value, bool) and schema.get("type") != "boolean":
        return False
    if not isinstance(value, TYPES.get(schema.get("type", ""), object)):
        return False
    if isinstance(value, dict):
        known = schema.get("properties", {})
        return all(key in known and fits(entry, known[key], definitions) for key, entry in value.items())
    if isinstance(value, list):
        return all(fits(entry, schema["items"], definitions) for entry in value)
    if isinstance(value, str):
        return re.search(schema.get("pattern", ""), value) is not None
    return not isinstance(value, int | float) or (
        schema.get("minimum", value) <= value <= schema.get("maximum", value)
        and (value > schema.get("exclusiveMinimum", value - 1))
        and (value < schema.get("exclusiveMaximum", value + 1))
    )


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_show_prints_what_train_would_run(charlm_command: Command, working_folder: Path) -> None:
    (working_folder / "my.yaml").write_text("model: {hidden_size: 8, num_layers: 2}", encoding="utf-8")
    options = ("--config", "lyrics-gru", "--config", "my.yaml", "--set", "model.hidden_size=16")
    result = charlm_command("config", "show", *options)
    expected = load_settings("lyrics-gru", "my.yaml", overrides=["model.hidden_size=16"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == dump_settings(expected)
    assert (expected.model.cell, expected.model.hidden_size, expected.model.num_layers) == ("gru", 16, 2)


def test_show_alone_prints_the_quick_start(charlm_command: Command) -> None:
    assert charlm_command("config", "show").stdout == dump_settings(load_settings("quickstart"))


def test_what_show_prints_can_be_checked(charlm_command: Command, working_folder: Path) -> None:
    (working_folder / "full.yaml").write_text(charlm_command("config", "show").stdout, encoding="utf-8")
    result = charlm_command("config", "check", "full.yaml", "--set", "model.cell=gru")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "full.yaml: good\n", "")


@pytest.mark.parametrize("names", [*((name,) for name in shipped_names()), ("lyrics-rnn", "quickstart")], ids=" ".join)
def test_check_accepts_bundled_names(charlm_command: Command, names: tuple[str, ...]) -> None:
    result = charlm_command("config", "check", *names)
    assert (result.exit_code, result.stdout) == (0, f"{', '.join(names)}: good\n")


@pytest.mark.parametrize("command", [("check",), ("show", "--config")])
def test_each_problem_is_one_line_and_the_exit_code_is_2(
    command: tuple[str, ...], charlm_command: Command, working_folder: Path
) -> None:
    text = "model:\n  hiden_size: 8\n  cell: lsmt\ntrain: {epochs: true}\n"
    (working_folder / "bad.yaml").write_text(text, encoding="utf-8")
    result = charlm_command("config", *command, "bad.yaml", "--set", "sample.length=0")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        "charlm: sample.length must be at least 1, got 0 (--set sample.length=0)",
        "charlm: unknown key model.hiden_size; did you mean model.hidden_size? (bad.yaml:2)",
        "charlm: model.cell must be one of 'rnn', 'gru', 'lstm', got 'lsmt'; did you mean lstm? (bad.yaml:3)",
        "charlm: train.epochs must be a whole number, got True (bad.yaml:4)",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("model: {cell: gru\n", "bad.yaml:2:1: not valid YAML: "),
        ("model: 1\nmodel: 2\n", "bad.yaml:2:1: the key model is given twice"),
        ("just text\n", "bad.yaml:1: a configuration is a mapping of sections such as model:"),
    ],
)
def test_a_file_that_is_not_a_configuration_is_one_line(
    text: str, problem: str, charlm_command: Command, working_folder: Path
) -> None:
    (working_folder / "bad.yaml").write_text(text, encoding="utf-8")
    result = charlm_command("config", "check", "bad.yaml")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"charlm: {problem}")
    assert result.stderr.count("\n") == 1


def test_check_without_a_file_is_wrong_usage(charlm_command: Command) -> None:
    assert charlm_command("config", "check").exit_code == 2


def test_the_schema_says_what_every_key_means(charlm_command: Command) -> None:
    schema = json.loads(charlm_command("config", "schema").stdout)
    assert set(schema["properties"]) == set(Settings.model_fields)
    for section in schema["$defs"].values():
        shapes = [shape for shape in (section, *section.get("anyOf", [])) if "properties" in shape]
        assert shapes
        for shape in shapes:
            assert shape["additionalProperties"] is False
            assert all(field["description"] for field in shape["properties"].values())


def test_the_schema_lists_bounds_and_choices(charlm_command: Command) -> None:
    model = json.loads(charlm_command("config", "schema").stdout)["$defs"]["ModelSettings"]["properties"]
    assert model["hidden_size"]["minimum"] == 1
    assert model["hidden_size"]["default"] == Settings().model.hidden_size
    assert model["cell"]["enum"] == ["rnn", "gru", "lstm"]


@pytest.mark.parametrize(
    "text",
    [
        *((f"corpus: {{split: {split}}}") for split in ("80/10/10", "[0.5, 0.5]", "[5, 5]", "none")),
        "corpus: {path: a.txt, clean: {lowercase: true}}",
        "corpus: {path: [a.txt, b.txt], clean: none}",
        "{sample: {prefixes: The, every: 5}, train: {eval_every: {epochs: 3}}}",
        pytest.param(dump_settings(Settings()), id="defaults"),
        *(pytest.param(file.read_text(encoding="utf-8"), id=file.stem) for file in CONFIGS),
    ],
)
def test_the_schema_accepts_what_the_loader_accepts(text: str, charlm_command: Command) -> None:
    schema = json.loads(charlm_command("config", "schema").stdout)
    assert check_layer(text_layer(text, "a.yaml"))
    assert fits(parse_yaml(text, "a.yaml").value or {}, schema, schema["$defs"])


@pytest.mark.parametrize(
    "text",
    [
        "model: {hiden_size: 8}",
        "model: {hidden_size: 0}",
        "model: {cell: 5}",
        "train: {eval_every: true}",
        "train: {eval_every: {epochs: 0}}",
        "corpus: {split: half}",
        "corpus: {clean: all}",
        "sample: {prefixes: [1]}",
        "optimizer: {learning_rate: 0}",
        "modle: {}",
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(text: str, charlm_command: Command, working_folder: Path) -> None:
    schema = json.loads(charlm_command("config", "schema").stdout)
    (working_folder / "bad.yaml").write_text(text, encoding="utf-8")
    assert charlm_command("config", "check", "bad.yaml").exit_code == 2
    assert not fits(parse_yaml(text, "a.yaml").value, schema, schema["$defs"])


@pytest.mark.parametrize("arguments", [(), ("my.yaml",)])
def test_init_writes_the_defaults_with_their_meaning(
    arguments: tuple[str, ...], charlm_command: Command, working_folder: Path
) -> None:
    name = arguments[0] if arguments else "charlm.yaml"
    result = charlm_command("config", "init", *arguments)
    assert (result.exit_code, result.stdout) == (
        0,
        f"{name} is written; train with it: charlm train --config {name}\n",
    )
    assert (working_folder / name).read_text(encoding="utf-8") == commented_defaults()
    assert load_settings(name) == Settings()


def test_init_never_overwrites(charlm_command: Command, working_folder: Path) -> None:
    (working_folder / "charlm.yaml").write_text("mine", encoding="utf-8")
    result = charlm_command("config", "init")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "charlm: charlm.yaml already exists and is not overwritten: name another file\n"
    assert (working_folder / "charlm.yaml").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("name", "reason"), [("nowhere/my.yaml", "no such file or directory"), (f"{'x' * 300}.yaml", "file name too long")]
)
def test_init_where_nothing_can_be_written_says_so(
    name: str, reason: str, charlm_command: Command, working_folder: Path
) -> None:
    result = charlm_command("config", "init", name)
    assert (result.exit_code, result.stderr) == (6, f"charlm: cannot write {name}: {reason}\n")
    assert not list(working_folder.iterdir())

"""Settings come from files, layers and overrides, and later ones win over earlier ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from charlm.errors import ConfigError
from charlm.settings.layers import keyed_layer, merge, shipped_layer, text_layer
from charlm.settings.loading import check_layer, load_settings
from charlm.settings.schema import Settings
from charlm.settings.values import Period


def write(path: Path, text: str) -> Path:
    """Write a configuration file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_later_files_win_key_by_key(tmp_path: Path) -> None:
    first = write(tmp_path / "a.yaml", "corpus: {name: lyrics}\nmodel: {cell: gru, hidden_size: 8}")
    second = write(tmp_path / "b.yaml", "model: {hidden_size: 16, num_layers: 2}")
    model = load_settings(first, second).model
    assert (model.cell, model.hidden_size, model.num_layers) == ("gru", 16, 2)
    assert load_settings(second, first).model.hidden_size == 8


def test_merging_layers_changes_none_of_them() -> None:
    first, second = text_layer("model: {hidden_size: 8}", "a"), text_layer("model: {hidden_size: 16}", "b")
    assert merge([first, second]).values == {"model": {"hidden_size": 16}}
    assert (first.values, second.values) == ({"model": {"hidden_size": 8}}, {"model": {"hidden_size": 16}})


def test_overrides_win_over_layers_and_layers_over_files(tmp_path: Path) -> None:
    file = write(tmp_path / "a.yaml", "model: {hidden_size: 8, num_layers: 2, cell: rnn}")
    layer = text_layer("model: {num_layers: 3, cell: gru}", "between")
    model = load_settings(file, overrides=["model.cell=rnn", "model.cell=lstm"], layers=[layer]).model
    assert (model.hidden_size, model.num_layers, model.cell) == (8, 3, "lstm")


@pytest.mark.parametrize(
    ("override", "key", "expected"),
    [
        ("optimizer.learning_rate=1e-3", "optimizer.learning_rate", 1e-3),
        ("sample.prefixes=[no, '1', 分开]", "sample.prefixes", ("no", "1", "分开")),
        ("sample.prefixes=a=b", "sample.prefixes", ("a=b",)),
        ("corpus.clean.lowercase=true", "corpus.clean.lowercase", True),
        ("model.embedding_size=null", "model.embedding_size", None),
        ("model.embedding_size=", "model.embedding_size", None),
        ("model={cell: gru, hidden_size: 010}", "model.hidden_size", 10),
        (" model.cell =gru", "model.cell", "gru"),
        ("optimizer.schedule.every.epochs=3", "optimizer.schedule.every", Period(epochs=3)),
    ],
)
def test_an_override_is_read_as_yaml(override: str, key: str, expected: Any) -> None:
    value: Any = load_settings(overrides=["optimizer.schedule.method=step", override])
    for name in key.split("."):
        value = getattr(value, name)
    assert (type(value), value) == (type(expected), expected)


@pytest.mark.parametrize("override", ["model.cell", "=gru", "model.=gru", ".cell=gru", "model..cell=gru", ""])
def test_an_override_without_key_and_value_says_how_to_write_one(override: str) -> None:
    with pytest.raises(ConfigError, match=r"must look like section\.key=value, such as"):
        load_settings(overrides=[override])


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("model.hidden_size=0", "model.hidden_size must be at least 1, got 0 (--set model.hidden_size=0)"),
        (
            "model.hiden_size=1",
            "unknown key model.hiden_size; did you mean model.hidden_size? (--set model.hiden_size=1)",
        ),
        ("model={hidden_size: x}", "model.hidden_size must be a whole number, got 'x' (--set model={hidden_size: x})"),
        ("model.cell=[gru", "--set model.cell=[gru:1:5: not valid YAML: expected ',' or ']', but got '<stream end>'"),
    ],
)
def test_a_problem_in_an_override_is_placed_there(override: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(overrides=[override])
    assert str(caught.value) == problem


def test_the_blamed_place_is_that_of_the_layer_that_won(tmp_path: Path) -> None:
    first = write(tmp_path / "a.yaml", "\nmodel: {cell: gru, hidden_size: 0}")
    second = write(tmp_path / "b.yaml", "\n\nmodel:\n  cell: 5\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(first, second)
    assert str(caught.value).splitlines() == [
        f"model.hidden_size must be at least 1, got 0 ({first}:2)",
        f"model.cell must be one of 'rnn', 'gru', 'lstm', got 5 ({second}:4)",
    ]


def test_a_path_in_a_file_is_relative_to_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "deep" / "a.yaml", "corpus: {path: [text.txt, ../b.txt, /abs.txt, '-']}")
    write(tmp_path / "deep" / "one.yaml", "corpus: {path: text.txt}")
    monkeypatch.chdir(tmp_path)
    deep = tmp_path / "deep"
    assert load_settings("deep/a.yaml").corpus.path == (str(deep / "text.txt"), str(deep / "../b.txt"), "/abs.txt", "-")
    assert load_settings("deep/one.yaml").corpus.path == (str(deep / "text.txt"),)


@pytest.mark.parametrize("override", ["corpus.path=text.txt", "corpus={path: text.txt}", "corpus.path=[text.txt]"])
def test_a_path_on_the_command_line_is_relative_to_the_working_folder(
    override: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(overrides=[override]).corpus.path == (str(tmp_path / "text.txt"),)
    layer = keyed_layer(("corpus", "path"), ["text.txt"], "--corpus")
    assert load_settings(layers=[layer]).corpus.path == (str(tmp_path / "text.txt"),)


def test_the_home_folder_is_expanded_and_other_tildes_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    found = load_settings(overrides=["corpus.path=['~/a.txt', '~draft-of-nobody.txt']"]).corpus.path
    assert found == ("/home/me/a.txt", str(tmp_path / "~draft-of-nobody.txt"))


@pytest.mark.parametrize(
    ("earlier", "later", "name", "paths"),
    [
        ("name: lyrics", "path: /a.txt", None, ("/a.txt",)),
        ("path: /a.txt", "name: lyrics", "lyrics", None),
        ("path: /a.txt", "path: /b.txt", None, ("/b.txt",)),
        ("path: [/a.txt, /b.txt]", "path: [/c.txt]", None, ("/c.txt",)),
        ("path: /a.txt", "max_chars: 5", None, ("/a.txt",)),
        ("path: /a.txt", "path: null", "stories", None),
    ],
)
def test_a_later_corpus_replaces_an_earlier_one(
    earlier: str, later: str, name: str | None, paths: tuple[str, ...] | None, tmp_path: Path
) -> None:
    files = [write(tmp_path / f"{number}.yaml", f"corpus: {{{text}}}") for number, text in enumerate([earlier, later])]
    corpus = load_settings(*files).corpus
    assert (corpus.name, corpus.path) == (name, paths)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [("{epochs: 2}", "{steps: 5}"), ("3", "{steps: 5}"), ("{epochs: 2}", "5"), ("{steps: 3}", "5")],
)
@pytest.mark.parametrize("key", ["train.eval_every", "sample.every", "optimizer.schedule.every"])
def test_a_later_period_replaces_an_earlier_one(key: str, earlier: str, later: str) -> None:
    value: Any = load_settings(overrides=["optimizer.schedule.method=step", f"{key}={earlier}", f"{key}={later}"])
    for name in key.split("."):
        value = getattr(value, name)
    assert value == Period(steps=5)


def test_without_anything_the_quick_start_is_loaded() -> None:
    assert load_settings() == load_settings("quickstart") == check_layer(shipped_layer("quickstart"))
    assert load_settings().corpus.name == "stories"


def test_overrides_alone_change_the_quick_start_and_a_corpus_replaces_it() -> None:
    prefixes = load_settings().sample.prefixes
    assert prefixes
    assert load_settings(overrides=["model.hidden_size=8"]).sample.prefixes == prefixes
    for override in ("corpus.name=lyrics", "corpus.path=a.txt"):
        assert load_settings(overrides=[override]).sample.prefixes is None


def test_a_file_without_a_corpus_gets_the_default_corpus_and_nothing_from_the_quick_start(tmp_path: Path) -> None:
    file = write(tmp_path / "empty.yaml", "# nothing\n")
    assert load_settings(file) == Settings()


def test_a_file_in_the_working_folder_wins_over_a_bundled_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "quickstart", "model: {hidden_size: 7}")
    assert load_settings("quickstart").model.hidden_size == 7


def test_a_byte_order_mark_is_not_part_of_a_configuration(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"\xef\xbb\xbfmodel: {hidden_size: 7}")
    assert load_settings(file).model.hidden_size == 7


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (
            "nowhere.yaml",
            "cannot read the configuration nowhere.yaml: no such file or directory; the bundled ones are ",
        ),
        ("x" * 5000, r"cannot read the configuration x+\.\.\.x+: file name too long"),
        (".", r"cannot read the configuration \.: is a directory"),
        ("latin.yaml", r"latin\.yaml: not UTF-8 text \(byte 2\)"),
        ("list.yaml", r"list\.yaml:2: a configuration is a mapping of sections such as model:"),
    ],
)
def test_a_configuration_that_cannot_be_read_says_why(
    name: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"# \xe9\n")
    write(tmp_path / "list.yaml", "# a list\n- 1\n")
    with pytest.raises(ConfigError, match=f"^{problem}") as caught:
        load_settings(name)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("depth", [17, 100_000])
def test_an_override_of_endless_depth_is_an_unknown_key(depth: int) -> None:
    with pytest.raises(ConfigError, match=r"^unknown key a\.a\.a\.") as caught:
        load_settings(overrides=[".".join("a" * depth) + "=1"])
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("value", ["a\udcff.txt", ["b.txt", "a\udcff.txt"]])
def test_a_file_name_that_cannot_be_written_in_a_configuration_is_refused(value: str | list[str]) -> None:
    with pytest.raises(
        ConfigError, match=r"^--corpus: a\\udcff\.txt is not UTF-8 and cannot be written in a configuration"
    ):
        keyed_layer(("corpus", "path"), value, "--corpus")


def test_a_layer_with_many_places_is_merged_in_linear_time() -> None:
    # Comparing every pair of this many places would take minutes.
    text = "".join(f"key{number}: 1\n" for number in range(5_000))
    below, above = text_layer(text, "a.yaml"), text_layer(text + "model: {cell: gru}", "b.yaml")
    places = merge([below, above]).places
    assert {place.source for path, place in places.items() if path} == {"b.yaml"}
    assert len(places) == 5_003

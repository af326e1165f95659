"""Help texts: an imperative sentence, and examples that work."""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import typer

from charlm.benchmarks import timing
from charlm.cli.main import app
from charlm.sweeps import sweeping
from charlm.sweeps.workers import Workers
from charlm.text import download

STORIES = Path(__file__).parents[2] / "data" / "stories.txt"
SHORT = ("train.max_steps=2", "model.hidden_size=8", "sampling.batch_size=2", "sampling.seq_len=8", "train.threads=1")
EXAMPLE = re.compile(r"(?:^|Example: )\s*(charlm \S.*?)(?:\s{2,}\(.*\))?$", re.MULTILINE)


def commands(group: typer.Typer = app, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield (words, help) for each command."""
    for command in group.registered_commands:
        assert command.callback is not None
        yield (*words, command.name or command.callback.__name__), inspect.getdoc(command.callback) or ""
    for nested in group.registered_groups:
        assert nested.typer_instance is not None
        yield from commands(nested.typer_instance, (*words, str(nested.name)))


ALL = list(commands())
EXAMPLES = [example for _, text in ALL for example in EXAMPLE.findall(text)]


@pytest.mark.parametrize(("words", "text"), ALL, ids=lambda value: "-".join(value) if isinstance(value, tuple) else "")
def test_each_command_has_a_sentence_and_an_example_of_its_own(words, text, charlm_command):
    assert text.split("\n")[0].rstrip().endswith((".", "all."))
    examples = EXAMPLE.findall(text)
    assert examples
    assert all(example.startswith(" ".join(("charlm", *words))) for example in examples)
    shown = charlm_command(*words, "--help")
    assert shown.exit_code == 0
    assert shown.stdout.strip()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, corpus_text, charlm_command):
    """Return a folder with the files and the runs that the examples speak of; nobody may change it."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("poems.txt", "other.txt"):
            Path(name).write_text(corpus_text, encoding="utf-8")
        Path("my.yaml").write_text("model: {cell: gru}\n", encoding="utf-8")
        Path("my-sweep.yaml").write_text("space: {model.cell: [rnn, gru]}\n", encoding="utf-8")
        # The beginning of the default corpus: the examples ask for its symbols.
        Path("stories.txt").write_text(STORIES.read_text(encoding="utf-8")[:6_000], encoding="utf-8")
        shortened = ["--corpus=stories.txt", *(f"--set={setting}" for setting in SHORT)]
        for name, more in (("my-lyrics", []), ("newest", ["--set", "model.direction=bidirectional"])):
            assert charlm_command("train", "--run", name, *shortened, *more).exit_code == 0
    return folder


@pytest.fixture
def _folder_with_runs(tmp_path, monkeypatch, prepared):
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    # Nothing is downloaded here: that has tests of its own.
    monkeypatch.setattr(download, "fetch_corpus", lambda corpus, **_: Path(corpus.name))
    monkeypatch.setattr(sweeping, "local_workers", lambda _: Workers(lambda: ThreadPoolExecutor(1), 1))
    # A benchmark measures one item a turn.
    for name in ("SECONDS_A_TURN", "SECONDS_TO_WARM_UP"):
        monkeypatch.setattr(timing, name, 0.0)


@pytest.mark.usefixtures("_folder_with_runs")
@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_works(example, charlm_command):
    arguments = shlex.split(example)[1:]
    if arguments[0] == "train":
        arguments += [f"--set={setting}" for setting in SHORT]
        # The default corpus takes seconds to be counted for its baselines: once is enough.
        arguments += ["--set=eval.baselines=false", "--set=corpus.max_chars=20000"] if "--seeds" in arguments else []
        if "--resume" not in arguments:
            arguments = ["another" if argument == "my-lyrics" else argument for argument in arguments]
    if arguments[0] == "sweep":
        # What the sweep varies it does not let others set.
        shorter = (*SHORT, "eval.baselines=false", "corpus.max_chars=20000")
        arguments += [f"--set={setting}" for setting in shorter if "hidden_size" not in setting]
    if arguments[0] == "bench":
        arguments += ["--rounds", "1", "--seq-len", "4", "--batch-size", "2"]
    if arguments[:2] == ["config", "init"]:
        Path("my.yaml").unlink()
    result = charlm_command(*arguments)
    assert result.exit_code == 0, result.stderr

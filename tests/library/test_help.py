"""The `help()` of every public function is enough to use it, and its example works as shown."""

from __future__ import annotations

import doctest
import inspect
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import typer

import charlm
from charlm.library.models import Model
from charlm.library.training import train
from charlm.runs.run import Run
from charlm.settings.schema import Settings

FUNCTIONS = [name for name in charlm.__all__ if inspect.isfunction(getattr(charlm, name))]
SWEEP = "base: base.yaml\nname: tiny\nspace:\n  model.cell: [rnn, gru]\n"


@pytest.fixture(scope="module")
def both_ways(tiny_settings: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Train a bidirectional run."""
    return train(
        tiny_settings("model.direction=bidirectional"), name="both-ways", runs_dir=tmp_path_factory.mktemp("b")
    )


@pytest.fixture
def _in_a_folder(
    trained: Run,
    both_ways: Run,
    listed: Run,
    corpus_file: Path,
    write_sweep: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    _in_threads: None,
) -> Iterator[None]:
    """Work in a folder with the runs and files that the examples mention."""
    shutil.copytree(trained.path, tmp_path / "runs" / "my-run")
    shutil.copytree(both_ways.path, tmp_path / "runs" / "both-ways")
    shutil.copytree(listed.path, tmp_path / "runs" / "list")
    shutil.copy(corpus_file, tmp_path / "mine.txt")
    write_sweep(SWEEP, "train.max_steps=2").rename(tmp_path / "tiny.yaml")
    monkeypatch.chdir(tmp_path)
    return


@pytest.mark.parametrize("name", [*FUNCTIONS, "Model"])
@pytest.mark.usefixtures("_in_a_folder")
def test_the_example_of_a_function_works_as_shown(name: str) -> None:
    shown = Model if name == "Model" else getattr(charlm, name)
    examples = doctest.DocTestFinder(recurse=False).find(shown, name, globs={"charlm": charlm, "torch": torch})
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    said: list[str] = []
    for example in examples:
        runner.run(example, out=said.append)
    assert runner.summarize(verbose=False).attempted > 0
    assert not said, "".join(said)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_and_every_error_is_documented(name: str) -> None:
    function = getattr(charlm, name)
    told = inspect.getdoc(function) or ""
    arguments = told.partition("Args:\n")[2]
    for argument in inspect.signature(function).parameters:
        assert f"\n    {argument}: " in f"\n{arguments}", argument
    assert "Raises:\n" in told
    assert "Example:\n" in told


def test_public_modules_and_names_are_what_dir_shows() -> None:
    assert dir(charlm) == charlm.__all__
    assert charlm.cells.rnn_cell(*map(torch.ones, [(1, 2), (1, 1), (1, 2), (1, 1), (1,), (1,)])).shape == (1, 1)
    assert issubclass(charlm.errors.TextError, charlm.errors.CharlmError)
    assert (Path(charlm.__file__).parent / "py.typed").is_file()


def test_a_model_is_shown_in_one_short_line(trained: Run) -> None:
    assert len(repr(charlm.open_run(trained))) < 200


def test_the_methods_of_a_model_are_the_functions(trained: Run) -> None:
    model = charlm.open_run(trained)
    assert model.generate("the ", length=9, seed=3) == charlm.generate(trained, "the ", length=9, seed=3)
    assert list(model.score("the cat")) == list(charlm.score(trained, "the cat"))
    assert model.evaluate(split="val") == charlm.evaluate(str(trained.path), split="val")
    assert (model.summary(), model.metrics()) == (trained.summary(), trained.metrics())


def test_the_pieces_of_a_stream_are_the_text(trained: Run) -> None:
    pieces = list(charlm.stream(trained, "the ", length=30, seed=5, top_k=4))
    assert (pieces[0], {len(piece) for piece in pieces[1:]}) == ("the ", {1})
    assert "".join(pieces) == charlm.generate(trained, "the ", length=30, seed=5, top_k=4)[0]


def test_sampling_filters_are_given_once(trained: Run) -> None:
    from charlm.generation.filters import Filters

    with pytest.raises(charlm.errors.ConfigError, match="either filters, or temperature"):
        charlm.generate(trained, "the ", filters=Filters(), temperature=0.5)
    singly = charlm.generate(trained, "the ", length=30, temperature=1.5, top_k=5, top_p=0.9, min_p=0.05)
    assert singly == charlm.generate(trained, "the ", length=30, filters=Filters(1.5, 5, 0.9, 0.05))


@pytest.mark.parametrize("direction", ["forward", "backward", "bidirectional", "leaky"])
def test_a_network_without_a_given_state_starts_from_the_initial_one(
    tiny_settings: Callable[..., Settings], direction: str
) -> None:
    from charlm.networks.building import build_model

    settings = tiny_settings(f"model.direction={direction}").model
    network = build_model(settings, 7, seed=0, device="cpu")
    ids = torch.arange(12).reshape(4, 3) % 7
    if direction == "bidirectional":
        states = network.initial_state(3), network.backward_half.initial_state(3)
        assert torch.equal(network(ids, ids)[0].both, network(ids, ids, *states)[0].both)
    else:
        assert torch.equal(network(ids)[0], network(ids, network.initial_state(3))[0])


@pytest.mark.parametrize(("progress", "is_shown"), [(None, False), (True, True), (False, False)])
def test_progress_is_shown_where_it_is_requested(
    tiny_settings: Callable[..., Settings],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    progress: bool | None,
    is_shown: bool,
) -> None:
    train(tiny_settings("train.max_steps=2"), name="run", runs_dir=str(tmp_path), progress=progress)
    told = capsys.readouterr()
    assert (told.out, "perplexity" in told.err) == ("", is_shown)


def test_a_notebook_shows_progress(
    tiny_settings: Callable[..., Settings],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ipykernel", typer)
    train(tiny_settings("train.max_steps=2"), name="run", runs_dir=tmp_path)
    assert "perplexity" in capsys.readouterr().err


def test_a_stop_does_not_become_a_space_where_a_corpus_has_letters_only(
    tiny_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    run = train(tiny_settings("corpus.clean=letters", "train.max_steps=2"), name="letters", runs_dir=tmp_path)
    with pytest.raises(charlm.errors.TextError, match=r"no text can end before the stop '\.'"):
        charlm.generate(run, "the ", stops=["."])
    (whole,), (cut,) = (charlm.generate(run, "the ", length=40, seed=1, stops=stops) for stops in ([], ["T"]))
    # Cleaned as the corpus was: a capital becomes a small letter.
    assert cut == whole[: whole.index("t", 4)]

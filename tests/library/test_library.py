"""The package as a library: six lines of Python do what the command line does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import run_code
from typer.testing import Result

import charlm
from charlm.errors import ConfigError, RunError, StoppedError, TextError
from charlm.generation.filters import Filters
from charlm.runs.run import Run
from charlm.settings.schema import Settings
from charlm.training.events import End, Start, Step, TrainingEvent

Charlm = Callable[..., Result]


def test_six_lines_train_measure_and_write_as_the_command_line_does(
    tmp_path: Path, tiny_options: list[str], tiny_settings: Callable[..., Settings], charlm_command: Charlm
) -> None:
    settings = tiny_settings()
    run = charlm.train(settings, name="six", runs_dir=tmp_path)
    model = charlm.open_run(run)
    figures = charlm.evaluate(model)
    (text,) = charlm.generate(model, "the ", length=50, seed=3)

    where = f"--runs-dir={tmp_path}"
    trained = json.loads(charlm_command("train", *tiny_options, where, "--run=again", "--json").stdout)
    assert trained["test_nats_per_char"] == figures.main.nats_per_char
    evaluated = json.loads(charlm_command("eval", "--run=six", where, "--json").stdout)
    assert evaluated["nats"] == figures.main.nats
    written = charlm_command("generate", "--run=six", where, "--prefix=the ", "--length=50", "--seed=3")
    assert written.stdout == text + "\n"
    assert (text[:4], len(text)) == ("the ", 54)


@pytest.mark.parametrize("seed", [0, 1, 7])
@pytest.mark.parametrize(
    ("filters", "options"),
    [
        (Filters(temperature=0.8), ()),
        (Filters(temperature=0.0), ("--temperature=0",)),
        (
            Filters(temperature=1.5, top_k=5, top_p=0.9, min_p=0.05),
            ("--temperature=1.5", "--top-k=5", "--top-p=0.9", "--min-p=0.05"),
        ),
    ],
)
def test_generate_gives_the_command_lines_texts_for_the_same_seed(
    trained: Run, charlm_command: Charlm, seed: int, filters: Filters, options: tuple[str, ...]
) -> None:
    texts = list(charlm.generate(trained, "a ", length=30, num_samples=3, seed=seed, filters=filters, stops=["."]))
    arguments = ["generate", f"--run={trained.path}", "--prefix=a ", "--length=30", f"--seed={seed}", *options]
    result = charlm_command(*arguments, "--num-samples=3", "--stop=.", "--json")
    assert [json.loads(line)["text"] for line in result.stdout.splitlines()] == texts


def test_reports_are_observed_in_order(tmp_path: Path, tiny_settings: Callable[..., Settings]) -> None:
    reports: list[TrainingEvent] = []
    run = charlm.train(tiny_settings("train.max_steps=2"), runs_dir=tmp_path, observe=reports.append)
    assert isinstance(reports[0], Start)
    assert isinstance(reports[-1], End)
    assert reports[0].run == reports[-1].run == run.path


def test_a_run_is_resumed_by_its_name_or_as_the_newest_unfinished_one(
    tmp_path: Path, tiny_settings: Callable[..., Settings]
) -> None:
    for name in ("old", "new", "done"):
        settings = tiny_settings(f"train.max_steps={2 if name == 'done' else 12}")
        for report in charlm.train_reports(settings, name=name, runs_dir=tmp_path):
            if isinstance(report, Step) and report.step == 3:
                break
    reports: list[TrainingEvent] = []
    run = charlm.train(runs_dir=tmp_path, resume=True, overrides=["train.max_steps=7"], observe=reports.append)
    assert run.name == "new"
    assert isinstance(reports[0], Start)
    assert reports[0].resumed_at == 0
    assert (run.settings().train.max_steps, run.summary()["steps"]) == (7, 7)
    # It is finished now, so the one before it is the newest unfinished run.
    assert charlm.train(runs_dir=tmp_path, resume=True).name == "old"
    with pytest.raises(RunError, match="there is no unfinished run"):
        charlm.train(runs_dir=tmp_path, resume=True)
    assert charlm.train(name="done", runs_dir=tmp_path, resume=True).summary()["steps"] == 2
    again = charlm.train(name="done", runs_dir=tmp_path, resume=True, overrides=["train.max_steps=4"])
    assert again.summary()["steps"] == 4


def test_resuming_a_run_that_does_not_exist_starts_it(tmp_path: Path, tiny_settings: Callable[..., Settings]) -> None:
    run = charlm.train(tiny_settings(), name="fresh", runs_dir=tmp_path, resume=True)
    plain = charlm.train(tiny_settings(), name="plain", runs_dir=tmp_path)
    assert [path.name for path in run.checkpoint_paths()] == [path.name for path in plain.checkpoint_paths()]
    assert not (run.path / "resumes.jsonl").exists()
    with pytest.raises(ConfigError, match="exists already"):
        charlm.train(tiny_settings(), name="fresh", runs_dir=tmp_path)


@pytest.mark.parametrize(("word", "code"), [("interrupt", 130), ("terminate", 143)])
def test_a_stop_request_before_anything_is_written_leaves_nothing(
    tmp_path: Path, tiny_settings: Callable[..., Settings], word: str, code: int
) -> None:
    with pytest.raises(StoppedError, match="stopped before anything was written") as raised:
        list(charlm.train_reports(tiny_settings(), name="run", runs_dir=tmp_path, should_stop=lambda: word))
    assert raised.value.exit_code == code
    assert list(tmp_path.iterdir()) == []


def test_a_name_is_refused_before_the_corpus_is_read(tmp_path: Path) -> None:
    settings = charlm.load_settings(overrides=["corpus.path=absent.txt"])
    with pytest.raises(ConfigError, match="cannot name a run"):
        charlm.train(settings, name="../mine", runs_dir=tmp_path)


def test_a_model_measures_other_files_one_after_another(trained: Run, tmp_path: Path, corpus_text: str) -> None:
    end = corpus_text.index("\n", 100)
    # The last line of the first file has no line end, so one is added.
    for name, text in (
        ("a.txt", corpus_text[:end]),
        ("b.txt", corpus_text[end + 1 : 300]),
        ("c.txt", corpus_text[:300]),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
    calls: list[tuple[int, int]] = []
    parts = charlm.evaluate(trained, files=[tmp_path / "a.txt", tmp_path / "b.txt"])
    whole = charlm.evaluate(trained, files=[tmp_path / "c.txt"], report=lambda done, total: calls.append((done, total)))
    assert parts == whole
    assert whole.main.num_predicted == 299
    assert calls[-1] == (299, 299)


@pytest.mark.parametrize("choice", ["best", "last", 60])
def test_a_checkpoint_can_be_chosen(trained: Run, choice: str | int) -> None:
    model = charlm.open_run(trained, checkpoint=choice)  # pyright: ignore[reportArgumentType]
    assert (model.run, model.checkpoint.step) == (trained, 60)


def test_a_device_this_machine_does_not_have_is_refused(trained: Run) -> None:
    for device in ("tpu", "vulkan", "cuda:x", "", "cpu\n", "cuda:99"):
        with pytest.raises(ConfigError, match=r"device"):
            charlm.open_run(trained, device=device)


@pytest.mark.parametrize(
    ("prefix", "message"),
    [("", "the prefix is empty"), ("é", r"the prefix has 1 character .*'é' \(U\+00E9\) at position 0")],
)
def test_a_prefix_that_cannot_be_read_is_refused(trained: Run, prefix: str, message: str) -> None:
    with pytest.raises(TextError, match=message):
        list(charlm.generate(trained, prefix))


@pytest.mark.parametrize("call", [charlm.evaluate, lambda run: list(charlm.generate(run, "a"))])
def test_a_run_without_a_checkpoint_cannot_be_used(tmp_path: Path, call: Callable[[Run], object]) -> None:
    with pytest.raises(RunError, match="has no checkpoint yet"):
        call(Run(tmp_path))


def test_an_unknown_split_is_refused_by_name(trained: Run) -> None:
    with pytest.raises(ConfigError, match=r"'validation': it must be one of train, val, test"):
        charlm.evaluate(trained, split="validation")


def test_importing_the_package_does_not_import_torch() -> None:
    script = "import sys, charlm; sys.exit('torch' in sys.modules or not charlm.__version__)"
    assert run_code(script, is_cold=True).exit_code == 0


@pytest.mark.parametrize("name", charlm.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(charlm, name)
    assert name in dir(charlm)


def test_a_name_the_package_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'fit'"):
        charlm.fit  # noqa: B018 # pyright: ignore[reportAttributeAccessIssue]

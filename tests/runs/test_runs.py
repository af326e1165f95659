"""Runs on disk: their names and places, how one is found, and records that survive a crash."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from charlm.errors import ConfigError, RunError, StorageError
from charlm.library.models import open_run
from charlm.library.training import train
from charlm.runs.checkpoints import Checkpoint, CheckpointState, write_checkpoint
from charlm.runs.creation import check_new_name, check_run_name, create_run
from charlm.runs.durable import append_lines
from charlm.runs.facts import Environment, Machine
from charlm.runs.json_records import json_line
from charlm.runs.ownership import take_ownership
from charlm.runs.rates import Rates
from charlm.runs.records import EvaluationLine, Sample, SampleTable, Summary
from charlm.runs.run import Run, find_run, find_unfinished, list_runs, runs_folder
from charlm.runs.writer import RunWriter
from charlm.settings.schema import Settings
from charlm.text.vocabulary import Vocabulary

FACTS = Environment(corpus="stories", corpus_sha256="0" * 64, num_parameters=10, machine=Machine())
CLOCK = {"seconds": 1.0, "chars_per_second": 10.0}
EVALUATION = EvaluationLine(
    kind="evaluation",
    step=5,
    epoch=1,
    chars_seen=10,
    learning_rate=0.1,
    gradient_norm=0.1,
    epoch_seconds=None,
    last_epoch=None,
    recent=None,
    train=None,
    val=None,
    **CLOCK,
)
SUMMARY = Summary(
    kind="end",
    run="run",
    stopped_by="epochs",
    steps=5,
    epochs=1,
    best_step=5,
    direction="forward",
    train=None,
    val=None,
    test=None,
    **CLOCK,
)


def new_run(folder: Path, name: str | None = None, settings: Settings | None = None) -> Run:
    """Create a run that nobody owns."""
    run, ownership = create_run(settings or Settings(), FACTS, folder=folder, name=name)
    ownership.release()
    return run


def tree(folder: Path) -> dict[str, bytes | None]:
    """Return everything in a folder, with the contents of its files."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def add_checkpoint(run: Run, step: int, *, modified: int) -> None:
    """Save a small checkpoint, and set the time at which it was finished."""
    empty = {"none": np.zeros(0, np.float32)}
    settings, vocabulary = run.settings(), Vocabulary("ab")
    state = CheckpointState(
        val_nats_per_char=None,
        progress={},
        recorded_until=step,
        seconds=0.0,
        fingerprint=None,
        corpus_sha256=None,
        split=None,
        step=step,
    )
    path = write_checkpoint(run, Checkpoint(step, settings, vocabulary, empty, empty, state))
    os.utime(path, (modified, modified))


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", ".hidden", "-run", "_a", "a/b", "../a", "/tmp/a", "a\\b", "a b", "a\n", "a\0b", "é", "C:"),
        *("a" * 101, "~", "~root", "a\u202eb", "a\x1b[31m", "*", "$HOME", "١"),
    ],
    ids=ascii,
)
def test_a_name_that_is_not_one_plain_word_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a run"):
        check_run_name(name)
    with pytest.raises(ConfigError, match="cannot name a run"):
        check_new_name(name, tmp_path)
    with pytest.raises(ConfigError, match="cannot name a run"):
        create_run(Settings(), FACTS, folder=tmp_path, name=name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a", "3", "a.b-c_d", "a..b", "con.", "20250101-120000-lstm-256", "a" * 100])
def test_a_plain_word_names_a_run(tmp_path: Path, name: str) -> None:
    assert new_run(tmp_path, name).path == tmp_path / name


@pytest.mark.parametrize("kind", ["run", "folder", "file", "link", "dangling link"])
def test_nothing_that_exists_is_overwritten(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mine"
    if kind == "run":
        new_run(tmp_path, "mine")
    elif kind == "folder":
        path.mkdir()
    elif kind == "file":
        path.write_text("mine")
    else:
        path.symlink_to(tmp_path / "elsewhere")
    if kind == "link":
        (tmp_path / "elsewhere").mkdir()
    before = tree(tmp_path)
    with pytest.raises(ConfigError, match="exists already and is never overwritten"):
        check_new_name("mine", tmp_path)
    with pytest.raises(ConfigError, match="exists already and is never overwritten"):
        create_run(Settings(), FACTS, folder=tmp_path, name="mine")
    assert tree(tmp_path) == before


def test_runs_without_a_name_get_different_ones(tmp_path: Path) -> None:
    names = {new_run(tmp_path).name for _ in range(5)}
    assert len(names) == 5
    assert all("-lstm-256" in name for name in names)


def test_a_new_run_has_its_configuration_and_environment(
    tmp_path: Path, tiny_settings: Callable[..., Settings]
) -> None:
    settings = tiny_settings("model.cell=gru")
    run = new_run(tmp_path, "run", settings)
    assert run.settings() == settings
    assert run.environment() == FACTS


@pytest.mark.parametrize("num_syncs", range(7))
def test_a_full_disk_at_creation_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_syncs: int
) -> None:
    outcomes = iter([None] * num_syncs)

    def sync(descriptor: int) -> None:
        del descriptor
        if next(outcomes, errno.ENOSPC) == errno.ENOSPC:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(StorageError, match="no space left on device"):
        create_run(Settings(), FACTS, folder=tmp_path / "runs", name="run")
    assert not (tmp_path / "runs" / "run").exists()


def test_a_runs_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="not a directory"):
        create_run(Settings(), FACTS, folder=tmp_path / "file", name="run")


def test_the_given_folder_wins_over_the_environment_and_that_over_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runs_folder() == Path("runs")
    monkeypatch.setenv("CHARLM_RUNS_DIR", "")
    assert runs_folder() == Path("runs")
    monkeypatch.setenv("CHARLM_RUNS_DIR", str(tmp_path))
    assert runs_folder() == tmp_path
    assert runs_folder(Path("given")) == Path("given")


def test_a_run_trained_under_charlm_runs_dir_is_opened_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_settings: Callable[..., Settings]
) -> None:
    monkeypatch.setenv("CHARLM_RUNS_DIR", str(tmp_path / "elsewhere"))
    run = train(tiny_settings("train.max_steps=1"), name="run")
    assert run.path == tmp_path / "elsewhere" / "run"
    assert open_run().run == open_run("run").run == open_run(run.path).run == run


def test_a_run_is_found_by_name_and_by_path_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = new_run(tmp_path / "runs", "run")
    monkeypatch.chdir(tmp_path)
    assert find_run("run", folder=tmp_path / "runs") == run
    assert find_run(str(run.path), folder=Path("nowhere")) == run
    assert find_run("runs/run", folder=Path("nowhere")).path.resolve() == run.path


@pytest.mark.parametrize("name", ["absent", "", "runs", "."])
def test_a_missing_run_is_refused_with_a_list_of_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    new_run(tmp_path, "present")
    with pytest.raises(RunError, match=r"there is no run .*; the newest there: present$"):
        find_run(name, folder=tmp_path)


def test_without_a_name_the_run_with_the_newest_checkpoint_is_found(tmp_path: Path) -> None:
    runs = [new_run(tmp_path, name) for name in ("b", "a", "c", "newest")]
    add_checkpoint(runs[0], 1, modified=100)
    add_checkpoint(runs[1], 1, modified=300)
    add_checkpoint(runs[2], 9, modified=200)
    assert find_run(None, folder=tmp_path) == runs[1]
    add_checkpoint(runs[0], 2, modified=400)
    assert find_run(None, folder=tmp_path) == runs[0]


@pytest.mark.parametrize("exists", [True, False])
def test_without_any_checkpoint_the_message_says_how_to_get_one(tmp_path: Path, exists: bool) -> None:
    if exists:
        new_run(tmp_path, "begun")
    with pytest.raises(RunError, match=r"no run with a checkpoint in .*: `charlm train` makes one"):
        find_run(None, folder=tmp_path if exists else tmp_path / "absent")


def test_runs_are_listed_by_age(tmp_path: Path) -> None:
    for age, name in enumerate(["c", "a", "b"]):
        run = new_run(tmp_path, name)
        os.utime(run.path / "config.yaml", (1000 + age, 1000 + age))
    (tmp_path / "stranger").mkdir()
    (tmp_path / "file").write_text("")
    assert [run.name for run in list_runs(tmp_path)] == ["c", "a", "b"]


@pytest.mark.parametrize("text", ["plain", "分开\u2028\u0085\u2029\x0b\x0c\x1c\r\n\t", "😀" * 3])
def test_records_are_read_back_and_one_cut_off_at_any_byte_is_left_out(tmp_path: Path, text: str) -> None:
    run = Run(tmp_path)
    sample = Sample(prefix=text, continuation=text)
    records = [SampleTable(step=step, epoch=0, samples=(sample,)) for step in range(3)]
    writer = RunWriter(run, take_ownership(tmp_path))
    for record in records:
        writer.record_samples(record)
    assert run.samples() == []
    writer.flush()
    writer.close()
    assert run.samples() == records
    path = tmp_path / "samples.jsonl"
    content = path.read_bytes()
    start_of_last = len(b"".join(content.splitlines(keepends=True)[:2]))
    for length in range(start_of_last, len(content) - 1):
        path.write_bytes(content[:length])
        assert run.samples() == records[:2]


def test_a_run_without_records_has_none(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert (run.metrics(), run.samples(), run.summary()) == ([], [], None)


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe", b"[]", b"{}", b"[" * 9_000])
def test_a_missing_or_damaged_environment_is_a_run_error(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "environment.json").write_bytes(content)
    with pytest.raises(RunError, match=r"environment\.json"):
        Run(tmp_path).environment()


def test_the_overview_has_a_runs_closing_results(trained: Run) -> None:
    overview, end = trained.overview(), trained.metrics()[-1]
    assert end["kind"] == "end"
    assert trained.summary() == end
    figures = {key: overview[key] for key in ("train_perplexity", "val_bpc", "test_bpc", "num_parameters", "steps")}
    assert figures == {key: end[key] for key in figures}
    assert (overview["name"], overview["state"], overview["model"]) == ("trained", "max_steps", "lstm 1x8")
    assert overview["best_val_bpc"] == min(record["val_bpc"] for record in trained.metrics()[:-1])
    assert overview["corpus"].endswith("corpus.txt")


def test_the_overview_says_whether_a_run_is_running_or_unfinished(tmp_path: Path) -> None:
    run, ownership = create_run(Settings(), FACTS, folder=tmp_path, name="run")
    assert run.overview()["state"] == "running"
    ownership.release()
    assert run.overview()["state"] == "unfinished"
    assert (run.overview()["steps"], run.overview()["best_val_bpc"]) == (0, None)
    add_checkpoint(run, 5, modified=100)
    for step, bits in ((5, 2.5), (6, 2.75), (7, None)):
        val = bits and Rates(bpc=bits, perplexity=2**bits, chars=9)
        append_lines(run.path / "metrics.jsonl", [json_line(replace(EVALUATION, step=step, val=val))])
    overview = run.overview()
    assert (overview["state"], overview["steps"], overview["best_val_bpc"]) == ("unfinished", 7, 2.5)
    assert json.dumps(dict(overview))


def test_a_run_whose_lease_names_no_owner_counts_as_running(tmp_path: Path) -> None:
    run = new_run(tmp_path, "run")
    (run.path / ".lease-000001").write_bytes(b"")
    assert run.overview()["state"] == "running"


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_records_that_are_not_a_regular_file_are_a_run_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "metrics.jsonl"
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        (tmp_path / "other").write_text("{}\n")
        path.symlink_to(tmp_path / "other")
    else:
        os.mkfifo(path)
    with pytest.raises(RunError, match=r"metrics\.jsonl"):
        Run(tmp_path).metrics()


def test_the_newest_run_that_has_not_ended_is_the_one_to_resume(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no unfinished run in "):
        find_unfinished(tmp_path)
    runs = [new_run(tmp_path, name) for name in ("ended", "older", "newer", "begun")]
    os.utime(runs[3].path / "config.yaml", (50, 50))
    for run, age in zip(runs, (400, 100, 200), strict=False):
        add_checkpoint(run, 1, modified=age)
    append_lines(runs[0].path / "metrics.jsonl", [json_line(SUMMARY)])
    assert find_unfinished(tmp_path) == runs[2]
    append_lines(runs[2].path / "metrics.jsonl", [json_line(SUMMARY)])
    assert find_unfinished(tmp_path) == runs[1]

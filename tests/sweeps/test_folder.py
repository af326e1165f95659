"""A sweep's folder: what it may be, what is written in it, and which lines the ledger accepts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from charlm.errors import ConfigError, RunInUseError, StorageError
from charlm.runs.ownership import take_ownership
from charlm.runs.run import Run
from charlm.settings.loading import dump_settings
from charlm.sweeps import folder as folders
from charlm.sweeps import ledger as ledgers
from charlm.sweeps.folder import DEFINITION, own_folder
from charlm.sweeps.ledger import LEDGER, Ledger
from charlm.sweeps.plan import Plan
from charlm.sweeps.sweep_file import read_plan
from charlm.sweeps.tasks import Outcome

REACHED = {
    "kind": "outcome",
    "trial": "one",
    "rung": None,
    "status": "reached",
    "reason": None,
    "exit_code": 0,
    "figures": {"val_bpc": 1.5},
    "seconds": 2.5,
}
FAILED = REACHED | {"status": "failed", "reason": "no space left", "exit_code": 6, "figures": {}}
DIVERGED = FAILED | {"reason": "the loss is nan", "exit_code": 5}


@pytest.fixture
def plan(tmp_path: Path, tiny_settings: Callable[..., Any]) -> Callable[[str], Plan]:
    """Return what reads a sweep of some text over tiny settings."""

    def read(text: str) -> Plan:
        (tmp_path / "base.yaml").write_text(dump_settings(tiny_settings("model.num_layers=2")), encoding="utf-8")
        (tmp_path / "sweep.yaml").write_text(f"base: base.yaml\nname: swept\n{text}", encoding="utf-8")
        return read_plan(tmp_path / "sweep.yaml")

    return read


@pytest.fixture
def ledger(tmp_path: Path, trained: Run) -> Callable[..., Ledger]:
    """Return what reads a ledger of some lines, in a folder that has the runs one and two."""
    for name in ("one", "two"):
        (tmp_path / name).symlink_to(trained.path)

    def read(*lines: Any) -> Ledger:
        texts = [line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines]
        (tmp_path / LEDGER).write_text("".join(texts), encoding="utf-8")
        return Ledger(tmp_path)

    return read


# The ledger.


def test_what_was_written_is_read_again_word_for_word(ledger: Callable[..., Ledger], tmp_path: Path) -> None:
    first = ledger()
    reached = Outcome("one", None, "reached", None, 0, {"val_bpc": 1.5, "steps": 9, "warning": "é"}, 2.5)
    at_rung = Outcome("one", 8, "reached", None, 0, {"val_bpc": 2.5}, 1.0)
    diverged = Outcome("two", None, "failed", "the loss is nan", 5, {}, 0.5)
    for outcome in (reached, at_rung, diverged):
        first.add(outcome)
    first.propose({"model.cell": "gru", "corpus.path": "é"})
    for read in (first, Ledger(tmp_path)):
        assert (read.get("one"), read.get("one", 8), read.get("two")) == (reached, at_rung, diverged)
        assert read.get("two", 8) is None
        # A count stays one: a float would be written otherwise.
        assert type(read.get("one").figures["steps"]) is int
        assert read.proposals == [{"model.cell": "gru", "corpus.path": "é"}]
    assert "é" in (tmp_path / LEDGER).read_text(encoding="utf-8")


def test_each_line_is_on_the_disk_before_the_sweep_continues(
    ledger: Callable[..., Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bytes] = []
    monkeypatch.setattr(ledgers, "sync_file", lambda path: synced.append(path.read_bytes()))
    read = ledger()
    read.add(Outcome("one", None, "reached", None, 0, {}, 1.0))
    read.propose({"model.cell": "gru"})
    assert [content.count(b"\n") for content in synced] == [1, 2]


def test_a_cut_trial_is_not_written_down(ledger: Callable[..., Ledger]) -> None:
    read = ledger()
    read.add(Outcome("one", None, "cut", None, 143, {}, 1.0))
    assert read.get("one") is None
    assert read.path.read_bytes() == b""


@pytest.mark.parametrize(
    ("lines", "counts"),
    [
        ([REACHED], True),
        ([DIVERGED], True),
        ([FAILED], False),
        ([REACHED, FAILED], False),
        ([FAILED, REACHED], True),
        ([REACHED | {"trial": "gone"}], False),
        ([REACHED | {"kind": "proposal"}], False),
        ([REACHED | {"status": "cut"}], False),
        ([REACHED | {"status": "cut", "exit_code": 5}], False),
        ([REACHED | {"trial": 1}], False),
        ([REACHED | {"rung": "8"}], False),
        ([REACHED | {"rung": True}], False),
        ([REACHED | {"exit_code": "0"}], False),
        ([REACHED | {"reason": 1}], False),
    ],
)
def test_only_what_would_be_the_same_again_counts(
    ledger: Callable[..., Ledger], lines: list[dict[str, Any]], counts: bool
) -> None:
    read = ledger(*lines)
    names = {str(line["trial"]) for line in lines}
    assert (any(read.get(name, rung) for name in names for rung in (None, 1, 8)) is True) == counts


def test_a_torn_line_is_cut_off_and_the_next_one_is_separate(ledger: Callable[..., Ledger]) -> None:
    read = ledger(REACHED, json.dumps(DIVERGED | {"trial": "two"})[:30])
    assert read.get("one") is not None
    read.add(Outcome("two", None, "reached", None, 0, {}, 1.0))
    lines = [json.loads(line) for line in read.path.read_text(encoding="utf-8").splitlines()]
    assert [line["trial"] for line in lines] == ["one", "two"]


# The folder.


def test_the_folder_records_the_sweeps_definition(tmp_path: Path, plan: Callable[[str], Plan]) -> None:
    text = """
method: random
seeds: 2
space:
  model.cell: [rnn, gru]
  optimizer.learning_rate: {log: [1e-3, 1e-1]}
  size:
    - {model.hidden_size: 4, model.num_layers: 1}
    - {model.hidden_size: 8, model.num_layers: 2}
budget: {num_trials: 3}
"""
    own_folder(tmp_path / "runs", plan(text)).release()
    told = yaml.safe_load((tmp_path / "runs" / DEFINITION).read_text(encoding="utf-8"))
    assert told.pop("base")["model"]["num_layers"] == 2
    assert told == {
        "name": "swept",
        "method": "random",
        "seeds": [0, 1],
        "space": {
            "model.cell": ["rnn", "gru"],
            "optimizer.learning_rate": {"log": [0.001, 0.1]},
            "size": [
                {"model.hidden_size": 4, "model.num_layers": 1},
                {"model.hidden_size": 8, "model.num_layers": 2},
            ],
        },
        "objective": {"metric": "val_bpc", "direction": "minimize"},
        "stop_early": None,
        "budget": {"num_trials": 3, "minutes": None},
    }


def test_the_folder_records_rungs(tmp_path: Path, plan: Callable[[str], Plan]) -> None:
    text = "space:\n  model.cell: [rnn, gru]\nstop_early: {method: halving, rungs: [4, 8], keep: 0.5}\n"
    own_folder(tmp_path / "runs", plan(text)).release()
    told = yaml.safe_load((tmp_path / "runs" / DEFINITION).read_text(encoding="utf-8"))
    assert told["stop_early"] == {"rungs": [4, 8], "keep": 0.5}


@pytest.mark.parametrize(
    "names",
    [(), (".lock",), (".lock", ".lease-000001"), (".lock", ".tmp-sweep.yaml-7-01234567")],
    ids=["empty", "lock", "lease", "draft"],
)
def test_a_folder_that_a_killed_sweep_has_only_begun_is_taken_over(
    tmp_path: Path, plan: Callable[[str], Plan], names: tuple[str, ...]
) -> None:
    (tmp_path / "runs").mkdir()
    for name in names:
        (tmp_path / "runs" / name).touch()
    own_folder(tmp_path / "runs", plan("space:\n  model.cell: [rnn, gru]\n")).release()
    # A leftover draft is removed.
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {".lock", DEFINITION}


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path, plan: Callable[[str], Plan]) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(StorageError, match="cannot write"):
        own_folder(tmp_path / "runs", plan("space:\n  model.cell: [rnn, gru]\n"))


def test_a_run_is_no_sweep(plan: Callable[[str], Plan], trained: Run) -> None:
    with pytest.raises(ConfigError, match="is a run and not a sweep"):
        own_folder(trained.path, plan("space:\n  model.cell: [rnn, gru]\n"))


def test_a_folder_that_cannot_be_written_is_released(
    tmp_path: Path, plan: Callable[[str], Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise StorageError("cannot write it")

    monkeypatch.setattr(folders, "replace_file", fail)
    with pytest.raises(StorageError, match="cannot write it"):
        own_folder(tmp_path / "runs", plan("space:\n  model.cell: [rnn, gru]\n"))
    # No RunInUseError.
    take_ownership(tmp_path / "runs").release()
    monkeypatch.undo()
    ownership = own_folder(tmp_path / "runs", plan("space:\n  model.cell: [rnn, gru]\n"))
    with pytest.raises(RunInUseError):
        own_folder(tmp_path / "runs", plan("space:\n  model.cell: [rnn, gru]\n"))
    ownership.release()

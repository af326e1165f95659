"""`charlm compare`: which runs form a row, what their results are, what cannot be compared, and how it is shown."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import math
import os
import pty
import re
import shutil
import statistics
import struct
import subprocess
import termios
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_results import made_result
from processes import run_code
from prose import taught_text
from pydantic import JsonValue
from typer.testing import Result as Outcome

import charlm
from charlm.console.compared_runs import print_csv, print_markdown
from charlm.errors import ConfigError, RunError
from charlm.evaluation.spread import Spread, spread
from charlm.library.training import train
from charlm.reports.comparison import ASIDE, compare, compare_results
from charlm.reports.run_results import Measured, RunResult, describe_machine, read_result
from charlm.runs.creation import create_run
from charlm.runs.csv_cells import csv_cell
from charlm.runs.facts import Environment
from charlm.runs.json_records import from_json
from charlm.runs.ownership import take_ownership
from charlm.runs.run import Run
from charlm.settings.schema import Settings
from charlm.training.events import Step
from charlm.training.launch import train_reports

Charlm = Callable[..., Outcome]
Process = Callable[..., "subprocess.Popen[bytes]"]
MakeSettings = Callable[..., Settings]
FACTS = {"corpus": "stories", "corpus_sha256": "0" * 64, "num_parameters": 10}
BOLD = re.compile(r"\x1b\[[01]m")
CELLS = ("rnn", "gru")
SHORT = ("train.max_steps=4", "train.eval_every=2", "eval.baselines=false")
RESULT = made_result(
    "a",
    model__dropout=0.0,
    train__threads=1,
    figures={name: Measured(2.0, 99, "v" * 64) for name in ("best_val", "val")},
)


def result(name: str, seed: int = 0, nats: float = 2.0, /, **settings: Any) -> RunResult:
    """Return a made-up result; settings are written `model__dropout`."""
    named = {key.replace("__", "."): value for key, value in settings.items()}
    figures = {figure: replace(measured, nats_per_char=nats) for figure, measured in RESULT.figures.items()}
    values = {**RESULT.settings, "train.seed": seed, **named}
    return replace(RESULT, name=name, seed=seed, settings=values, figures=figures)


def row_names(*results: RunResult) -> list[str]:
    """Return the names of the rows that runs make."""
    return [row.name for row in compare_results(results).rows]


@pytest.fixture(scope="module")
def runs(tiny_settings: MakeSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of runs that nobody may change: two cells with seeds, another split, one cut short."""
    folder = tmp_path_factory.mktemp("compare") / "runs"
    for name, *overrides in (
        *((f"lstm-{seed}", f"train.seed={seed}") for seed in (0, 1, 2)),
        *((f"gru-{seed}", f"train.seed={seed}", "model.cell=gru") for seed in (0, 1)),
        ("split", "corpus.split=80/10/10"),
        ("partly", "eval.max_chars=70"),
        *(
            (f"whole-{cell}", "corpus.split=none", f"model.cell={cell}", "train.max_steps=90")
            for cell in ("rnn", "gru")
        ),
        ("both-ways", "model.direction=bidirectional"),
        ("leaky", "model.direction=leaky"),
    ):
        train(tiny_settings(*SHORT, *overrides), name=name, runs_dir=folder)
    settings = tiny_settings(*SHORT, "train.seed=3", "train.max_steps=40")
    stop: list[str] = []
    for report in train_reports(
        settings, name="cut", runs_dir=folder, should_stop=lambda stop=stop: stop[-1] if stop else None
    ):
        if isinstance(report, Step) and report.step == 5:
            stop.append("interrupt")
    return folder


@pytest.fixture
def records(runs: Path, charlm_command: Charlm) -> Callable[..., dict[str, Any]]:
    """Return a function that compares runs of that folder and returns the JSON object."""

    def read(*names: str) -> dict[str, Any]:
        outcome = charlm_command("compare", *names, "--json", f"--runs-dir={runs}")
        assert (outcome.exit_code, outcome.stderr, outcome.stdout.count("\n")) == (0, "", 1)
        return json.loads(outcome.stdout, parse_constant=pytest.fail)

    return read


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Return the records of a run exactly as in its file."""
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def on_terminal(charlm_process: Process, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that runs `charlm compare` at a terminal width and returns its output, without bold."""

    def run(columns: int, *arguments: str | Path) -> str:
        monkeypatch.setenv("TERM", "xterm-256color")
        # Readline, which pytest loads, puts a width there that os.environ knows nothing of.
        os.unsetenv("COLUMNS")
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        process = charlm_process("compare", *arguments, stdout=slave)
        os.close(slave)
        shown = b"".join(read_until_hung_up(master)).decode()
        os.close(master)
        assert process.wait(timeout=60) == 0
        assert shown.startswith("\x1b[1mrun")
        return BOLD.sub("", shown)

    return run


def read_until_hung_up(master: int) -> Iterator[bytes]:
    """Yield what a terminal shows until its program ends, which Linux tells by an error and macOS by nothing."""
    with suppress(OSError):
        while block := os.read(master, 65536):
            yield block


# Results.


def test_a_row_of_seeds_has_the_mean_and_standard_deviation_of_their_records(
    runs: Path, records: Callable[..., dict[str, Any]]
) -> None:
    (row,) = records("lstm-2", "lstm-0", "lstm-1")["rows"]
    assert (row["name"], row["runs"], row["seeds"]) == ("lstm", ["lstm-0", "lstm-1", "lstm-2"], [0, 1, 2])
    assert (row["state"], row["settings"], row["repeats"]) == ("finished", {}, [])
    files = [lines_of(runs / name) for name in row["runs"]]
    ends = [lines[-1] for lines in files]
    expected = {
        "val_nats_per_char": [end["val_nats_per_char"] for end in ends],
        "test_nats_per_char": [end["test_nats_per_char"] for end in ends],
        "val_bpc": [end["val_bpc"] for end in ends],
        "test_bpc": [end["test_bpc"] for end in ends],
        "best_val_bpc": [min(line["val_bpc"] for line in lines[:-1]) for lines in files],
        "best_val_nats_per_char": [min(line["val_nats_per_char"] for line in lines[:-1]) for lines in files],
        "chars_per_second": [end["chars_per_second"] for end in ends],
        "minutes": [end["seconds"] / 60 for end in ends],
        "steps": [4, 4, 4],
    }
    for key, values in expected.items():
        mean = sum(values) / 3
        deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / 2)
        found = {"mean": pytest.approx(mean, rel=1e-12), "deviation": pytest.approx(deviation, rel=1e-6, abs=1e-12)}
        assert row[key] == {**found, "num_runs": 3}, key
    assert row["val_bpc"]["deviation"] > 0
    assert row["val_bpc"]["mean"] == pytest.approx(row["val_nats_per_char"]["mean"] / math.log(2), rel=1e-12)
    facts = json.loads((runs / "lstm-0" / "environment.json").read_text(encoding="utf-8"))
    hashes = {part: facts["split"][part]["sha256"] for part in ("val", "test")}
    assert {part: row[f"{part}_sha256"] for part in hashes} == hashes
    assert {part: ends[0][f"{part}_sha256"] for part in hashes} == hashes
    assert (row["corpus_sha256"], row["num_parameters"]) == (facts["corpus_sha256"], facts["num_parameters"])
    assert (row["val_chars"], row["test_chars"], row["best_val_chars"]) == (149, 149, 149)
    assert row["machines"] == [describe_machine(from_json(Environment, facts))]


def test_the_cost_of_a_run_is_shown_in_its_own_units(
    tmp_path: Path, runs: Path, records: Callable[..., dict[str, Any]], charlm_command: Charlm
) -> None:
    copied = shutil.copytree(runs / "gru-0", tmp_path / "slow")
    lines = lines_of(copied)
    lines[-1] |= {"seconds": 5430.0, "chars_per_second": 1234.4}
    (copied / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (row,) = records(str(copied))["rows"]
    assert (row["minutes"]["mean"], row["chars_per_second"]["mean"]) == (90.5, 1234.4)
    header, cells = [line.split("\t") for line in charlm_command("compare", copied).stdout.splitlines()]
    shown = dict(zip(header, cells, strict=True))
    assert (shown["minutes"], shown["chars/s"], shown["parameters"]) == ("90.5", "1,234", f"{row['num_parameters']:,}")


def test_a_single_run_shows_no_deviation(runs: Path, records: Callable[..., dict[str, Any]]) -> None:
    found = records("gru-1")
    (row,) = found["rows"]
    assert (row["name"], row["runs"], row["seeds"]) == ("gru-1", ["gru-1"], [1])
    assert row["val_bpc"] == {"mean": lines_of(runs / "gru-1")[-1]["val_bpc"], "deviation": None, "num_runs": 1}
    assert found["warnings"] == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        ([3.5], Spread(3.5, None, 1)),
        ([1.0, 3.0], Spread(2.0, math.sqrt(2), 2)),
        ([2.0, 2.0, 2.0], Spread(2.0, 0.0, 3)),
        ([1.0, 2.0, 3.0, 4.0], Spread(2.5, math.sqrt(5 / 3), 4)),
        ((value for value in (1.0, 2.0)), Spread(1.5, math.sqrt(1 / 2), 2)),
    ],
)
def test_a_spread_is_the_mean_and_standard_deviation_of_a_sample(values: Any, expected: Spread | None) -> None:
    found = spread(values)
    assert (found is None) == (expected is None)
    if found and expected:
        assert (found.mean, found.num_runs) == (expected.mean, expected.num_runs)
        assert found.deviation == (None if expected.deviation is None else pytest.approx(expected.deviation, rel=1e-14))
        if found.num_runs > 1:
            assert found.deviation == pytest.approx(statistics.stdev(list(values) or [1.0, 2.0]), rel=1e-12)


def test_the_best_result_is_the_lowest_of_training_and_the_final_one_the_closing_evaluation(
    tmp_path: Path, runs: Path
) -> None:
    copied = shutil.copytree(runs / "lstm-0", tmp_path / "copied")
    lines = lines_of(copied)
    lines[0] |= {"val_bpc": 1.5, "val_nats_per_char": 1.5 * math.log(2), "val_chars": 20}
    lines[-1] |= {"val_bpc": 1.75, "val_nats_per_char": 1.75 * math.log(2)}
    (copied / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (row,) = compare(copied).rows
    best, final = row.bits("best_val"), row.bits("val")
    assert best
    assert final
    assert (best.mean, final.mean) == (pytest.approx(1.5), pytest.approx(1.75))
    assert row.as_record()["best_val_chars"] == 20


def test_a_run_of_an_older_charlm_has_only_its_bits(tmp_path: Path, runs: Path) -> None:
    copied = shutil.copytree(runs / "lstm-0", tmp_path / "copied")
    end = {key: value for key, value in lines_of(copied)[-1].items() if not key.endswith(("_nats_per_char", "sha256"))}
    (copied / "metrics.jsonl").write_text(json.dumps(end) + "\n", encoding="utf-8")
    (row,) = compare(copied).rows
    nats = row.nats("val")
    assert nats
    assert nats.mean == pytest.approx(end["val_bpc"] * math.log(2), rel=1e-12)
    assert row.as_record()["val_sha256"] == lines_of(runs / "lstm-0")[-1]["val_sha256"]
    assert row.nats("best_val") is None


def test_the_text_of_a_result_is_the_one_that_was_hashed_when_it_was_measured(tmp_path: Path, runs: Path) -> None:
    copied = shutil.copytree(runs / "lstm-0", tmp_path / "copied")
    lines = lines_of(copied)
    lines[-1] |= {"val_sha256": "a" * 64, "test_sha256": "b" * 64}
    (copied / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    row = compare(copied).rows[0].as_record()
    assert (row["val_sha256"], row["test_sha256"]) == ("a" * 64, "b" * 64)


def test_a_bidirectional_model_has_cloze_results_and_those_of_its_forward_half(
    runs: Path, records: Callable[..., dict[str, Any]], charlm_command: Charlm
) -> None:
    found = records("lstm-0", "both-ways")
    forward, both = found["rows"]
    end = lines_of(runs / "both-ways")[-1]
    for part in ("val", "test"):
        assert forward[f"{part}_cloze_bpc"] is None
        assert both[f"{part}_cloze_bpc"]["mean"] == pytest.approx(end[f"{part}_cloze_bpc"], rel=1e-12)
        assert both[f"{part}_bpc"]["mean"] == pytest.approx(end[f"{part}_bpc"], rel=1e-12)
    assert both["settings"]["model.direction"] == "bidirectional"
    assert "val cloze" in charlm_command("compare", "lstm-0", "both-ways", f"--runs-dir={runs}").stdout
    assert "cloze" not in charlm_command("compare", "lstm-0", "gru-0", f"--runs-dir={runs}").stdout


# Which runs form a row.


def test_the_settings_that_differ_are_shown_and_only_those(records: Callable[..., dict[str, Any]]) -> None:
    found = records("lstm-0", "gru-0", "lstm-1", "gru-1", "lstm-2")
    assert [(row["name"], row["seeds"], row["settings"]) for row in found["rows"]] == [
        ("lstm", [0, 1, 2], {"model.cell": "lstm"}),
        ("gru", [0, 1], {"model.cell": "gru"}),
    ]
    assert found["warnings"] == []


def test_one_run_of_another_seed_and_setting_alone_shows_no_seed_as_a_setting(
    records: Callable[..., dict[str, Any]],
) -> None:
    assert [row["settings"] for row in records("lstm-0", "gru-1")["rows"]] == [
        {"model.cell": "lstm"},
        {"model.cell": "gru"},
    ]


@pytest.mark.parametrize("key", ASIDE)
def test_what_changes_no_result_is_not_a_difference_if_something_else_differs(key: str) -> None:
    name = f"{key}.keep_last" if key == "checkpoint" else f"{key}.every" if key == "sample" else key
    changed = {name.replace(".", "__"): "another"}
    comparison = compare_results([result("x-0", 0), result("x-1", 1, **changed), result("y-1", 1, model__cell="gru")])
    assert comparison.settings == ("model.cell",)
    assert [row.name for row in comparison.rows] == ["x", "y-1"]
    assert compare_results([result("x-0", 0), result("x-1", 1, **changed)]).settings == ()


@pytest.mark.parametrize("key", ["train.threads", "sample.every", "checkpoint.minutes", "train.device"])
def test_what_changes_no_result_is_shown_if_nothing_else_differs(key: str) -> None:
    comparison = compare_results([result("a"), result("b", **{key.replace(".", "__"): 7})])
    assert comparison.settings == (key,)
    assert [(row.name, row.settings[key]) for row in comparison.rows] == [("a", RESULT.settings.get(key)), ("b", 7)]


def test_a_setting_that_begins_like_one_of_the_place_is_a_setting() -> None:
    assert compare_results([result("a"), result("b", sampling__seq_len=7)]).settings == ("sampling.seq_len",)
    assert compare_results([result("a"), result("b", 1, train__threads_each=7)]).settings == ("train.threads_each",)


def test_otherwise_identical_runs_are_distinguished_by_their_machines() -> None:
    other = replace(result("b"), machine="64 cores")
    assert row_names(result("a"), other) == ["a", "b"]
    assert row_names(result("a"), result("b")) == ["a"]
    (row,) = compare_results([result("x-0"), replace(result("x-1", 1), machine="64 cores")]).rows
    assert row.machines == ("2 cores", "64 cores")


def test_a_row_of_different_machines_warns_about_its_mean_speed() -> None:
    rest = replace(result("x-1", 1), machine="64 cores")
    (warning,) = compare_results([result("x-0"), rest]).warnings
    assert warning.startswith("x-0, x-1 ran on different machines (2 cores; 64 cores): ")


def test_runs_on_different_texts_are_different_rows_whatever_their_settings() -> None:
    for changed in ("corpus_sha256", "val_sha256", "test_sha256"):
        other = replace(result("x-1", 1), **{changed: "e" * 64})
        assert row_names(result("x-0"), other) == ["x-0", "x-1"]


def test_another_corpus_is_named_by_its_place_where_its_text_differs(
    tmp_path: Path, runs: Path, tiny_settings: MakeSettings, corpus_text: str
) -> None:
    places = [tmp_path / "same.txt", tmp_path / "other.txt"]
    for place, text in zip(places, (corpus_text, corpus_text[::-1]), strict=True):
        place.write_text(text, encoding="utf-8")
        train(tiny_settings(*SHORT, f"corpus.path='{place}'", "train.seed=5"), name=place.stem, runs_dir=tmp_path)
    same = compare(runs / "lstm-0", tmp_path / "same")
    assert (same.settings, len(same.rows), same.warnings) == ((), 1, ())
    other = compare(runs / "lstm-0", tmp_path / "other")
    assert (other.settings, len(other.rows)) == (("corpus.path",), 2)
    assert [warning.split(" results")[0] for warning in other.warnings] == [
        *("the validation", "the test", "the training"),
    ]


def test_a_run_that_repeats_a_seed_is_reported_and_not_counted(
    tmp_path: Path, runs: Path, records: Callable[..., dict[str, Any]]
) -> None:
    again = str(shutil.copytree(runs / "lstm-0", tmp_path / "again"))
    found = records("lstm-0", "lstm-1", again)
    (row,) = found["rows"]
    assert (row["runs"], row["repeats"], row["val_bpc"]["num_runs"]) == (["lstm-0", "lstm-1"], ["again"], 2)
    assert row["val_bpc"] == records("lstm-0", "lstm-1")["rows"][0]["val_bpc"]
    assert found["warnings"] == [
        "again repeats the settings and a seed of lstm-0, lstm-1 and is not counted: "
        "a repeat is not an independent measurement"
    ]
    (alone,) = records(again, "lstm-0")["rows"]
    assert (alone["runs"], alone["repeats"]) == (["again"], ["lstm-0"])
    assert alone["val_bpc"]["deviation"] is None


def test_several_repeats_are_reported_in_one_sentence() -> None:
    comparison = compare_results([result("a", 1), result("b", 1), result("c", 1), result("d", 0)])
    assert comparison.rows[0].seeds == (0, 1)
    assert comparison.warnings == (
        "b, c repeat the settings and a seed of d, a and are not counted: a repeat is not an independent measurement",
    )


def test_a_run_that_is_named_twice_counts_once(
    tmp_path: Path, runs: Path, records: Callable[..., dict[str, Any]]
) -> None:
    (tmp_path / "link").symlink_to(runs / "lstm-0")
    found = records("lstm-0", str(runs / "lstm-0"), f"{runs}/lstm-1/../lstm-0/", str(tmp_path / "link"))
    assert ([row["runs"] for row in found["rows"]], found["warnings"]) == ([["lstm-0"]], [])
    assert found["rows"][0]["repeats"] == []


def test_runs_of_the_same_name_are_called_by_their_paths(tmp_path: Path, runs: Path) -> None:
    copied = shutil.copytree(runs / "gru-0", tmp_path / "lstm-0")
    names = [row.name for row in compare(runs / "lstm-0", copied, runs / "split").rows]
    assert names == [str(runs / "lstm-0"), str(copied), "split"]


@pytest.mark.parametrize(
    ("names", "stem"),
    [
        (("songs-0", "songs-1"), "songs"),
        (("songs0", "songs1"), "songs"),
        (("songs-seed0", "songs-seed1"), "songs"),
        (("songs-s0", "songs-s1"), "songs"),
        (("songs_seed_0", "songs_seed_1"), "songs"),
        (("songs", "songs-again"), "songs"),
        (("songs-first", "songs-final"), "songs"),
        (("gru-256-a", "gru-256-b"), "gru-256"),
        (("gru-25", "gru-26"), "gru"),
        (("0", "1"), "0, 1"),
        (("alpha", "beta"), "alpha, beta"),
        (("ab", "ac"), "ab, ac"),
    ],
)
def test_a_row_is_called_by_what_its_runs_names_have_in_common(names: tuple[str, str], stem: str) -> None:
    assert row_names(*(result(name, seed) for seed, name in enumerate(names))) == [stem]


def test_the_digits_that_seeds_share_are_no_part_of_a_name() -> None:
    assert row_names(*(result(f"songs{seed}", seed) for seed in (10, 11, 12))) == ["songs"]


def test_rows_that_would_have_the_same_name_are_called_by_all_their_runs() -> None:
    pairs = [
        result("a-0", 0),
        result("a-1", 1),
        result("a-2", 0, model__cell="gru"),
        result("a-3", 1, model__cell="gru"),
    ]
    assert row_names(*pairs) == ["a-0, a-1", "a-2, a-3"]
    assert row_names(*pairs[:2], result("a", 0, model__cell="rnn")) == ["a-0, a-1", "a"]


def test_rows_come_in_the_order_in_which_their_first_runs_were_named(records: Callable[..., dict[str, Any]]) -> None:
    names = ("gru-1", "split", "lstm-0", "gru-0")
    assert [row["runs"] for row in records(*names)["rows"]] == [["gru-0", "gru-1"], ["split"], ["lstm-0"]]


def test_a_period_in_epochs_is_one_value(tiny_settings: MakeSettings, tmp_path: Path) -> None:
    for number, period in enumerate(("6", "{epochs: 2}", "{epochs: 3}")):
        settings = tiny_settings(f"train.eval_every={period}", f"train.epochs={number + 1}")
        create_run(settings, FACTS, folder=tmp_path, name=f"run-{number}")[1].release()
    comparison = compare(*(tmp_path / f"run-{number}" for number in range(3)))
    assert comparison.settings == ("train.epochs", "train.eval_every")
    assert [row.settings["train.eval_every"] for row in comparison.rows] == [6, {"epochs": 2}, {"epochs": 3}]


# What cannot be compared.


def test_results_on_different_splits_are_never_in_one_column_without_a_warning(
    runs: Path, records: Callable[..., dict[str, Any]]
) -> None:
    found = records("lstm-0", "split", "lstm-1")
    hashes = {name: lines_of(runs / name)[-1] for name in ("lstm-0", "split")}
    for name, end in hashes.items():
        end["train_sha256"] = json.loads((runs / name / "environment.json").read_bytes())["split"]["train"]["sha256"]
    assert found["warnings"] == [
        f"the {word} results are for different texts and cannot be compared: "
        f"lstm-0, lstm-1 on SHA-256 {hashes['lstm-0'][f'{part}_sha256'][:8]}; "
        f"split on SHA-256 {hashes['split'][f'{part}_sha256'][:8]}"
        for word, part in (("validation", "val"), ("test", "test"), ("training", "train"))
    ]
    assert [row["val_sha256"] for row in found["rows"]] == [hashes[name]["val_sha256"] for name in ("lstm-0", "split")]
    assert [row["test_sha256"] for row in found["rows"]] == [
        hashes[name]["test_sha256"] for name in ("lstm-0", "split")
    ]


def test_only_the_split_that_differs_is_warned_about() -> None:
    texts = {"val": Measured(2.0, 99, "w" * 64), "test": Measured(2.0, 99, "t" * 64)}
    one = replace(result("a"), figures={**RESULT.figures, "test": texts["test"]})
    other = replace(result("b", model__cell="gru"), figures=texts)
    (warning,) = compare_results([one, other]).warnings
    assert warning.startswith("the validation results are for different texts and cannot be compared: a on ")
    # A split that only one of them has does no harm.
    alone = replace(result("b", model__cell="gru"), figures={"test": Measured(2.0, 99, "s" * 64)})
    assert compare_results([result("a"), alone]).warnings == ()


def test_results_on_unknown_texts_do_not_pass_for_comparable() -> None:
    unknown = [
        replace(result(name, model__cell=name), figures={"val": Measured(2.0, 99, None)}, val_sha256=None)
        for name in ("rnn", "gru")
    ]
    known = result("a")
    assert compare_results([unknown[0]]).warnings == ()
    assert compare_results(unknown).warnings == (
        "no record shows whether the validation results are for the same text: rnn, gru",
    )
    (warning,) = compare_results([known, unknown[0]]).warnings
    assert warning.endswith("a on SHA-256 vvvvvvvv; rnn on a text that was not recorded")


def test_best_results_over_different_lengths_of_the_same_text_are_warned_about(
    records: Callable[..., dict[str, Any]],
) -> None:
    found = records("lstm-0", "partly", "lstm-1")
    assert found["warnings"] == [
        "the best validation results cover more of the text in some runs than in others: "
        "lstm-0, lstm-1 on 149 predicted characters; partly on 69 predicted characters",
        "the best validation result of partly covers the first 69 predicted characters and the final one all 149: "
        "they cannot be compared with each other",
    ]
    assert [(row["best_val_chars"], row["val_chars"]) for row in found["rows"]] == [(149, 149), (69, 149)]
    assert [row["settings"] for row in found["rows"]] == [{"eval.max_chars": 20000}, {"eval.max_chars": 70}]


@pytest.mark.parametrize("options", [(), ("--json",), ("--csv",), ("--markdown",)], ids=str)
def test_a_best_result_on_the_beginning_is_never_next_to_a_final_one_without_a_warning(
    runs: Path, charlm_command: Charlm, options: tuple[str, ...]
) -> None:
    shown = charlm_command("compare", "partly", f"--runs-dir={runs}", *options).output
    assert "covers the first 69 predicted characters and the final one all 149: they cannot be compared" in shown


def test_a_leaky_model_is_never_shown_without_its_warning(records: Callable[..., dict[str, Any]]) -> None:
    assert records("lstm-0", "leaky")["warnings"] == ["leaky: reads its own target: not a language model"]


# Runs that have not finished, and damaged ones.


def test_an_unfinished_run_is_a_row_of_its_own_with_its_best_so_far(
    runs: Path, records: Callable[..., dict[str, Any]]
) -> None:
    found = records("lstm-0", "cut", "lstm-1")
    finished, cut = found["rows"]
    assert (finished["runs"], cut["runs"]) == (["lstm-0", "lstm-1"], ["cut"])
    lines = lines_of(runs / "cut")
    assert {line["kind"] for line in lines} == {"evaluation"}
    last = lines[-1]
    best = {"mean": min(line["val_bpc"] for line in lines), "deviation": None, "num_runs": 1}
    assert (cut["state"], cut["best_val_bpc"], cut["val_bpc"], cut["test_bpc"]) == ("unfinished", best, None, None)
    assert cut["steps"]["mean"] == last["step"]
    assert cut["minutes"]["mean"] == last["seconds"] / 60
    assert cut["chars_per_second"]["mean"] == last["chars_per_second"]
    # Its budget is another one, which is a difference like any.
    assert (finished["settings"], cut["settings"]) == ({"train.max_steps": 4}, {"train.max_steps": 40})
    assert found["warnings"] == [
        f"cut has not finished (unfinished, step {last['step']}): its result is the best so far, on 149 predicted "
        "characters"
    ]


def test_unfinished_runs_that_differ_by_their_seed_alone_have_no_mean() -> None:
    pieces = [replace(result(f"x-{seed}", seed, 2.0 + seed), state="unfinished") for seed in (0, 1)]
    comparison = compare_results([*pieces, result("x-2", 2)])
    assert [row.name for row in comparison.rows] == ["x-0", "x-1", "x-2"]
    assert len(comparison.warnings) == 2


def test_a_run_without_an_evaluation_is_shown_without_results(tmp_path: Path, charlm_command: Charlm) -> None:
    create_run(Settings(), FACTS, folder=tmp_path, name="begun")[1].release()
    found = json.loads(charlm_command("compare", "begun", "--json", f"--runs-dir={tmp_path}").stdout)
    assert found["warnings"] == ["begun has not finished (unfinished, step 0): it has no result yet"]
    (row,) = found["rows"]
    ends = ("_bpc", "_nats_per_char", "_perplexity", "_chars")
    assert all(value is None for key, value in row.items() if key.endswith(ends))
    assert (row["minutes"], row["chars_per_second"], row["machines"]) == (None, None, ["unknown"])
    plain = charlm_command("compare", "begun", f"--runs-dir={tmp_path}").stdout.splitlines()[1].split("\t")
    assert plain == ["begun", "0", "unfinished, step 0", *["-"] * 9, "10", "-", "unknown"]
    markdown = charlm_command("compare", "begun", "--markdown", f"--runs-dir={tmp_path}").stdout.splitlines()
    assert markdown[2] == "| `begun` (unfinished) | 0 | - | - | - | 10 | - | unknown |"


def test_a_run_that_is_being_resumed_is_running_though_it_had_ended(tmp_path: Path, runs: Path) -> None:
    copied = Run(shutil.copytree(runs / "lstm-1", tmp_path / "lstm-1"))
    ownership = take_ownership(copied.path)
    try:
        comparison = compare(copied, runs / "lstm-0")
    finally:
        ownership.release()
    assert [(row.name, row.state) for row in comparison.rows] == [("lstm-1", "running"), ("lstm-0", "finished")]
    assert comparison.warnings[0].startswith("lstm-1 has not finished (running, step 4)")


@pytest.mark.parametrize("file", ["config.yaml", "environment.json", "metrics.jsonl"])
@pytest.mark.parametrize("options", [(), ("--json",), ("--csv",), ("--markdown",)], ids=str)
def test_a_damaged_run_is_reported_in_one_sentence_with_exit_code_4_and_the_others_are_shown(
    tmp_path: Path, runs: Path, charlm_command: Charlm, file: str, options: tuple[str, ...]
) -> None:
    damaged = shutil.copytree(runs / "lstm-1", tmp_path / "damaged")
    (damaged / file).unlink()
    if file == "metrics.jsonl":
        (damaged / file).mkdir()
    else:
        (damaged / file).write_text("model: {cell: 3, x: 4}", encoding="utf-8")
    outcome = charlm_command("compare", "lstm-0", damaged, "gru-0", f"--runs-dir={runs}", *options)
    assert outcome.exit_code == 4
    (sentence,) = outcome.stderr.splitlines()
    assert sentence.startswith("charlm: the run damaged is left out: ")
    assert file in sentence
    shown = charlm_command("compare", "lstm-0", "gru-0", f"--runs-dir={runs}", *options)
    assert shown.exit_code == 0
    if options == ("--json",):
        found, expected = json.loads(outcome.stdout), json.loads(shown.stdout)
        assert found["rows"] == expected["rows"]
        assert [f"charlm: {warning}" for warning in found["warnings"]] == [sentence]
    else:
        assert outcome.stdout == shown.stdout


def test_where_all_are_damaged_nothing_is_shown_but_a_sentence_on_each(
    tmp_path: Path, runs: Path, charlm_command: Charlm
) -> None:
    for name in ("one", "two"):
        (shutil.copytree(runs / "lstm-1", tmp_path / name) / "environment.json").unlink()
    outcome = charlm_command("compare", "one", "two", "--json", f"--runs-dir={tmp_path}")
    assert (outcome.exit_code, outcome.stdout) == (4, "")
    assert [line.split(" is left out")[0] for line in outcome.stderr.splitlines()] == [
        "charlm: the run one",
        "charlm: the run two",
    ]


@pytest.mark.parametrize(
    ("facts", "machine"),
    [
        ({}, "unknown"),
        (
            {"cores": 2, "threads": 2, "kernels": "x86-64-v4", "platform": "Linux-6.1-x86_64-with-glibc2.36"},
            "2 cores, x86-64-v4, Linux",
        ),
        (
            {"cores": 8, "threads": 1, "kernels": "x86-64-v3, on one thread: torch's", "platform": "Linux-6.1-x86_64"},
            "8 cores, 1 thread, x86-64-v3, Linux",
        ),
        (
            {
                "cores": 1,
                "threads": 1,
                "kernels": "the native kernels were not",
                "platform": "macOS-14.5-arm64-arm-64bit",
            },
            "1 core, arm64, macOS",
        ),
        (
            {"cores": 4, "implementation": "torch", "kernels": "x86-64-v4", "device": "cpu", "gpus": ["NVIDIA H200"]},
            "4 cores, x86-64-v4, torch",
        ),
        (
            {
                "cores": 4,
                "implementation": "native",
                "device": "cuda:0",
                "gpus": ["NVIDIA H200"],
                "platform": "Linux-6",
            },
            "NVIDIA H200, Linux",
        ),
        ({"cores": "\x1b[31m", "gpus": 3, "device": 7, "kernels": [1], "platform": {"a": 1}}, "unknown"),
        ({"cores": True, "platform": "\x1b[31m-x"}, "\\x1b[31m"),
    ],
)
def test_a_machine_is_a_few_words_whatever_the_file_contains(facts: dict[str, Any], machine: str) -> None:
    assert describe_machine(from_json(Environment, FACTS | facts)) == machine


# What is shown.


def test_a_pipe_gets_rows_between_tabs_and_warnings_go_to_standard_error(runs: Path, charlm_command: Charlm) -> None:
    outcome = charlm_command("compare", "lstm-0", "lstm-1", "lstm-2", "split", "cut", f"--runs-dir={runs}")
    assert outcome.exit_code == 0
    header, *rows = [line.split("\t") for line in outcome.stdout.splitlines()]
    assert header == [
        *("run", "corpus.split", "train.max_steps", "seeds", "state", "best val bpc", "final val bpc", "final val ppl"),
        *(
            "test bpc",
            "test ppl",
            "train nats",
            "train bpc",
            "train ppl",
            "chars/s",
            "parameters",
            "minutes",
            "machine",
        ),
    ]
    assert [len(row) for row in rows] == [len(header)] * 3
    shown = [dict(zip(header, row, strict=True)) for row in rows]
    values = [lines_of(runs / f"lstm-{seed}")[-1]["val_bpc"] for seed in range(3)]
    expected = f"{statistics.fmean(values):.3f} ± {statistics.stdev(values):.3f}"
    assert (shown[0]["run"], shown[0]["seeds"], shown[0]["final val bpc"]) == ("lstm", "0 to 2", expected)
    assert shown[1]["corpus.split"] == "0.8, 0.1, 0.1"
    assert "±" not in shown[1]["final val bpc"]
    assert [each["state"] for each in shown] == ["finished", "finished", "unfinished, step 4"]
    assert (shown[2]["final val bpc"], shown[2]["test bpc"]) == ("-", "-")
    warnings = outcome.stderr.splitlines()
    assert [line.startswith("charlm: ") for line in warnings] == [True] * 4
    assert "\x1b" not in outcome.output


def test_csv_has_unrounded_values_below_their_names(
    runs: Path, charlm_command: Charlm, records: Callable[..., dict[str, Any]]
) -> None:
    names = ("lstm-0", "lstm-1", "split", "cut")
    outcome = charlm_command("compare", *names, "--csv", f"--runs-dir={runs}")
    assert outcome.exit_code == 0
    rows = list(csv.DictReader(io.StringIO(outcome.stdout)))
    found = records(*names)
    assert len(rows) == 3
    for row, record in zip(rows, found["rows"], strict=True):
        for key in (
            "best_val_bpc",
            "val_bpc",
            "val_nats_per_char",
            "test_nats_per_char",
            "minutes",
            "chars_per_second",
        ):
            mean, deviation = (record[key] and record[key][each] for each in ("mean", "deviation"))
            assert row[key] == ("" if mean is None else repr(mean))
            assert row[f"{key}_deviation"] == ("" if deviation is None else repr(deviation))
        for key in ("name", "state", "val_sha256", "test_sha256", "corpus_sha256"):
            assert row[key] == record[key]
        assert row["num_parameters"] == str(record["num_parameters"])
        assert row["train.max_steps"] == str(record["settings"]["train.max_steps"])
    assert (rows[0]["runs"], rows[0]["seeds"], rows[0]["repeats"]) == ("lstm-0; lstm-1", "0; 1", "")
    assert [f"charlm: {warning}" for warning in found["warnings"]] == outcome.stderr.splitlines()
    assert None not in rows[0]


def test_the_guide_names_each_column_of_csv(runs: Path, charlm_command: Charlm) -> None:
    taught = taught_text()
    header = charlm_command("compare", "lstm-0", "--csv", f"--runs-dir={runs}").stdout.splitlines()[0].split(",")
    ends = ("_deviation", "_nats_per_char", "_bpc", "_perplexity", "_chars")
    for name in header:
        # The columns of a result are recognised by their beginning and their end.
        parts = [name]
        for end in ends:
            if parts[0].endswith(end):
                parts = [parts[0].removesuffix(end), end, *parts[1:]]
        assert all(f"`{part}`" in taught for part in parts), name


def test_markdown_is_the_table_of_a_readme(runs: Path, charlm_command: Charlm) -> None:
    names = ("lstm-0", "lstm-1", "lstm-2", "gru-1", "cut")
    outcome = charlm_command("compare", *names, "--markdown", f"--runs-dir={runs}")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    header, dashes, *rows, empty, warning = outcome.stdout.splitlines()
    assert header == (
        "| configuration | seeds | validation nats (mean ± standard deviation) | bits per character | perplexity | "
        "parameters | minutes | machine |"
    )
    assert dashes == "|" + " --- |" * 8
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    ends = [lines_of(runs / name)[-1] for name in names[:4]]
    nats, bits = ([end[key] for end in ends[:3]] for key in ("val_nats_per_char", "val_bpc"))
    assert cells[0][:4] == [
        *("`lstm`", "0 to 2"),
        f"{statistics.fmean(nats):.4f} ± {statistics.stdev(nats):.4f}",
        f"{statistics.fmean(bits):.3f} ± {statistics.stdev(bits):.3f}",
    ]
    assert cells[1][:6] == [
        *("`gru-1`", "1", f"{ends[3]['val_nats_per_char']:.4f}", f"{ends[3]['val_bpc']:.3f}"),
        *(f"{ends[3]['val_perplexity']:.2f}", f"{ends[3]['num_parameters']:,}"),
    ]
    best = min(line["val_nats_per_char"] for line in lines_of(runs / "cut"))
    assert cells[2][:3] == ["`cut` (unfinished)", "3", f"{best:.4f} (best so far)"]
    facts = json.loads((runs / "cut" / "environment.json").read_text(encoding="utf-8"))
    assert [row[7] for row in cells] == [describe_machine(from_json(Environment, facts))] * 3
    assert empty == ""
    assert warning.startswith("Warning: cut has not finished (unfinished, step 4): ")
    single = charlm_command("compare", "gru-1", "--markdown", f"--runs-dir={runs}").stdout.splitlines()
    assert len(single) == 3
    assert "| validation nats | bits per character |" in single[0]


def test_markdown_says_which_results_cannot_be_compared(runs: Path, charlm_command: Charlm) -> None:
    shown = charlm_command("compare", "lstm-0", "split", "--markdown", f"--runs-dir={runs}").stdout
    assert shown.count("\n\nWarning: the ") == 3


def test_a_name_cannot_break_out_of_a_table(tmp_path: Path, runs: Path, charlm_command: Charlm) -> None:
    odd = shutil.copytree(runs / "lstm-0", tmp_path / "a|b`c\td\ne\x1b[31m[bold]")
    (cells,) = charlm_command("compare", odd, "--markdown").stdout.splitlines()[2:]
    assert cells.startswith("| `a\\|b'c\\td\\ne\\x1b[31m[bold]` | 0 | ")
    plain = charlm_command("compare", odd).stdout.splitlines()
    assert [line.count("\t") for line in plain] == [plain[0].count("\t")] * 2
    assert "\x1b" not in "".join(plain)
    (row,) = csv.DictReader(io.StringIO(charlm_command("compare", odd, "--csv").stdout))
    assert row["name"] == "a|b`c\\td\\ne\\x1b[31m[bold]"


def test_a_wide_terminal_shows_every_column_that_has_something(runs: Path, on_terminal: Callable[..., str]) -> None:
    lines = on_terminal(260, "lstm-0", "lstm-1", "gru-0", f"--runs-dir={runs}").splitlines()
    titles = ("run", "cell", "seeds", "best val bpc", "final val bpc", "final val ppl", "test bpc", "test ppl")
    assert re.split(" {2,}", lines[0].rstrip()) == [
        *(*titles, "train nats", "train bpc", "train ppl", "chars/s", "parameters", "minutes", "machine"),
    ]
    assert [line.split()[:3] for line in lines[1:]] == [["lstm", "lstm", "0,"], ["gru-0", "gru", "0"]]
    # Numbers are aligned at the right, words at the left.
    assert lines[2].index("gru ") == lines[0].index("cell")
    ends = [lines[0].index(title) + len(title) for title in ("final val bpc", "parameters")]
    assert [lines[number][end - 1].isdigit() for number in (1, 2) for end in ends] == [True] * 4
    assert [lines[number][end] for number in (1, 2) for end in ends] == [" "] * 4


def test_a_narrow_terminal_keeps_the_results_and_says_what_it_leaves_out(
    runs: Path, on_terminal: Callable[..., str]
) -> None:
    lines = on_terminal(60, "lstm-0", "lstm-1", "gru-0", "cut", "split", f"--runs-dir={runs}").splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[0].split() == ["run", "state", "final", "val", "bpc", "best", "val", "bpc"]
    assert [line.split()[0] for line in lines[1:5]] == ["lstm", "gru-0", "cut", "split"]
    assert "unfinished, step 4" in lines[3]
    rest = " ".join(" ".join(lines[5:]).split())
    assert rest.startswith(
        "no room for these columns: split, cell, max_steps, seeds, final val ppl, test bpc, test ppl, train nats, "
        "train bpc, train ppl, chars/s, parameters, minutes, machine; --csv prints all "
    )
    assert rest.count("warning: ") == 4


def test_results_and_minutes_precede_settings_if_not_everything_fits(
    runs: Path, on_terminal: Callable[..., str]
) -> None:
    lines = on_terminal(62, "lstm-0", "gru-0", f"--runs-dir={runs}").splitlines()
    assert re.split(" {2,}", lines[0].rstrip()) == [
        "run",
        "final val bpc",
        "best val bpc",
        "test bpc",
        "minutes",
        "cell",
    ]
    assert "cell" not in on_terminal(55, "lstm-0", "gru-0", f"--runs-dir={runs}").splitlines()[0]


def test_runs_without_a_validation_split_show_their_training_results(
    runs: Path, on_terminal: Callable[..., str], records: Callable[..., dict[str, Any]], charlm_command: Charlm
) -> None:
    names = ("whole-rnn", "whole-gru", f"--runs-dir={runs}")
    ends = [lines_of(runs / name)[-1] for name in names[:2]]
    found = records(*names[:2])
    assert found["warnings"] == []
    keys = [f"train_{key}" for key in ("nats_per_char", "bpc", "perplexity")]
    for row, end in zip(found["rows"], ends, strict=True):
        assert [row[key]["mean"] for key in keys] == [pytest.approx(end[key], rel=1e-12) for key in keys]
        assert (row["train_chars"], row["val_bpc"], row["best_val_bpc"]) == (end["train_chars"], None, None)
        assert row["train_sha256"] == row["corpus_sha256"]
    rows = list(csv.DictReader(io.StringIO(charlm_command("compare", *names, "--csv").stdout)))
    for row, record in zip(rows, found["rows"], strict=True):
        assert [row[key] for key in keys] == [repr(record[key]["mean"]) for key in keys]
    header, *lines = (line.rstrip() for line in on_terminal(60, *names).splitlines()[:3])
    titles = re.split(" {2,}", header)
    assert titles == ["run", "train ppl", "train bpc", "train nats", "minutes", "cell"]
    for line, end in zip(lines, ends, strict=True):
        shown = dict(zip(titles, line.split(), strict=True))
        assert (shown["train ppl"], shown["train bpc"]) == (f"{end['train_perplexity']:.2f}", f"{end['train_bpc']:.3f}")
        assert shown["train nats"] == f"{end['train_nats_per_char']:.4f}"
    head, _, first, _ = charlm_command("compare", *names, "--markdown").stdout.splitlines()
    assert "| training nats | bits per character | perplexity |" in head
    assert f"| {ends[0]['train_nats_per_char']:.4f} | {ends[0]['train_bpc']:.3f} |" in first
    # Next to runs with a validation split they are marked as training results.
    mixed = charlm_command("compare", "lstm-0", *names[1:], "--markdown").stdout.splitlines()
    assert "| validation nats |" in mixed[0]
    assert f"| {ends[1]['train_nats_per_char']:.4f} (training) |" in mixed[3]


def test_a_resumed_run_has_the_training_result_of_its_last_complete_epoch(tmp_path: Path, runs: Path) -> None:
    copied = shutil.copytree(runs / "whole-rnn", tmp_path / "copied")
    *lines, end = lines_of(copied)
    (copied / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    comparison = compare(copied)
    figure = comparison.rows[0].nats("train")
    assert figure
    assert figure.mean == end["train_nats_per_char"] == lines[-1]["epoch_nats_per_char"]
    assert comparison.warnings == (
        "copied has not finished (unfinished, step 90): its training result is for its last complete epoch so far",
    )


def test_no_text_is_a_formula_in_csv_and_every_number_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    odd = result("@sum", corpus__path="=HYPERLINK(1)", model__dropout=-1.2345678901234568e-05)
    other = result("x", corpus__path='a, "b"', model__dropout=0.1, sample__prefixes=["+x" * 50, "y"])
    print_csv(compare_results([replace(odd, corpus_sha256="d" * 64), other]))
    first, second = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (first["name"], first["corpus.path"]) == ("'@sum", "'=HYPERLINK(1)")
    assert (first["model.dropout"], second["model.dropout"]) == ("-1.2345678901234568e-05", "0.1")
    assert second["corpus.path"] == 'a, "b"'
    long = compare_results([result("a", model__cell="+x" * 50), result("b", model__cell="two\nlines")])
    print_csv(long)
    cells = [row["model.cell"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))]
    assert cells == ["'" + "+x" * 50, "two\\nlines"]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        *(("=HYPERLINK(1)", "'=HYPERLINK(1)"), ("+cmd", "'+cmd"), ("-x", "'-x"), ("@sum", "'@sum"), ("\tx", "'\tx")),
        *(("\r=1", "'\r=1"), ("\n=1", "'\n=1"), ("＝1", "'＝1"), ("-", "'-"), ("-1-1", "'-1-1"), ("-nan", "'-nan")),
        *(("-1.5", "-1.5"), ("+2e-3", "+2e-3"), (-1.5, -1.5), (3, 3), (None, None), ("", ""), ("a=b", "a=b")),
        *(("x, y", "x, y"), ('say "x"', 'say "x"'), (" =1", " =1")),
    ],
)
def test_a_cell_is_a_text_or_a_number_and_never_a_formula(value: JsonValue, cell: JsonValue) -> None:
    assert csv_cell(value) == cell


def test_a_terminal_of_a_few_columns_loses_nothing_of_a_name(runs: Path, on_terminal: Callable[..., str]) -> None:
    shown = on_terminal(4, "both-ways", f"--runs-dir={runs}")
    assert "".join(shown.split()).startswith("runboth-waysnoroomforthesecolumns:")
    assert max(map(len, shown.splitlines())) <= 4


def test_a_setting_whose_last_word_others_have_is_called_by_its_whole_key(
    tmp_path: Path, tiny_settings: MakeSettings, on_terminal: Callable[..., str]
) -> None:
    for name, *overrides in (("a", "sampling.method=random"), ("b", "train.minutes=3", "model.hidden_size=9")):
        create_run(tiny_settings(*overrides), FACTS, folder=tmp_path, name=name)[1].release()
    header = on_terminal(200, "a", "b", f"--runs-dir={tmp_path}").splitlines()[0].split()
    # What no run has gets no column.
    settings = ["sampling.method", "hidden_size", "train.minutes"]
    assert header == ["run", *settings, "seeds", "state", "parameters", "machine"]


@pytest.mark.parametrize(
    ("seeds", "shown"), [((0,), "0"), ((0, 1), "0, 1"), ((1, 2, 3), "1 to 3"), ((0, 1, 5), "0, 1, 5")]
)
def test_seeds_in_a_row_are_a_range(seeds: tuple[int, ...], shown: str) -> None:
    comparison = compare_results([result(f"x-{seed}", seed) for seed in reversed(seeds)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", output := io.StringIO())
        print_markdown(comparison)
    assert output.getvalue().splitlines()[2].split(" | ")[1] == shown


# The library, and wrong invocations.


def test_the_library_does_the_same(runs: Path, records: Callable[..., dict[str, Any]]) -> None:
    comparison = charlm.compare("lstm-0", runs / "gru-0", Run(runs / "split"), runs_dir=runs)
    assert comparison.as_record() == records("lstm-0", "gru-0", "split")
    assert comparison.settings == ("corpus.split", "model.cell")
    with pytest.raises(ConfigError, match="name the runs to compare"):
        charlm.compare()
    with pytest.raises(RunError, match="there is no run absent in "):
        charlm.compare("absent", runs_dir=runs)


def test_the_library_leaves_a_damaged_run_out_and_says_so(tmp_path: Path, runs: Path) -> None:
    damaged = shutil.copytree(runs / "lstm-1", tmp_path / "damaged")
    (damaged / "environment.json").unlink()
    comparison = charlm.compare(runs / "lstm-0", damaged)
    assert len(comparison.rows) == 1
    (sentence,) = comparison.left_out
    assert sentence.startswith("the run damaged is left out: cannot read ")
    with pytest.raises(RunError, match="the run damaged is left out"):
        charlm.compare(damaged)


def test_a_run_in_the_current_folder_has_its_name(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs / "gru-0")
    assert [row.name for row in charlm.compare(".").rows] == ["gru-0"]


def test_reading_a_run_changes_nothing_in_it(runs: Path) -> None:
    def contents() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in (runs / "cut").rglob("*") if path.is_file()}

    before = contents()
    assert read_result(Run(runs / "cut"), name="cut").steps == 4
    assert contents() == before


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ([], 2, "name the runs to compare, as in charlm compare RUN RUN; in a shell, runs/* stands for all of them"),
        (["lstm-0", "--json", "--csv"], 2, "--json and --csv cannot be combined: give only one of them"),
        (["lstm-0", "--markdown", "--csv"], 2, "--csv and --markdown cannot be combined: give only one of them"),
        (["lstm-0", "--json", "--markdown"], 2, "--json and --markdown cannot be combined: give only one of them"),
        (
            ["--json", "--csv", "--markdown"],
            2,
            "--json and --csv and --markdown cannot be combined: give only one of them",
        ),
        (["absent"], 4, "there is no run absent in "),
        (["lstm-0", "absent", "--json"], 4, "there is no run absent in "),
        (["lstm-*"], 4, "there is no run lstm-* in "),
        ([""], 2, "RUN is empty"),
        (["lstm-0/config.yaml"], 4, "there is no run lstm-0/config.yaml in "),
        (["lstm-0", "a\0b"], 4, "there is no run a\\x00b in "),
        (["lstm-0", "\x1b[31m"], 4, "there is no run \\x1b[31m in "),
        ([".."], 4, "there is no run .. in "),
    ],
    ids=lambda value: ascii(value) if isinstance(value, list) else None,
)
def test_a_wrong_invocation_ends_with_one_sentence(
    runs: Path, charlm_command: Charlm, arguments: list[str], code: int, sentence: str
) -> None:
    outcome = charlm_command("compare", *arguments, f"--runs-dir={runs}")
    assert (outcome.exit_code, outcome.stdout) == (code, "")
    (line,) = outcome.stderr.splitlines()
    assert line.startswith(f"charlm: {sentence}")


def test_help_and_wrong_usage_bring_in_no_torch() -> None:
    script = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from charlm.cli.main import app\n"
        "lines = (['--help'], [], ['a', '--json', '--csv'])\n"
        "codes = [CliRunner().invoke(app, ['compare', *line]).exit_code for line in lines]\n"
        "print(codes, 'torch' in sys.modules)\n"
    )
    assert run_code(script, is_cold=True) == (0, "[0, 2, 2] False\n", "")


@pytest.mark.parametrize("option", ["--yaml", "--json=3", "--csv=x"])
def test_an_unknown_option_is_wrong_usage(charlm_command: Charlm, option: str) -> None:
    outcome = charlm_command("compare", "lstm-0", option)
    assert (outcome.exit_code, outcome.stdout) == (2, "")

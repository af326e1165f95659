"""Forward, backward, bidirectional and leaky models from training to generation, as a user meets them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from charlm.library.measuring import evaluate
from charlm.library.models import open_run
from charlm.library.training import train
from charlm.settings.model import LEAKY_WARNING
from charlm.text.windows import cut_windows


@pytest.fixture(scope="module")
def runs(tiny_settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("directions") / "runs"
    for direction in ("forward", "backward", "bidirectional", "leaky"):
        train(tiny_settings(f"model.direction={direction}"), name=direction, runs_dir=folder)
    return folder


def test_a_backward_model_is_a_forward_model_of_the_text_read_from_its_end(tiny_settings, corpus_text, tmp_path):
    reversed_file = tmp_path / "reversed.txt"
    reversed_file.write_text(corpus_text[::-1], encoding="utf-8")
    common = ("corpus.split=none", "sample.prefixes=['a']")
    backward = train(tiny_settings("model.direction=backward", *common), name="backward", runs_dir=tmp_path)
    forward = train(tiny_settings(f"corpus.path={reversed_file}", *common), name="forward", runs_dir=tmp_path)
    left, right = (open_run(run).network.state_dict() for run in (backward, forward))
    assert all(torch.equal(left[name], right[name]) for name in right)
    assert backward.summary()["train_perplexity"] == forward.summary()["train_perplexity"]
    assert evaluate(backward, split="train") == evaluate(forward, split="train")


def test_a_bidirectional_run_has_three_results_and_only_real_ones_are_called_perplexity(runs):
    record = open_run("bidirectional", runs_dir=runs).run.summary()
    for part in ("train", "val", "test"):
        assert {f"{part}_bpc", f"{part}_backward_bpc", f"{part}_cloze_bpc"} <= record.keys()
        assert record[f"{part}_backward_perplexity"] == pytest.approx(2 ** record[f"{part}_backward_bpc"])
    cloze = [key for key in record if "cloze" in key and "perplexity" in key]
    assert all("pseudo_perplexity" in key for key in cloze)


def test_the_forward_result_decides_which_checkpoint_is_best(runs):
    model = open_run("bidirectional", runs_dir=runs)
    evaluations = [record for record in model.run.metrics() if record["kind"] == "evaluation"]
    lowest = min(evaluations, key=lambda record: record["val_bpc"])
    assert model.checkpoint.step == lowest["step"]


def test_lookahead_reads_what_follows_the_window_and_leaves_it_out_of_the_count(tiny_settings, tmp_path):
    plain = train(tiny_settings("model.direction=bidirectional"), name="plain", runs_dir=tmp_path)
    settings = tiny_settings("model.direction=bidirectional", "model.lookahead=5")
    ahead = train(settings, name="ahead", runs_dir=tmp_path)
    assert ahead.summary()["train_chars"] == plain.summary()["train_chars"]
    assert ahead.summary()["train_cloze_bpc"] != plain.summary()["train_cloze_bpc"]
    ids = np.arange(40, dtype=np.uint8)
    (window,) = cut_windows(ids, np.array([[0, 20]]), seq_len=8, lookahead=3)
    assert window.beyond.T.tolist() == [[9, 10, 11], [29, 30, 31]]
    assert window.targets[-1].tolist() == [8, 28]


def test_every_dropped_character_is_counted_with_lookahead_too(tiny_settings, tmp_path):
    run = train(tiny_settings("model.direction=bidirectional", "model.lookahead=5"), name="run", runs_dir=tmp_path)
    facts = run.environment()
    used = facts["split"]["train"]["chars"] - 1 - facts["dropped_chars"]
    assert used % (4 * 16) == 0
    assert facts["dropped_chars"] >= 5


@pytest.mark.parametrize(
    ("run", "arguments", "reason"),
    [
        ("forward", ["--suffix", "the "], "reads forwards only"),
        ("forward", ["--prefix", "the ", "--suffix", "cat", "--length", "3"], "reads in one direction only"),
        ("backward", ["--prefix", "the "], "reads backwards"),
        ("backward", ["--prefix", "the ", "--suffix", "cat", "--length", "3"], "reads in one direction only"),
        ("leaky", ["--suffix", "the "], "reads forwards only"),
        ("bidirectional", ["--prefix", "the ", "--suffix", "cat"], "--length"),
        ("bidirectional", ["--prefix", "the ", "--suffix", "cat", "--length", "0"], "at least one character"),
        ("bidirectional", ["--prefix", "the ", "--passes", "3"], "--passes applies to filling a gap"),
        (
            "bidirectional",
            ["--prefix", "a", "--suffix", "a", "--length", "3", "--stop", "a"],
            "--stop cannot be used with both --prefix and --suffix",
        ),
    ],
)
def test_what_a_model_cannot_do_is_refused_in_one_sentence(runs, charlm_command, run, arguments, reason):
    result = charlm_command("generate", "--runs-dir", runs, "--run", run, *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert reason in result.stderr


@pytest.mark.parametrize("run", ["backward", "bidirectional"])
def test_a_suffix_ends_what_is_written(runs, charlm_command, run):
    result = charlm_command("generate", "--runs-dir", runs, "--run", run, "--suffix", "the cat", "--length", "30")
    assert result.exit_code == 0
    assert result.stdout.endswith("the cat\n")
    assert len(result.stdout) == 30 + len("the cat\n")


def test_a_stop_before_a_suffix_begins_the_text_after_it(runs, charlm_command):
    options = ["--runs-dir", runs, "--run", "backward", "--suffix", "cat"]
    whole = charlm_command("generate", *options, "--length", "200").stdout.removesuffix("\n")
    cut = charlm_command("generate", *options, "--length", "200", "--stop", "e").stdout.removesuffix("\n")
    assert "e" in whole
    assert cut == whole[whole.rindex("e") + 1 :]


def test_a_gap_is_filled_with_the_requested_number_of_characters(runs, charlm_command):
    options = ["--prefix", "the ", "--suffix", " sat", "--length", "7", "--num-samples", "3", "--json"]
    result = charlm_command("generate", "--runs-dir", runs, "--run", "bidirectional", *options)
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(records) == 3
    for record in records:
        assert record["text"].startswith("the ")
        assert record["text"].endswith(" sat")
        assert len(record["text"]) == 15


@pytest.mark.parametrize("wrong", ["5", "0/5", "5/5", "a/b", "5/25/1"])
def test_malformed_gaps_are_refused(runs, charlm_command, wrong):
    result = charlm_command("eval", "--runs-dir", runs, "--run", "bidirectional", "--gaps", wrong)
    assert result.exit_code == 2
    assert "--gaps must look like 5/25" in result.stderr


def test_gaps_are_scored_for_bidirectional_models_only(runs, charlm_command):
    options = ["--runs-dir", runs, "--gaps", "2/10", "--passes", "2"]
    scored = charlm_command("eval", *options, "--run", "bidirectional", "--json")
    record = json.loads(scored.stdout)
    assert record["num_gaps"] > 1
    assert record["saving"] == pytest.approx(1 - record["both_bits"] / record["forward_bits"])
    assert charlm_command("eval", *options, "--run", "forward").exit_code == 2


def test_a_leaky_model_says_what_it_is_wherever_its_perplexity_is_printed(tiny_options, charlm_command, tmp_path):
    options = ["--runs-dir", tmp_path, "--run", "leaky"]
    result = charlm_command("train", *tiny_options, "--set", "model.direction=leaky", *options)
    assert result.exit_code == 0
    printed = [line for line in result.stderr.splitlines() if "perplexity" in line]
    assert printed
    assert all(LEAKY_WARNING in line for line in printed)
    assert LEAKY_WARNING in result.stdout
    for command in (["eval"], ["eval", "--json"], ["info"], ["info", "leaky"], ["info", "leaky", "--json"]):
        more = [] if command[0] == "info" else ["--run", "leaky"]
        shown = charlm_command(*command, *more, "--runs-dir", tmp_path)
        assert LEAKY_WARNING in " ".join(shown.stdout.split()), command


def test_a_leaky_model_has_no_reference_implementation(tiny_options, charlm_command, tmp_path):
    settings = ["--set", "model.direction=leaky", "--set", "model.implementation=reference"]
    result = charlm_command("train", *tiny_options, *settings, "--runs-dir", tmp_path)
    assert result.exit_code == 2
    assert "torch.nn's own construction" in result.stderr


def test_backward_and_cloze_results_accompany_the_forward_result_everywhere(tiny_options, charlm_command, tmp_path):
    options = ["--runs-dir", tmp_path, "--run", "both"]
    result = charlm_command("train", *tiny_options, "--set", "model.direction=bidirectional", *options)
    evaluations = [line for line in result.stderr.splitlines() if line.startswith("epoch")]
    assert evaluations
    assert all("backward" in line and "cloze" in line for line in evaluations)
    assert "where both sides of a character are known (cloze)" in result.stdout
    told = charlm_command("info", "both", "--runs-dir", tmp_path).stdout
    assert "validation, forward" in told
    assert "validation, backward" in told
    assert "validation, cloze" in told
    for command in (["eval", "--run", "both"], ["info"], ["info", "both"]):
        shown = charlm_command(*command, "--runs-dir", tmp_path).stdout
        assert "backward" in shown
        assert "cloze" in shown
    record = json.loads(charlm_command("eval", "--run", "both", "--runs-dir", tmp_path, "--json").stdout)
    assert {"bpc", "backward_bpc", "cloze_bpc"} <= record.keys()


def test_a_lookahead_longer_than_the_text_is_refused_with_both_sizes(tiny_options, charlm_command, tmp_path):
    settings = ["--set", "model.direction=bidirectional", "--set", "model.lookahead=500000"]
    result = charlm_command("train", *tiny_options, *settings, "--runs-dir", tmp_path)
    assert result.exit_code == 3
    assert "has 2,700 characters" in result.stderr
    assert "needs 500,065" in result.stderr
    assert "model.lookahead" in result.stderr


def test_a_damaged_run_does_not_hide_the_others_from_the_table(runs, charlm_command, tmp_path):
    shutil.copytree(runs, tmp_path / "runs")
    (tmp_path / "runs" / "leaky" / "config.yaml").write_text("a: [", encoding="utf-8")
    (tmp_path / "runs" / "forward" / "environment.json").unlink()
    result = charlm_command("info", "--runs-dir", tmp_path / "runs")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == [
        *("backward", "bidirectional", "forward", "leaky"),
    ]
    rows = {line.split()[0]: line.split()[1] for line in result.stdout.splitlines()[1:]}
    assert (rows["forward"], rows["leaky"]) == ("damaged", "damaged")
    told = result.stderr.splitlines()
    assert [" is damaged: " in line for line in told] == [True, True]
    record = json.loads(charlm_command("info", "--json", "--runs-dir", tmp_path / "runs").stdout)
    assert [run["name"] for run in record["runs"]] == ["backward", "bidirectional"]
    assert sorted(record["damaged"]) == ["forward", "leaky"]
    assert charlm_command("info", "leaky", "--runs-dir", tmp_path / "runs").exit_code in (2, 4)

"""A model that learns from what it codes learns the same in both directions, and as `charlm eval --dynamic` has it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import Result

import charlm
from charlm.coding.coded_file import Coded, unpack_file
from charlm.coding.packing import DamagedError
from charlm.evaluation.dynamic import Adaptation, measure_dynamically
from charlm.evaluation.learning import LearningPredictor
from charlm.library.learning_coder import packed_rates, unpacked_rates
from charlm.networks.building import build_model
from charlm.networks.costs import Costs, target_costs
from charlm.networks.language_model import CharLM
from charlm.runs.run import Run
from charlm.settings.model import ModelSettings
from charlm.settings.schema import Settings

RATES: dict[str, Any] = {"learning_rate": 0.01, "decay": 0.001, "segment_chars": 10}


@pytest.mark.parametrize("settings", [{"cell": "gru"}, {"cell": "lstm", "num_layers": 2}, {"learned_state": True}])
@pytest.mark.parametrize("segment_chars", [1, 7, 200])
def test_single_steps_cost_what_dynamic_evaluation_measures(settings: dict[str, Any], segment_chars: int) -> None:
    network = build_model(ModelSettings(hidden_size=8, **settings), 9, seed=0)
    assert isinstance(network, CharLM)
    roots = [torch.full_like(weight, 0.05) for weight in network.parameters()]
    ids, adaptation = np.random.default_rng(0).integers(9, size=60), Adaptation(0.003, 0.01, segment_chars)
    seen: list[Costs] = []
    measure_dynamically(network, ids.astype(np.uint8), roots, adaptation, observe=seen.append)
    predictor = LearningPredictor(network, roots, adaptation)
    state, found = predictor.initial_state(1), list[Costs]()
    for place in range(len(ids) - 1):
        logits, state = predictor.predict(ids[place : place + 1, None], state)
        found.append(target_costs(logits[:, 0], ids[place + 1 : place + 2])[0])
    np.testing.assert_allclose(np.concatenate(found), np.concatenate(seen), rtol=1e-4)


def test_rates_come_back_exactly_or_are_refused() -> None:
    for adaptation in (Adaptation(1 / 3, 1e-7, 20), Adaptation(0.0, 0.05, 1)):
        assert unpacked_rates(packed_rates(adaptation)) == adaptation
    for text in ("", "1 2", "a b c", "nan 0 1", "0.1 -1.0 5", "0.1 0.1 0"):
        with pytest.raises(DamagedError):
            unpacked_rates(text)


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["forward", "backward", "bidirectional"])
def test_a_file_has_the_bits_of_dynamic_evaluation_and_comes_back(
    direction: str, tiny_settings: Callable[..., Settings], corpus_file: Path, tmp_path: Path
) -> None:
    run = charlm.train(tiny_settings(f"model.direction={direction}"), name="learner", runs_dir=tmp_path / "runs")
    text = tmp_path / "text.txt"
    text.write_bytes(corpus_file.read_bytes())
    found = charlm.evaluate_dynamically(run, files=[text], **RATES).figure
    written = charlm.compress(run, text, tmp_path / "text.cz", dynamic=True, **RATES)
    num_bytes = found.bits_per_char * found.num_predicted / 8
    assert -1 < written.num_bytes - num_bytes <= 0.001 * num_bytes + 64
    assert written.num_bytes < charlm.compress(run, text, tmp_path / "static.cz").num_bytes - 50
    charlm.decompress(written.path, tmp_path / "again.txt", runs_dir=tmp_path / "runs")
    assert (tmp_path / "again.txt").read_bytes() == text.read_bytes()


def test_the_command_learns_in_both_directions(
    trained: Run,
    corpus_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    charlm_command: Callable[..., Result],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained.path, "runs/trained")
    Path("text.txt").write_bytes(corpus_file.read_bytes()[:1500] + b"\xff\r\n")
    options = ("--dynamic", "--learning-rate", "0.01", "--decay", "0")
    assert charlm_command("compress", "text.txt", *options, "-o", "text.cz").exit_code == 0
    body = unpack_file(Path("text.cz").read_bytes()).body
    assert isinstance(body, Coded)
    assert body.rates == "0.01 0.0 20"
    assert charlm_command("decompress", "text.cz", "-o", "again.txt").exit_code == 0
    assert Path("again.txt").read_bytes() == Path("text.txt").read_bytes()
    refused = charlm_command("compress", "text.txt", "--decay", "0")
    assert (refused.exit_code, refused.stderr) == (2, "charlm: --decay belongs to --dynamic\n")
    # An exported file has no training split to measure gradients on.
    charlm.export_model("trained", "trained.charlm")
    refused = charlm_command("decompress", "text.cz", "--run", "trained.charlm", "-o", "other.txt")
    assert (refused.exit_code, refused.stderr.count("\n")) == (3, 1)
    assert "needs the training split" in refused.stderr
    assert not Path("other.txt").exists()


def test_items_are_not_learned_from(listed: Run, names_file: Path, tmp_path: Path) -> None:
    with pytest.raises(charlm.errors.ConfigError, match="single items"):
        charlm.compress(listed, names_file, tmp_path / "names.cz", dynamic=True, **RATES)

"""What the README and the guide say about sweeps is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prose import REPOSITORY, all_fences, taught_text

from charlm.sweeps.plan import make_trials
from charlm.sweeps.sweep_file import read_plan

TAUGHT = taught_text()
GUIDE = REPOSITORY / "charlm" / "guide"


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_the_sweep_file_can_be_read_and_means_what_it_says(tmp_path: Path, method: str) -> None:
    if method == "tpe":
        pytest.importorskip("optuna")
    (block,) = (fence.text for fence in all_fences("yaml") if fence.text.startswith("base: "))
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    (tmp_path / "cells.yaml").write_text(block.replace("method: random", f"method: {method}"), encoding="utf-8")
    plan = read_plan(tmp_path / "cells.yaml")
    assert (plan.name, plan.method, plan.num_trials, plan.minutes) == ("cells", method, 40, 60)
    assert len(make_trials(plan, 0, next(plan.space.corners()))) == 3
    early = re.findall(r"`(stop_early: \{.*?\})`", TAUGHT)
    text = block + early[0] + "\n"
    (tmp_path / "cells.yaml").write_text(re.sub(r", train.epochs: \d", "", text), encoding="utf-8")
    assert read_plan(tmp_path / "cells.yaml").rungs == (1000, 3000, 9000)


def test_its_cells_are_those_of_the_sweep() -> None:
    page = (GUIDE / "cells.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (RNN|GRU|LSTM) (\d) × (\d+) \| (\S+) \| (\S+) ± \S+ \| \S+ ± \S+ \|$", page, re.MULTILINE)
    plan = read_plan("cells")
    swept = [trial for number, point in enumerate(plan.points()) for trial in make_trials(plan, number, point)[:1]]
    models = {
        (each.settings.model.cell, each.settings.model.num_layers, each.settings.model.hidden_size): each
        for each in swept
    }
    told = {(cell.lower(), int(layers), int(units)): float(rate) for cell, layers, units, rate, _ in rows}
    assert told == {model: each.settings.optimizer.learning_rate for model, each in models.items()}
    assert [row[4] for row in rows] == sorted(row[4] for row in rows)
    # The file has the same results.
    header = (REPOSITORY / "configs" / "sweeps" / "cells.yaml").read_text(encoding="utf-8")
    names = [
        f"{cell.lower()} {units if layers == '1' else f'{layers} x {units}'} {bpc}"
        for cell, layers, units, _, bpc in rows
    ]
    assert f"# Reaches: val bpc {', '.join(names)}\n" in header


def test_the_sizes_on_the_page_are_those_of_the_sweep() -> None:
    page = (GUIDE / "sizes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+),000 \| (\S+) ± \S+ \| (\S+) ± \S+ \| (\S+) ± \S+ \|$", page, re.MULTILINE)
    lengths = [f"{row[0]}k: 32 {row[1]}, 96 {row[2]}, 256 {row[3]}" for row in rows]
    header = (REPOSITORY / "configs" / "sweeps" / "sizes.yaml").read_text(encoding="utf-8")
    assert f"# Reaches: val bpc {'; '.join(lengths)}\n" in header
    plan = read_plan("sizes")
    swept = [make_trials(plan, number, point)[0].settings for number, point in enumerate(plan.points())]
    assert [(each.corpus.split, each.model.hidden_size) for each in swept] == [
        ((1000 * int(row[0]), 16_000), units) for row in rows for units in (32, 96, 256)
    ]


def test_the_remedies_on_the_page_are_those_of_the_sweep() -> None:
    page = (GUIDE / "gradients.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \|[^|]*\| (\S+) \| (\S+) ± \S+ \| \S+ \| \S+ \|$", page, re.MULTILINE)
    plan = read_plan("gradients")
    swept = [make_trials(plan, number, point)[0].settings for number, point in enumerate(plan.points())]
    assert [float(rate) for rate, _ in rows] == [each.optimizer.learning_rate for each in swept]
    header = (REPOSITORY / "configs" / "sweeps" / "gradients.yaml").read_text(encoding="utf-8")
    (reached,) = re.findall(r"^# Reaches: (.*)$", header, re.MULTILINE)
    assert [bits for _, bits in rows] == re.findall(r"\d\.\d{3}", reached)


@pytest.mark.parametrize("name", ["cells", "gradients", "lags", "learning-rate", "sizes", "small-machine", "recipe"])
def test_every_bundled_sweep_says_what_it_is_for_its_minutes_and_what_it_reaches(name: str) -> None:
    lines = (REPOSITORY / "configs" / "sweeps" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert [line.partition(":")[0] for line in lines[:4]] == [
        *("# Purpose", "# Command", "# Minutes on two cores", "# Reaches"),
    ]
    assert lines[1] == f"# Command: charlm sweep {name}"
    assert read_plan(name).name == name

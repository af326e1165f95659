"""What the README says of sweeps is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from charlm.sweeps.plan import make_trials
from charlm.sweeps.reading import read_plan

REPOSITORY = Path(__file__).parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_its_sweep_file_can_be_read_and_means_what_it_says(tmp_path: Path, method: str) -> None:
    if method == "tpe":
        pytest.importorskip("optuna")
    (block,) = re.findall(r"^```yaml\n(base: .*?)^```$", README, re.MULTILINE | re.DOTALL)
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    (tmp_path / "cells.yaml").write_text(block.replace("method: random", f"method: {method}"), encoding="utf-8")
    plan = read_plan(tmp_path / "cells.yaml")
    assert (plan.name, plan.method, plan.num_trials, plan.minutes) == ("cells", method, 40, 60)
    assert len(make_trials(plan, 0, next(plan.space.corners()))) == 3
    early = re.findall(r"`(stop_early: \{.*?\})`", README)
    text = block + early[0] + "\n"
    (tmp_path / "cells.yaml").write_text(re.sub(r", train.epochs: \d", "", text), encoding="utf-8")
    assert read_plan(tmp_path / "cells.yaml").rungs == (1000, 3000, 9000)

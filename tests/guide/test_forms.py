"""The page about the forms of tasks: two models and a comparison do make a classifier."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import charlm

PAGE = Path(charlm.__file__).parent / "guide" / "forms.md"
PYTHON = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
TINY = (
    "model.hidden_size=64",
    "train.max_steps=200",
    "train.threads=1",
    "eval.baselines=false",
    "sample.every=1000",
    "sample.length=1",
)


@pytest.mark.slow
def test_two_models_decide_which_text_a_held_out_line_is_from(tmp_path, monkeypatch, charlm_command, capsys):
    monkeypatch.chdir(tmp_path)
    prepare, decide = (compile(block, str(PAGE), "exec") for block in PYTHON)
    names: dict[str, object] = {}
    exec(prepare, names)
    assert capsys.readouterr().out == "678 1198\n"
    for name in ("speech", "narration"):
        options = [f"--set={each}" for each in TINY]
        result = charlm_command(
            "train", "--config", "one-layer.yaml", "--corpus", f"{name}.txt", "--run", name, *options
        )
        assert result.exit_code == 0, result.stderr
    exec(decide, names)
    decided = dict(re.findall(r"^(\w+) (\d+) of 100$", capsys.readouterr().out, re.MULTILINE))
    assert list(decided) == ["speech", "narration"]
    # Chance is 50: a deviation of 5 lines for a coin.
    assert min(map(int, decided.values())) >= 75, decided

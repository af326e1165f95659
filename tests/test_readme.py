"""What only some pages have: scripts that can be stopped and started again, installation, the equations."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from prose import README, REPOSITORY, all_fences, taught_text
from reader import SHORT as CUTS

from charlm.library.training import train
from charlm.settings.loading import load_settings
from charlm.training.events import Step
from charlm.training.launch import train_reports

SHORT = ("train.max_steps=2", *(f"{key}={value}" for key, value in CUTS.items()))


def shortened(script):
    """Return an example with the budget and the model of a moment."""
    assert "train.max_steps=300" in script
    return script.replace("--set train.max_steps=300", " ".join(f"--set {each}" for each in SHORT))


@pytest.mark.slow
def test_the_shell_script_runs_and_goes_on_where_it_was_cut(tmp_path):
    (script,) = (fence.text for fence in all_fences("bash") if fence.text.startswith("#!"))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"OMP_NUM_THREADS": "1", "CHARLM_DATA_DIR": str(tmp_path / "data")}

    def run():
        command = ["bash", "-c", shortened(script)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    first = run()
    assert (first.returncode, first.stdout) == (0, "")
    closing = {cell: json.loads((tmp_path / f"{cell}.json").read_text()) for cell in ("rnn", "gru", "lstm")}
    assert all(figures["steps"] == 2 and figures["val_bpc"] > 1 for figures in closing.values())
    assert [row.split(",")[0] for row in (tmp_path / "cells.csv").read_text().splitlines()] == ["name", *closing]
    assert (tmp_path / "lstm.txt").read_text().startswith("The ")
    # Once more: what is done is done, what is gone is made again.
    shutil.rmtree(tmp_path / "runs" / "gru")
    before = {cell: (tmp_path / "runs" / cell / "metrics.jsonl").stat() for cell in ("rnn", "lstm")}
    assert run().returncode == 0
    assert {cell: (tmp_path / "runs" / cell / "metrics.jsonl").stat() for cell in before} == before
    again = json.loads((tmp_path / "gru.json").read_text())
    assert again["val_bpc"] == closing["gru"]["val_bpc"]


def test_the_python_script_runs_and_goes_on_where_it_was_cut(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (script,) = (fence.text for fence in all_fences("python") if "charlm.train_reports(" in fence.text)
    settings = ", ".join(f'"{setting}"' for setting in (*SHORT, "train.eval_every=1"))
    script = compile(script.replace('"train.max_steps=300"', settings), "README.md", "exec")
    exec(script, {})
    lines = capsys.readouterr().out.splitlines()
    evaluations, rows = lines[:-3], lines[-3:]
    assert [line.split()[:2] for line in evaluations] == [
        [cell, str(step)] for cell in ("rnn", "gru", "lstm") for step in (1, 2)
    ]
    assert [row.split()[0] for row in rows] == ["rnn", "gru", "lstm"]
    assert all("Spread(mean=" in row and "'model.cell'" in row for row in rows)
    exec(script, {})
    # Evaluations are of steps, and none was taken.
    assert capsys.readouterr().out.splitlines() == rows


def test_a_loop_that_is_left_leaves_a_run_to_be_gone_on_with(tmp_path):
    settings = load_settings(overrides=["train.eval_every=1", *SHORT])
    for report in train_reports(settings, name="left", runs_dir=tmp_path):
        if isinstance(report, Step):
            break
    del report
    run = train(settings, name="left", runs_dir=tmp_path, resume=True)
    assert run.summary() is not None
    assert [record["step"] for record in run.metrics() if record["kind"] == "evaluation"] == [1, 2]


def test_six_lines_of_python_are_enough():
    block = all_fences("python")[0].text
    lines = [line for line in block.splitlines() if line.strip()]
    assert len(lines) <= 6
    assert "charlm.train(" in block
    assert "charlm.generate(" in block


def test_every_install_from_the_checkout_names_the_constraints():
    installs = [
        line for fence in all_fences("sh") for line in fence.commands() if re.search(r"pip install.* '?\.", line)
    ]
    assert installs
    assert all("pip install -c constraints.txt" in line for line in installs)


def test_ci_takes_its_test_command_from_the_readme():
    (command,) = re.findall(r"<!-- test command -->\n```sh parsed\n(.*)\n```", README.read_text(encoding="utf-8"))
    assert command.endswith(".venv/bin/pytest")
    assert "<!-- test command -->" in (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("cell", ["rnn_cell", "lstm_cell", "gru_cell"])
def test_the_equations_are_those_of_the_cells(cell):
    from charlm.networks import cells

    documented = re.findall(r"^ {8}(\S.*?)(?: {4,}.*)?$", getattr(cells, cell).__doc__, re.MULTILINE)
    equations = [line for line in documented if " = " in line]
    assert equations
    squeezed = " ".join(taught_text().split())
    for equation in equations:
        right = equation.partition(" = ")[2]
        assert " ".join(right.split()) in squeezed, equation

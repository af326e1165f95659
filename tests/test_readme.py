"""The front door tells the truth: its commands run, its Python runs, its links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from charlm.library import load_settings, train, train_reports
from charlm.training.events import Step

REPOSITORY = Path(__file__).parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
SHELL = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
BLOCKS = [commands for block in SHELL if (commands := [line for line in block.splitlines() if line[:7] == "charlm "])]
PYTHON = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
SHORT = ("train.max_steps=2", "model.hidden_size=8", "sampling.batch_size=2", "sampling.seq_len=8", "train.threads=1")


@pytest.fixture
def _folder_of_a_user(tmp_path, monkeypatch, corpus_text):
    """A folder with a text, a run that is done and one that was cut."""
    monkeypatch.chdir(tmp_path)
    Path("poems.txt").write_text(corpus_text, encoding="utf-8")
    settings = load_settings(overrides=["corpus.path=poems.txt", *SHORT])
    train(settings, name="poems")
    steps = []

    def stop():
        return "interrupt" if steps else None

    for report in train_reports(settings, name="cut", should_stop=stop):
        steps += [report] if isinstance(report, Step) else []


def test_it_shows_commands():
    assert len(BLOCKS) == 2
    assert min(map(len, BLOCKS)) >= 4


@pytest.mark.usefixtures("_folder_of_a_user")
@pytest.mark.parametrize("commands", BLOCKS, ids=["what comes out", "runs that cannot be lost"])
def test_its_commands_run_one_after_the_other(commands, charlm_command):
    for command in commands:
        arguments = [argument.replace("The ", "the ") for argument in shlex.split(command, comments=True)[1:]]
        if arguments[0] == "train":
            # The same command, cut short: its own budget would take minutes, and one of its runs exists already.
            arguments = ["other" if argument == "poems" else argument for argument in arguments]
            goes_on = "--resume" in arguments and "--config" not in arguments
            arguments += [f"--set={setting}" for setting in (*SHORT, *(["train.max_steps=4"] if goes_on else []))]
        result = charlm_command(*arguments)
        assert result.exit_code == 0, (command, result.stderr)
        assert result.stdout.strip()


def test_the_python_runs_and_does_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    block, model, _ = PYTHON
    lines = [line for line in block.splitlines() if line.strip()]
    assert len(lines) <= 6
    exec(compile(block.replace("max_steps=100", "max_steps=5"), "README.md", "exec"), {})
    figures, *texts = capsys.readouterr().out.splitlines()
    assert all(float(figure) > 1 for figure in figures.split())
    assert sum(text.startswith("The ") for text in texts) == 2
    assert len(list((tmp_path / "runs").iterdir())) == 1
    exec(compile(model, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert out.startswith("Model(run=")
    assert out.count("\nThe ") == 2
    assert "torch.Size([7, 1, " in out
    assert "Advance an LSTM by one time step." in out


def shortened(script):
    """Return an example with the budget and the model of a moment."""
    assert "train.max_steps=300" in script
    return script.replace(
        "--set train.max_steps=300", " ".join(f"--set {each}" for each in (*SHORT, "eval.baselines=false"))
    )


@pytest.mark.slow
def test_its_shell_script_runs_and_goes_on_where_it_was_cut(tmp_path):
    (script,) = re.findall(r"^```bash\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert script.startswith("#!")
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


def test_its_python_script_runs_and_goes_on_where_it_was_cut(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    *_, script = PYTHON
    settings = ", ".join(f'"{setting}"' for setting in (*SHORT, "train.eval_every=1", "eval.baselines=false"))
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
    settings = load_settings(overrides=["train.eval_every=1", "eval.baselines=false", *SHORT])
    for report in train_reports(settings, name="left", runs_dir=tmp_path):
        if isinstance(report, Step):
            break
    del report
    run = train(settings, name="left", runs_dir=tmp_path, resume=True)
    assert run.summary() is not None
    assert [record["step"] for record in run.metrics() if record["kind"] == "evaluation"] == [1, 2]


def test_every_install_names_the_constraints():
    installs = [line for block in SHELL for line in block.splitlines() if "pip install" in line]
    assert len(installs) == 2
    assert all("pip install -c constraints.txt" in line for line in installs)


def test_ci_takes_its_test_command_from_here():
    (command,) = re.findall(r"<!-- test command -->\n```sh\n(.*)\n```", README)
    assert command.endswith(".venv/bin/pytest")
    assert "<!-- test command -->" in (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")


def test_every_link_into_the_project_leads_somewhere():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert links
    headings = [re.sub(r"[^a-z0-9 -]", "", line.lower()) for line in re.findall(r"^#+ (.*)$", README, re.MULTILINE)]
    anchors = {f"#{heading.replace(' ', '-')}" for heading in headings}
    assert [link for link in links if link not in anchors and not (REPOSITORY / link).exists()] == []


@pytest.mark.parametrize("cell", ["rnn_cell", "lstm_cell", "gru_cell"])
def test_its_equations_are_those_of_the_cells(cell):
    from charlm.networks import cells

    documented = re.findall(r"^ {8}(\S.*?)(?: {4,}.*)?$", getattr(cells, cell).__doc__, re.MULTILINE)
    equations = [line for line in documented if " = " in line]
    assert equations
    squeezed = " ".join(README.split())
    for equation in equations:
        right = equation.partition(" = ")[2]
        assert " ".join(right.split()) in squeezed, equation

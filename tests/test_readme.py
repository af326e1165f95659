"""The front door tells the truth: its commands run, its Python runs, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from charlm.library import load_settings, train, train_reports
from charlm.training.reports import Step

REPOSITORY = Path(__file__).parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
SHELL = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
BLOCKS = [commands for block in SHELL if (commands := [line for line in block.splitlines() if line[:7] == "charlm "])]
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
    (block,) = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    lines = [line for line in block.splitlines() if line.strip()]
    assert len(lines) <= 6
    exec(compile(block.replace("max_steps=100", "max_steps=5"), "README.md", "exec"), {})
    figures, *texts = capsys.readouterr().out.splitlines()
    assert all(float(figure) > 1 for figure in figures.split())
    assert sum(text.startswith("The ") for text in texts) == 2
    assert len(list((tmp_path / "runs").iterdir())) == 1


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
    assert [link for link in links if not (REPOSITORY / link).exists()] == []


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

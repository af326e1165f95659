"""`charlm guide`: its pages are listed, found by what people call them, and shown as the place wants it."""

from __future__ import annotations

import json
import os
import pty
import re

import processes
import pytest

from charlm.cli import topics
from charlm.cli.reference import FOLDER
from charlm.cli.topics import ALIASES, Page, for_terminal
from charlm.console.guide import pager_command
from charlm.settings.reference import entries

SOME = {
    "start": "# First steps\n\nThis page begins. It has *two* sentences.\n\n## Next\n\n[Sizes](sizes.md#big) follow.\n",
    "sizes": "# How big\n\nThis page says how big a `network` is.\n",
    "regularisation": "# Regularisation\n\nThis page regularises `model.dropout`.\n",
}


@pytest.fixture
def _some_pages(monkeypatch):
    pages = {topic: Page(topic, text) for topic, text in SOME.items()}
    monkeypatch.setattr(topics, "pages", lambda: pages)
    monkeypatch.setattr("charlm.cli.topics.pages", lambda: pages)


@pytest.mark.usefixtures("_some_pages")
def test_pages_are_listed_a_line_each(charlm_command):
    lines = charlm_command("guide").stdout.splitlines()
    assert lines[2:5] == [
        "  start           First steps: begins.",
        "  sizes           How big: says how big a network is.",
        "  regularisation  Regularisation: regularises model.dropout.",
    ]


@pytest.mark.usefixtures("_some_pages")
@pytest.mark.parametrize(
    ("words", "topic"),
    [
        (("start",), "start"),
        (("START",), "start"),
        (("sizes.md",), "sizes"),
        (("first", "steps"), "start"),
        (("overfitting",), "sizes"),
        (("regularization",), "regularisation"),
        (("dropout",), "regularisation"),
    ],
)
def test_a_page_is_found_by_what_people_call_it(words, topic, charlm_command):
    assert charlm_command("guide", *words).stdout == SOME[topic]


@pytest.mark.usefixtures("_some_pages")
@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("regularizaton", "regularization"),
        ("strat", "start"),
        ("hiden_size", "model.hidden_size"),
        ("lr", "optimizer.learning_rate"),
        ("model.droput", "model.dropout"),
    ],
)
def test_a_misspelt_topic_is_answered_with_the_nearest(word, meant, charlm_command):
    result = charlm_command("guide", word)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"charlm: the guide has no page {word}; did you mean charlm guide {meant}?\n"
    assert charlm_command("guide", meant).exit_code == 0


def test_a_word_like_nothing_is_answered_with_the_list(charlm_command):
    result = charlm_command("guide", "zzzzzz\x1b[31m")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "charlm: the guide has no page zzzzzz\\x1b[31m; charlm guide lists the pages\n"


@pytest.mark.usefixtures("_some_pages")
@pytest.mark.parametrize("word", ["hidden_size", "hidden-size", "model.hidden_size"])
def test_a_setting_is_shown_with_its_values_and_its_option(word, charlm_command):
    assert charlm_command("guide", word).stdout == (
        "# model.hidden_size\n\n"
        "Sets how many hidden units each layer has; raise it if the training result is poor, lower it for speed or if "
        "the model overfits.\n\n"
        "- Values: a whole number, at least 1 and at most 65,536\n- Default: `256`\n"
        "- On the command line: `--hidden-size 256` or `--set model.hidden_size=256`\n"
        "- Read more: [settings](settings.md)\n"
    )


@pytest.mark.usefixtures("_some_pages")
def test_a_setting_names_the_pages_that_speak_of_it_and_what_it_needs(charlm_command):
    assert "[regularisation](regularisation.md), [settings]" in charlm_command("guide", "model.dropout").stdout
    assert "Only with optimizer.method sgd or rmsprop." in charlm_command("guide", "momentum").stdout


def test_settings_of_one_name_are_all_shown(charlm_command):
    shown = charlm_command("guide", "method").stdout
    assert re.findall(r"^# (.*)$", shown, re.MULTILINE) == [
        *("sampling.method", "optimizer.method", "optimizer.schedule.method", "optimizer.average.method")
    ]


def test_a_section_and_a_command_are_shown_as_parts_of_their_pages(charlm_command):
    section = charlm_command("guide", "model").stdout
    assert section.startswith("## model\n")
    assert "`model.residual`" in section
    assert "optimizer." not in section
    command = charlm_command("guide", "corpus", "get").stdout
    assert command.startswith("## charlm corpus get\n")
    both = charlm_command("guide", "train").stdout
    assert re.findall(r"^## (.*)$", both, re.MULTILINE) == ["train", "charlm train"]


def test_other_words_belong_to_one_page_and_hide_no_setting():
    names = {key.rpartition(".")[2] for key in entries()}
    # Dropout and runs are explained on pages; the settings have longer names.
    assert ALIASES.keys() & names == {"dropout", "run"}
    words = [word for line in topics._TOPICS.values() for word in line.split()]
    assert len(words) == len(set(words))


def test_links_become_commands_where_nobody_can_click():
    text = (
        "See [the `sizes`](sizes.md#a), [it](https://x.org/y), [code](../cli/x.py).\n\n```text\n[a](sizes.md)\n```\n"
        "`[a](b.md)` ![A picture](images/a.svg)"
    )
    assert for_terminal(text) == (
        "See the `sizes` (`charlm guide sizes`), it (https://x.org/y), code.\n\n```text\n[a](sizes.md)\n```\n"
        "`[a](b.md)` *A picture*"
    )


@pytest.mark.parametrize(
    ("environment", "found", "pager"),
    [
        ({}, ("less", "more"), "less"),
        ({}, ("more",), "more"),
        ({}, (), None),
        ({"PAGER": "most -s"}, (), "most -s"),
        ({"PAGER": "cat"}, ("less",), None),
        ({"PAGER": ""}, ("less",), None),
        ({"NO_PAGER": "1"}, ("less",), None),
    ],
)
def test_the_pager_is_the_readers(environment, found, pager, monkeypatch):
    for name in ("PAGER", "NO_PAGER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("charlm.console.guide.shutil.which", lambda name: name if name in found else None)
    assert pager_command() == pager


def on_terminal(*arguments: str, **environment: str) -> str:
    """Return what the guide writes on a terminal of 24 lines of 80 columns."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24", "NO_COLOR": "1", **environment}
    process = processes.start("guide", *arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while process.poll() is None:
        shown += _read(ours)
    shown += _read(ours)
    os.close(ours)
    assert process.returncode == 0, shown
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode().replace("\r\n", "\n"))


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # nothing to read yet, or the other end is closed
        return b""


def test_a_terminal_gets_a_drawn_page_whose_tables_are_whole():
    shown = on_terminal("model", PAGER="cat")
    assert "| ---" not in shown
    assert "`" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "model.recurrent_dropout " in shown
    assert "…" not in shown


@pytest.mark.parametrize("columns", ["1", "40", "80"])
def test_a_narrow_terminal_is_no_error(columns):
    listing = on_terminal(COLUMNS=columns)
    assert re.search(r"settings +Settings:", listing)
    assert columns != "80" or max(map(len, listing.splitlines())) <= 80
    assert "model" in on_terminal("model.dropout", COLUMNS=columns, PAGER="cat").replace("\n", "")


def test_a_long_page_goes_through_the_pager_and_a_short_one_does_not(tmp_path):
    kept = tmp_path / "kept.txt"
    assert on_terminal("settings", PAGER=f"cat > {kept}").strip() == ""
    assert "model.hidden_size" in kept.read_text()
    kept.unlink()
    assert "Sets how many hidden units" in on_terminal("hidden_size", PAGER=f"cat > {kept}")
    assert not kept.exists()


def test_a_pager_that_is_left_early_or_is_not_there_is_no_error():
    assert on_terminal("settings", PAGER="true").strip() == ""
    assert "model.hidden_size" in on_terminal("settings", PAGER="no-such-pager 2>&1")


def test_raw_is_the_file_on_a_terminal_too():
    assert on_terminal("settings", "--raw", PAGER="false") == (FOLDER / "settings.md").read_text(encoding="utf-8")


WORKED = {
    "equations": "### Layer 1",
    "bptt": "### The Jacobians",
    "perplexity": "### Each character",
    "clipping": "### The factor, and one weight",
}


@pytest.mark.parametrize("word", WORKED)
def test_a_page_has_one_step_in_the_numbers_of_a_run(word, trained, charlm_command):
    plain = charlm_command("guide", word).stdout
    where = ("--run", trained.path)
    piped = charlm_command("guide", word, *where)
    assert (piped.exit_code, piped.stderr) == (0, "")
    assert charlm_command("guide", word, *where, "--raw").stdout == piped.stdout
    before, heading, section = piped.stdout.partition("\n## In the network of trained\n")
    assert heading
    assert plain.startswith(before)
    assert WORKED[word] in section
    # The rest of the page follows.
    assert piped.stdout.endswith(plain[len(before) + 1 :])


def test_the_numbers_alone_are_json(trained, charlm_command):
    where = ("--runs-dir", trained.path.parent, "--run", "trained")
    record = json.loads(charlm_command("guide", "equations", "--json", *where).stdout)
    assert (record["topic"], record["run"], record["step"]) == ("equations", "trained", 60)
    layer, output = record["parts"]
    forget = next(line for line in layer["lines"] if line["symbol"] == "a_f")
    assert sum(forget["terms"].values()) == pytest.approx(forget["value"])
    assert output["lines"][-1]["symbol"] == "perplexity"
    other = charlm_command("guide", "equations", "--json", "--checkpoint", "40", *where)
    assert json.loads(other.stdout)["step"] == 40


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["sizes", "--run", "trained"], 2, "sizes has no worked step: charlm guide TOPIC --run RUN shows one for equa"),
        (["commands", "--run", "trained"], 2, "perplexity and clipping"),
        (["hidden_size", "--run", "trained"], 2, "hidden_size has no worked step"),
        (["equatons", "--run", "trained"], 2, "the guide has no page equatons; did you mean charlm guide equations?"),
        (["--run", "trained"], 2, "--run goes with a page"),
        (["equations", "--run", "traind"], 4, "there is no run traind"),
        (["equations", "--run", "trained", "--checkpoint", "21"], 4, "21"),
        (["equations", "--run", "trained", "--checkpoint", "first"], 2, "--checkpoint must be best, last or a step"),
        (["equations", "--json"], 2, "it needs --run"),
        (["equations", "--checkpoint", "last"], 2, "it needs --run"),
        (["equations", "--run", "trained", "--json", "--raw"], 2, "give either --raw"),
    ],
)
def test_what_has_no_worked_step_is_refused_in_one_sentence(words, code, sentence, trained, charlm_command):
    result = charlm_command("guide", *words, "--runs-dir", trained.path.parent)
    assert (result.exit_code, result.stdout) == (code, "")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_terminal_gets_a_worked_step_that_fits(trained):
    shown = on_terminal("equations", "--run", str(trained.path), PAGER="cat")
    assert max(map(len, shown.splitlines())) <= 80
    assert "In the network of trained" in shown
    assert "`" not in shown
    # No line of the arithmetic is broken.
    assert re.search(r"^ *h'  = o \* tanh\(c'\) = [-\d.]+ \* tanh\([-\d.]+\)", shown, re.MULTILINE)


def test_the_guide_starts_without_torch():
    lines = (
        "import sys",
        "from charlm.cli import main, reference, topics",
        "from charlm.console import guide",
        "reference.generated(), topics.pages()",
        "print('torch' in sys.modules)",
    )
    assert processes.run_code("\n".join(lines), is_cold=True).stdout == "False\n"

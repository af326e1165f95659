"""The command line: what it prints where, how it ends, and that it stays quick and clean."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import math
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest
from pairs import one_in
from processes import finish, run_code
from typer.testing import Result

import charlm
from charlm.cli.signals import Signals
from charlm.console.terminal import console_for, is_live
from charlm.library.training import train
from charlm.runs.run import Run
from charlm.settings.schema import Settings
from charlm.training.events import Step
from charlm.training.launch import train_reports

Charlm = Callable[..., Result]
Process = Callable[..., "subprocess.Popen[bytes]"]
COLOUR = re.compile(r"\x1b\[(\d+;)*(3[0-7]|4[0-7]|9[0-7]|[34]8;)")


@pytest.fixture
def generate(trained: Run, charlm_command: Charlm) -> Callable[..., str]:
    """Return a function that runs `charlm generate` on the trained run and returns its standard output."""

    def run(*options: str, text: str | bytes | None = None) -> str:
        prefix = [] if any(option.startswith("--prefix-file") for option in options) else ["--prefix=the "]
        result = charlm_command("generate", f"--run={trained.path}", *prefix, *options, text=text)
        assert (result.exit_code, result.stderr) == (0, "")
        return result.stdout

    return run


def on_terminal(start: Process, *arguments: str | Path) -> tuple[int, str]:
    """Run a command with a terminal of 100 columns for both outputs; return its exit code and what was shown."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    process = start(*arguments, stdout=slave, stderr=slave)
    os.close(slave)
    shown = b"".join(read_until_hung_up(master))
    os.close(master)
    return process.wait(timeout=60), shown.decode()


def read_until_hung_up(master: int) -> Iterator[bytes]:
    """Yield what a terminal shows until its program ends, reported on Linux by an error, on macOS by an empty read."""
    with suppress(OSError):
        while block := os.read(master, 65536):
            yield block


# Train: what is printed where.


def test_only_the_summary_goes_to_standard_output(
    tmp_path: Path, charlm_command: Charlm, tiny_options: list[str]
) -> None:
    result = charlm_command("train", *tiny_options, f"--runs-dir={tmp_path}", "--run=run")
    assert result.exit_code == 0
    names = [line.partition(":")[0] for line in result.stdout.splitlines()]
    assert names == ["result", "quality", "sample", "run", "next"]
    path = tmp_path / "run"
    assert f"run: {path} (details: charlm info {path})\n" in result.stdout
    assert f"next: charlm generate --run {tmp_path / 'run'} --prefix 'the '\n" in result.stdout
    assert "3,000 characters" in result.stderr
    assert [line.split()[:4] for line in result.stderr.splitlines() if line.startswith("epoch")] == [
        ["epoch", "1", "step", "6"],
        ["epoch", "1", "step", "12"],
    ]
    assert result.stderr.count("sample  'the '") == 1
    assert "\x1b" not in result.stdout + result.stderr


def test_the_next_command_of_a_summary_runs(
    tmp_path: Path, charlm_command: Charlm, tiny_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = charlm_command("train", *tiny_options, "--run=run", '--set=sample.prefixes=["it\'s "]', "--quiet")
    assert result.exit_code == 3  # the corpus has no apostrophe
    result = charlm_command("train", *tiny_options, "--run=run", "--set=sample.prefixes=['a cat']", "--quiet")
    assert result.stdout.splitlines()[-1] == "next: charlm generate --run run --prefix 'a cat'"
    assert charlm_command("generate", "--run", "run", "--prefix", "a cat").stdout.startswith("a cat")


def test_json_is_one_object_with_the_closing_results(
    tmp_path: Path, charlm_command: Charlm, tiny_options: list[str]
) -> None:
    result = charlm_command("train", *tiny_options, f"--runs-dir={tmp_path}", "--run=run", "--json", "--quiet")
    assert (result.exit_code, result.stderr, result.stdout.count("\n")) == (0, "", 1)
    record = json.loads(result.stdout)
    assert (record["run"], record["steps"], record["stopped_by"]) == ("run", 12, "max_steps")
    for part in ("val", "test"):
        assert record[f"{part}_perplexity"] == pytest.approx(2 ** record[f"{part}_bpc"], rel=1e-12)
        assert math.log(record[f"{part}_perplexity"]) == pytest.approx(record[f"{part}_nats_per_char"], rel=1e-12)
    assert 1 < record["train_perplexity"] < 25
    assert record == Run(tmp_path / "run").summary()


def test_quiet_leaves_standard_error_empty(tmp_path: Path, charlm_command: Charlm, tiny_options: list[str]) -> None:
    result = charlm_command("train", *tiny_options, f"--runs-dir={tmp_path}", "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("result: perplexity ")


def test_info_names_the_text_of_each_perplexity(
    tmp_path: Path, charlm_command: Charlm, tiny_options: list[str]
) -> None:
    def info_of(*options: str) -> str:
        where = (f"--runs-dir={tmp_path}", f"--run=run-{len(options)}")
        assert charlm_command("train", *tiny_options, *options, *where, "--quiet").exit_code == 0
        return charlm_command("info", where[1].removeprefix("--run="), where[0]).stdout

    unfinished = info_of()
    assert "over the batches of its unfinished first epoch" in unfinished
    assert "bits per character, over all 149 predicted characters" in unfinished
    finished = info_of("--set=train.max_steps=2", "--set=sampling.seq_len=600", "--set=corpus.split=none")
    assert "over the last epoch's own batches" in finished
    assert not re.search(r"^(validation|test) +perplexity", finished, re.MULTILINE)


def test_an_evaluation_over_the_beginning_of_the_split_is_labelled(
    tmp_path: Path, charlm_command: Charlm, tiny_options: list[str]
) -> None:
    options = ("train", *tiny_options, f"--runs-dir={tmp_path}", "--set=eval.max_chars=50")
    assert charlm_command(*options).stderr.count("bpc) over the first 50 characters") == 2


@pytest.mark.parametrize("count", [1, 2])
def test_a_corpus_from_standard_input_is_kept_so_that_its_run_can_be_repeated(
    tmp_path: Path, charlm_command: Charlm, tiny_options: list[str], corpus_text: str, count: int
) -> None:
    options = ["--corpus=-", *tiny_options[1:], f"--runs-dir={tmp_path}", "--json"]
    first = charlm_command("train", *options, "--run=first", text=corpus_text * count)
    config = tmp_path / "first" / "config.yaml"
    again = charlm_command("train", "--config", config, f"--runs-dir={tmp_path}", "--json", "--run=again", text="")
    figures = [json.loads(result.stdout)["test_nats_per_char"] for result in (first, again)]
    assert figures[0] == figures[1]
    evaluated = charlm_command("eval", "--run=first", f"--runs-dir={tmp_path}", "--json", text="")
    assert json.loads(evaluated.stdout)["nats_per_char"] == figures[0]


def test_later_options_win_over_configurations_and_those_over_earlier_ones(
    tmp_path: Path, charlm_command: Charlm, tiny_options: list[str]
) -> None:
    for name, size in (("one", 3), ("two", 4)):
        (tmp_path / f"{name}.yaml").write_text(f"model: {{hidden_size: {size}, cell: gru}}\n")
    configs = ("--config", tmp_path / "one.yaml", "--config", tmp_path / "two.yaml")
    options = [option for option in tiny_options if "hidden_size" not in option]
    where = ("train", "--quiet", "--json", f"--runs-dir={tmp_path}", "--set=train.max_steps=1")
    charlm_command(*where, *configs, *options, "--run=files")
    charlm_command(*where, *configs, *options, "--set=model.hidden_size=5", "--run=option")
    sizes = [Run(tmp_path / name).settings().model.hidden_size for name in ("files", "option")]
    assert sizes == [4, 5]


# Train: resuming.


@pytest.fixture
def cut(tmp_path: Path, tiny_settings: Callable[..., Settings]) -> Callable[[str], Run]:
    """Return a function that makes a run which was stopped after 8 of its 12 steps."""

    def make(name: str) -> Run:
        request = Signals()
        for report in train_reports(tiny_settings(), name=name, runs_dir=tmp_path, should_stop=request.requested):
            if isinstance(report, Step) and report.step == 8:
                request.received = "interrupt"
        return Run(tmp_path / name)

    return make


def without_clocks(record: dict[str, object]) -> dict[str, object]:
    """Return a closing record without the values that depend on the machine's speed."""
    return {key: value for key, value in record.items() if key not in ("seconds", "chars_per_second", "run")}


@pytest.mark.parametrize("with_configuration", [False, True])
def test_a_resumed_run_ends_with_the_results_of_an_uninterrupted_one(
    tmp_path: Path, charlm_command: Charlm, tiny_options: list[str], cut: Callable[[str], Run], with_configuration: bool
) -> None:
    run = cut("run")
    assert (run.summary(), run.overview()["state"], run.overview()["steps"]) == (None, "unfinished", 6)
    options = tiny_options if with_configuration else []
    where = (f"--runs-dir={tmp_path}", "--json", "--quiet")
    resumed = charlm_command("train", "--resume", "--run=run", *where, *options)
    assert (resumed.exit_code, resumed.stderr, resumed.stdout.count("\n")) == (0, "", 1)
    whole = charlm_command("train", "--run=whole", *where, *tiny_options)
    assert without_clocks(json.loads(resumed.stdout)) == without_clocks(json.loads(whole.stdout))
    assert json.loads(resumed.stdout) == run.summary()
    assert run.overview()["state"] == "max_steps"


def test_resume_says_at_which_step_it_resumes(
    tmp_path: Path, charlm_command: Charlm, cut: Callable[[str], Run]
) -> None:
    cut("run")
    result = charlm_command("train", "--resume", "--run=run", f"--runs-dir={tmp_path}")
    assert result.exit_code == 0
    assert f"run {tmp_path / 'run'}, resumed at step 8\n" in result.stderr


def test_resume_alone_takes_the_newest_unfinished_run(
    tmp_path: Path, charlm_command: Charlm, tiny_options: list[str], cut: Callable[[str], Run]
) -> None:
    where = ("--quiet", "--json", f"--runs-dir={tmp_path}")
    runs = [cut(name) for name in ("newer", "older")]
    for run, age in zip(runs, (200, 100), strict=True):
        for path in run.checkpoint_paths():
            os.utime(path, (age, age))
    assert charlm_command("train", *tiny_options, "--run=done", *where).exit_code == 0
    for name in ("newer", "older"):
        assert json.loads(charlm_command("train", "--resume", *where).stdout)["run"] == name
    nothing = charlm_command("train", "--resume", *where)
    assert (nothing.exit_code, nothing.stdout) == (4, "")
    assert nothing.stderr == (
        f"charlm: there is no unfinished run in {tmp_path}: name one with --run, or start one without --resume\n"
    )


def test_resume_starts_a_run_that_does_not_exist(
    tmp_path: Path, charlm_command: Charlm, tiny_options: list[str]
) -> None:
    result = charlm_command("train", *tiny_options, "--resume", "--run=run", f"--runs-dir={tmp_path}", "--json")
    assert json.loads(result.stdout)["steps"] == 12
    assert not (tmp_path / "run" / "resumes.jsonl").exists()


@pytest.mark.parametrize("option", [None, "--quiet", "--json"])
def test_resuming_a_finished_run_prints_its_closing_results(
    tmp_path: Path, charlm_command: Charlm, tiny_options: list[str], option: str | None
) -> None:
    where = ("--run=run", f"--runs-dir={tmp_path}", *([option] if option else []))
    first = charlm_command("train", *tiny_options, *where)
    files = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    again = charlm_command("train", "--resume", *where)
    assert (again.exit_code, again.stdout) == (0, first.stdout)
    done = f"charlm: the run {tmp_path / 'run'} is already finished, so nothing was trained\n"
    assert again.stderr == ("" if option == "--quiet" else done)
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == files


def test_a_finished_run_is_resumed_with_a_larger_budget(
    tmp_path: Path, charlm_command: Charlm, tiny_options: list[str]
) -> None:
    where = (f"--runs-dir={tmp_path}", "--quiet", "--json")
    charlm_command("train", *tiny_options, "--run=run", *where)
    more = charlm_command("train", "--resume", "--run=run", *where, "--set=train.max_steps=18")
    whole = charlm_command("train", *tiny_options, "--run=whole", *where, "--set=train.max_steps=18")
    assert without_clocks(json.loads(more.stdout)) == without_clocks(json.loads(whole.stdout))


def test_a_setting_that_a_resumed_run_must_keep_is_4_with_both_values(
    tmp_path: Path, charlm_command: Charlm, cut: Callable[[str], Run]
) -> None:
    cut("run")
    where = ("--resume", "--run=run", f"--runs-dir={tmp_path}")
    result = charlm_command("train", *where, "--set=model.hidden_size=9")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr == (
        "charlm: a resumed run keeps its settings: model.hidden_size was 8 and is 9; start another run for that, "
        "without --resume\n"
    )


def test_a_damaged_checkpoint_is_passed_over_with_one_line(
    tmp_path: Path, charlm_command: Charlm, cut: Callable[[str], Run]
) -> None:
    last = cut("run").checkpoint_paths()[-1]
    (last / "model.safetensors").write_bytes(b"damaged")
    result = charlm_command("train", "--resume", "--run=run", f"--runs-dir={tmp_path}", "--quiet")
    assert result.exit_code == 0
    assert result.stderr == (
        f"charlm: {last / 'model.safetensors'} is damaged: its bytes are not those that were saved; step 6 is used "
        "instead\n"
    )


@pytest.mark.parametrize("command", [["info"], ["verify", "run"], ["generate", "--run=run", "--prefix=a "]])
def test_a_file_the_system_does_not_give_is_6_in_one_sentence(
    trained: Run, charlm_command: Charlm, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    # Permissions do not stop root, so the refusal is simulated.
    def refuse(path: Path) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    result = charlm_command(*command, f"--runs-dir={trained.path.parent}")
    assert (result.exit_code, result.stdout) == (6, "")
    assert re.fullmatch(r"charlm: cannot use \S+: permission denied\n", result.stderr)


# Train: how it ends.


def test_a_closed_pipe_ends_silently_with_141(trained: Run, charlm_process: Process) -> None:
    process = charlm_process("generate", f"--run={trained.path}", "--prefix=the ", "--length=200000")
    assert process.stdout is not None
    assert process.stdout.read(10).startswith(b"the ")
    process.stdout.close()
    process.stdout = None
    returncode, _, stderr = finish(process)
    assert (returncode, stderr) == (141, "")


@pytest.mark.parametrize(
    "arguments", one_in(4, [["--help"], ["train", "--help"], ["config", "show"], ["corpus", "list"]])
)
def test_every_command_ends_silently_where_its_output_is_not_read(
    charlm_process: Process, arguments: list[str]
) -> None:
    process = charlm_process(*arguments, is_cold=True)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    returncode, _, stderr = finish(process)
    assert (returncode, stderr) == (141, "")


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["generate"]], ids=" ".join)
def test_a_full_disk_behind_the_output_is_one_sentence_and_6(
    trained: Run, charlm_process: Process, arguments: list[str]
) -> None:
    if arguments == ["generate"]:
        arguments = ["generate", f"--run={trained.path}", "--prefix=the "]
    with Path("/dev/full").open("wb") as full:
        # Commands that need torch are forked; the other two end as an interpreter does.
        is_cold = arguments[0] != "generate"
        returncode, _, stderr = finish(charlm_process(*arguments, stdout=full.fileno(), is_cold=is_cold))
    assert (returncode, stderr) == (6, "charlm: cannot write the output: no space left on device\n")


def test_a_full_disk_behind_the_messages_is_6_too(charlm_process: Process) -> None:
    with Path("/dev/full").open("wb") as full:
        process = charlm_process("config", "show", "--set=x", stderr=full.fileno(), is_cold=True)
        returncode, stdout, _ = finish(process)
    assert (returncode, stdout) == (6, "")


# Help, version and torch.


def test_the_version_is_one_line(charlm_process: Process) -> None:
    assert finish(charlm_process("--version", is_cold=True)) == (0, f"charlm {charlm.__version__}\n", "")


def torchless_exit_codes(*commands: list[str]) -> list[int]:
    """Run commands one after another where importing torch ends the process with 77; return the exit codes."""
    script = (
        "import json, sys\n"
        "from typer.testing import CliRunner\n"
        "class Refusal:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch':\n"
        "            raise SystemExit(77)\n"
        "sys.meta_path.insert(0, Refusal())\n"
        "from charlm.cli.main import app\n"
        "for arguments in json.loads(sys.argv[1]):\n"
        "    print(json.dumps(CliRunner().invoke(app, arguments).exit_code))\n"
    )
    done = run_code(script, json.dumps(commands), is_cold=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_commands_that_need_no_torch_never_import_it() -> None:
    without = [
        ["--help"],
        ["--version"],
        *(
            [command, "--help"]
            for command in ("train", "generate", "eval", "info", "plot", "rm", "prune", "bench", "corpus", "config")
        ),
        ["config", "show"],
        ["config", "schema"],
        ["corpus", "list"],
        ["corpus", "info", "lyrics"],
        ["train", "--set=model.cell=transformer"],
        ["train", "--config=absent.yaml"],
        ["generate", "--prefix-file="],
    ]
    *found, last = torchless_exit_codes(*without, ["info", "--machine"])
    assert found == [0] * (len(without) - 3) + [2] * 3
    # The check notices an import of torch.
    assert last == 77


@pytest.mark.kernels
def test_a_trained_model_is_used_without_torch(trained: Run) -> None:
    run = f"--run={trained.path}"
    uses = [
        ["generate", run, "the "],
        ["generate", run, "the ", "-n", "3", "--json", "--top-p", "0.9"],
        ["generate", run, "--temperature", "0.3,1.0"],
        ["score", run, "the cat"],
        ["score", run, "the cat", "--odd", "1", "--json"],
        ["score", run, "--next", "the "],
        ["info"],
        ["info", str(trained.path)],
        ["info", str(trained.path), "--json"],
        ["compare", str(trained.path), str(trained.path)],
    ]
    assert torchless_exit_codes(*uses) == [0] * len(uses)


@pytest.mark.parametrize("arguments", [[], ["config"], ["corpus"]], ids=" ".join)
def test_a_command_without_its_subcommand_shows_help(charlm_command: Charlm, arguments: list[str]) -> None:
    result = charlm_command(*arguments)
    assert "Usage:" in result.output
    assert "Traceback" not in result.output


# Terminals.


def test_training_on_a_terminal_has_colours_and_gives_the_cursor_back(
    tmp_path: Path, charlm_process: Process, tiny_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    code, shown = on_terminal(charlm_process, "train", *tiny_options, f"--runs-dir={tmp_path}", "--run=run")
    assert code == 0
    assert COLOUR.search(shown)
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l") >= 0
    assert "\x1b[1;36mthe " in shown  # a sample, its prefix in bold
    assert "charlm generate --run" in shown


def test_no_colour_is_shown_on_a_terminal_where_none_is_wanted(
    tmp_path: Path, charlm_process: Process, tiny_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    options = [*tiny_options, "--set=train.max_steps=2"]
    code, shown = on_terminal(charlm_process, "train", *options, f"--runs-dir={tmp_path}", "--run=run")
    assert code == 0
    assert "perplexity" in shown
    assert not COLOUR.search(shown)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [("TERM", "xterm", True), ("NO_COLOR", "1", True), ("TERM", "dumb", False), ("CI", "true", False)],
)
def test_a_display_is_live_on_a_terminal_that_a_person_watches(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv(name, value)
    assert is_live(Terminal()) is expected
    assert not is_live(io.StringIO())
    console_for(stream := Terminal()).print("word", style="red")
    assert ("\x1b" in stream.getvalue()) is (expected and name != "NO_COLOR")


@pytest.mark.parametrize("name", ["FORCE_COLOR", "NO_COLOR"])
def test_no_escape_code_is_written_outside_a_terminal(
    tmp_path: Path,
    trained: Run,
    charlm_command: Charlm,
    tiny_options: list[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setenv(name, "1")
    for arguments in (
        ["train", *tiny_options, f"--runs-dir={tmp_path}"],
        ["generate", f"--run={trained.path}", "--prefix=the "],
        ["eval", f"--run={trained.path}"],
        ["info", f"--runs-dir={trained.path.parent}"],
        ["info", trained.path],
        ["corpus", "list"],
        ["train", "--set=model.cell=transformer"],
    ):
        result = charlm_command(*arguments)
        assert result.output
        assert "\x1b" not in result.output


def test_control_characters_are_escaped_on_a_terminal_and_only_there(
    tmp_path: Path, charlm_process: Process, charlm_command: Charlm, tiny_settings: Callable[..., Settings]
) -> None:
    nasty = "\x1b[31m\x07\x9b\x7f\r"
    corpus = tmp_path / "corpus.txt"
    corpus.write_bytes(f"plain\ttext\n{nasty}".encode() * 300)
    options = (f"corpus.path='{corpus}'", "corpus.clean=none", "train.max_steps=1", "sample.prefixes=[a]")
    run = train(tiny_settings(*options), runs_dir=tmp_path)
    arguments = ["generate", f"--run={run.path}", f"--prefix={nasty}\tx\n", "--length=0"]
    assert charlm_command(*arguments).stdout_bytes.decode() == f"{nasty}\tx\n\n"
    code, shown = on_terminal(charlm_process, *arguments)
    assert code == 0
    assert shown.replace("\r\n", "\n").expandtabs() == "\\x1b[31m\\x07\\x9b\\x7f\\x0d\tx\n\n".expandtabs()


# Generate.


def test_the_text_begins_with_the_prefix_and_has_the_length_asked_for(generate: Callable[..., str]) -> None:
    text = generate("--length=25")
    assert (text[:4], text[-1], len(text)) == ("the ", "\n", 4 + 25 + 1)
    assert generate("--length=0") == "the \n"
    assert len(generate()) == 4 + 200 + 1


def test_a_seed_repeats_its_text_and_another_seed_gives_another(generate: Callable[..., str]) -> None:
    assert generate("--seed=0") == generate() == generate("--seed=0")
    assert generate("--seed=0") != generate("--seed=1")


def test_temperature_0_is_greedy_whatever_the_seed(generate: Callable[..., str]) -> None:
    greedy = generate("--temperature=0", "--seed=0")
    assert greedy == generate("--temperature=0", "--seed=5") == generate("--top-k=1", "--seed=9")


def test_a_sample_is_the_same_however_many_are_asked_for(generate: Callable[..., str]) -> None:
    def samples(number: int) -> list[dict[str, object]]:
        lines = generate(f"--num-samples={number}", "--length=20", "--json").splitlines()
        return [json.loads(line) for line in lines]

    many = samples(11)
    assert [record["sample"] for record in many] == list(range(11))
    assert samples(3) == many[:3]
    assert samples(1) == many[:1]
    assert generate("--length=20") == f"{many[0]['text']}\n"
    assert len({record["text"] for record in many}) == 11
    blocks = generate("--num-samples=11", "--length=20")
    assert blocks == "\n".join(f"{record['text']}\n" for record in many)


def test_a_json_line_says_where_the_text_comes_from(generate: Callable[..., str]) -> None:
    record = json.loads(generate("--length=3", "--seed=4", "--json"))
    text = record.pop("text")
    expected = {"run": "trained", "step": 60, "sample": 0, "seed": 4, "prefix": "the "}
    assert record == expected
    assert len(text) == 7


def test_a_text_ends_before_the_first_stop(generate: Callable[..., str]) -> None:
    whole = generate("--length=200", "--temperature=1.5")[4:-1]
    for stops in (["."], ["\n"], [whole[20:23]], [whole[50:52], whole[30:33]], ["the the the the"]):
        ends = [whole.find(stop) for stop in stops if stop in whole]
        expected = whole[: min(ends)] if ends else whole
        options = [f"--stop={stop}" for stop in stops]
        assert generate("--length=200", "--temperature=1.5", *options)[4:-1] == expected


def test_a_text_ends_at_the_end_of_a_line(generate: Callable[..., str]) -> None:
    whole = generate("--temperature=1.2", "--length=400")
    assert whole.count("\n") > 1
    assert generate("--temperature=1.2", "--length=400", "--stop-at-newline") == whole[: whole.index("\n") + 1]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_a_prefix_comes_from_a_file_or_from_standard_input(
    generate: Callable[..., str], tmp_path: Path, mark: bytes
) -> None:
    path = tmp_path / "prefix.txt"
    path.write_bytes(mark + b"a cat\nsat ")
    expected = "a cat\nsat "
    from_file = generate(f"--prefix-file={path}", "--length=9")
    assert (from_file[:10], len(from_file)) == (expected, 20)
    assert generate("--prefix-file=-", "--length=9", text=path.read_bytes()) == from_file


@pytest.mark.parametrize("checkpoint", ["best", "last", "40", "60"])
def test_a_checkpoint_is_chosen_by_word_or_step(generate: Callable[..., str], checkpoint: str) -> None:
    record = json.loads(generate(f"--checkpoint={checkpoint}", "--json"))
    assert record["step"] == (40 if checkpoint == "40" else 60)


def test_without_a_run_the_newest_is_taken(
    trained: Run, charlm_command: Charlm, monkeypatch: pytest.MonkeyPatch, generate: Callable[..., str]
) -> None:
    monkeypatch.setenv("CHARLM_RUNS_DIR", str(trained.path.parent))
    assert charlm_command("generate", "--prefix=the ").stdout == generate()
    assert charlm_command("generate", "--prefix=the ", "--run=trained").stdout == generate()


# Eval and info.


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_eval_measures_a_split_of_the_runs_own_corpus(trained: Run, charlm_command: Charlm, split: str) -> None:
    result = charlm_command("eval", f"--run={trained.path}", f"--split={split}", "--json")
    record = json.loads(result.stdout)
    figure = charlm.evaluate(trained, split=split).main
    assert (record["nats"], record["chars"]) == (figure.nats, figure.num_predicted)
    assert (record["bpc"], record["perplexity"]) == (figure.bits_per_char, figure.perplexity)
    end = trained.summary()
    assert end is not None
    if split != "train":
        assert record["bpc"] == end[f"{split}_bpc"]
    assert (record["run"], record["step"], result.stderr) == ("trained", 60, "")


def test_eval_reads_the_test_split_by_default(trained: Run, charlm_command: Charlm) -> None:
    assert (
        charlm_command("eval", f"--run={trained.path}").stdout
        == charlm_command("eval", f"--run={trained.path}", "--split=test").stdout
    )


def test_eval_prints_the_result_in_all_its_units(trained: Run, charlm_command: Charlm, corpus_text: str) -> None:
    figure, text = charlm.evaluate(trained).main, corpus_text[2850:]
    measured = charlm.assess(trained, adaptive=True)
    beside, adaptive = dict(measured.baselines), measured.adaptive
    assert adaptive
    learning = {name: beside.pop(name) for name in ("bzip2", "xz")}
    learning["PPMd (order 6)"] = adaptive.figure.bits_per_char
    best = min(beside, key=lambda name: beside[name])
    assert charlm_command("eval", f"--run={trained.path}").stdout.splitlines() == [
        "run trained, step 60, the test split",
        f"perplexity          {figure.perplexity:.2f}",
        f"bits per character  {figure.bits_per_char:.3f}",
        f"bits per byte       {figure.bits_per_char:.3f}",
        f"nats per character  {figure.nats_per_char:.4f}",
        f"characters          149 predicted, {figure.nats:,.1f} nats in all",
        f"SHA-256 of the text {sha256(text.encode()).hexdigest()}",
        f"baselines           {', '.join(f'{name} {bits:.3f}' for name, bits in beside.items())} bits per character",
        f"adaptive            {', '.join(f'{name} {bits:.3f}' for name, bits in learning.items())} bits per character; "
        "these learn from this text too",
        f"warning             a table of {best}s predicts this text as well or better",
    ]


def test_eval_measures_other_files_and_standard_input(
    trained: Run, charlm_command: Charlm, tmp_path: Path, corpus_text: str
) -> None:
    path = tmp_path / "other.txt"
    path.write_text(corpus_text[:500], encoding="utf-8")
    from_file = charlm_command("eval", f"--run={trained.path}", f"--corpus={path}", "--json")
    piped = charlm_command("eval", f"--run={trained.path}", "--corpus=-", "--json", text=corpus_text[:500])
    record = json.loads(from_file.stdout)
    assert (record["nats"], record["chars"]) == (charlm.evaluate(trained, files=[path]).main.nats, 499)
    assert json.loads(piped.stdout)["nats"] == record["nats"]
    assert record["text"] == str(path)


def test_eval_of_a_corpus_that_changed_since_is_refused_and_another_file_is_not(
    tmp_path: Path, charlm_command: Charlm, tiny_options: list[str], corpus_text: str
) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(corpus_text, encoding="utf-8")
    where = (f"--runs-dir={tmp_path / 'runs'}", "--run=run")
    charlm_command("train", f"--corpus={corpus}", *tiny_options[1:], *where)
    corpus.write_text(corpus_text + "a", encoding="utf-8")
    result = charlm_command("eval", *where)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("charlm: the corpus has changed since the run run was trained (SHA-256 ")
    # Its training split is gone, and baselines are fitted on that.
    other = charlm_command("eval", *where, f"--corpus={corpus}")
    assert (other.exit_code, "baselines" in other.stdout) == (0, False)
    assert other.stderr.startswith("charlm: the result has no baselines: the corpus has changed since the run")
    assert other.stderr.count("\n") == 1
    corpus.unlink()
    (tmp_path / "other.txt").write_text(corpus_text, encoding="utf-8")
    other = charlm_command("eval", *where, f"--corpus={tmp_path / 'other.txt'}", "--json")
    assert json.loads(other.stdout)["baselines"] is None
    assert other.stderr.startswith("charlm: the result has no baselines: there is no corpus file")
    assert charlm_command("eval", *where, f"--corpus={tmp_path / 'other.txt'}", "--no-baselines").stderr == ""


def test_info_lists_runs_one_per_line(trained: Run, charlm_command: Charlm, tmp_path: Path) -> None:
    where = f"--runs-dir={trained.path.parent}"
    lines = charlm_command("info", where).stdout.splitlines()
    assert lines[0].split()[:3] == ["run", "state", "corpus"]
    assert lines[1].split()[:2] == ["trained", "max_steps"]
    assert json.loads(charlm_command("info", where, "--json").stdout) == {
        "runs": [trained.overview()],
        "damaged": {},
    }
    empty = charlm_command("info", f"--runs-dir={tmp_path / 'absent'}")
    assert (empty.exit_code, empty.stdout) == (0, f"no runs in {tmp_path / 'absent'}: `charlm train` makes one\n")


def test_info_shows_a_runs_results_and_its_settings(trained: Run, charlm_command: Charlm) -> None:
    shown = charlm_command("info", trained.path).stdout
    assert "step-00000040, step-00000060" in shown
    assert (trained.path / "config.yaml").read_text(encoding="utf-8") in shown
    record = json.loads(charlm_command("info", trained.path, "--json").stdout)
    assert f"diagnosis     {record['diagnosis']['sentence']}\n" in shown
    assert record["settings"] == trained.settings().model_dump(mode="json")
    assert record["environment"] == trained.environment()
    assert {key: record[key] for key in trained.overview()} == trained.overview()


def test_info_shows_the_machine(charlm_command: Charlm) -> None:
    record = json.loads(charlm_command("info", "--machine", "--json").stdout)
    assert record["versions"]["charlm"] == charlm.__version__
    assert {"threads", "cores", "gpus", "platform"} <= record.keys()
    assert record["versions"]["torch"] in charlm_command("info", "--machine").stdout


@pytest.mark.parametrize("is_on_path", [True, False])
def test_the_command_to_try_next_is_one_that_works_here(
    is_on_path: bool, monkeypatch: pytest.MonkeyPatch, tiny_options: list[str], tmp_path: Path, charlm_command: Charlm
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/charlm" if is_on_path else None)
    monkeypatch.setattr("sys.argv", [".venv/bin/charlm", "train"])
    result = charlm_command("train", *tiny_options, "--runs-dir", tmp_path, "--run", "named")
    called = "charlm" if is_on_path else ".venv/bin/charlm"
    assert f"next: {called} generate --run {tmp_path / 'named'} --prefix 'the '" in result.stdout

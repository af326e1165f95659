"""Hostile configuration files: one sentence each, exit code 2, and nothing of them runs or reaches the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from pairs import one_in
from processes import Process, finish, run_code
from typer.testing import Result

from charlm.settings import diagnosis
from charlm.settings.diagnosis import MAX_PROBLEMS


def load_generator() -> Any:
    """Return the module next to this file that makes the hostile files."""
    spec = spec_from_file_location("hostile_yaml", Path(__file__).with_name("hostile_yaml.py"))
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


hostile_yaml = load_generator()
FILES = list(hostile_yaml.hostile_files())
# Of the largest and the most tangled ones the memory is measured, each in a process of its own.
LARGE = ("billion laughs", "100,000 short keys")
LARGE_TOO = (
    *("quadratic blowup", "100,000 open brackets", "a scalar of 5 megabytes"),
    *("15,000 keys", "a key a megabyte long", "comments", "nested dashes"),
)
# So many places take a second to read; the quick suite checks the same with fewer.
SLOW = ("15,000 keys", "15,000 wrong numbers", "100,000 short keys")
SHORT_BYTES = 20_000
MEMORY_BYTES = 200 * 2**20
SHIPPED = Path(__file__).parents[2] / "configs" / "lyrics-bidirectional-gru.yaml"

Command = Callable[..., Result]


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder to work in: a payload would leave its canary there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def assert_is_refusal(result: Result) -> None:
    """Check that sentences alone came out, few and short, fit for a terminal."""
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert 1 <= len(lines) <= MAX_PROBLEMS + 1
    for line in lines:
        assert line.startswith("charlm: ")
        assert line.isprintable()
        assert len(line) < 1_000
        assert "Traceback" not in line


def test_there_are_enough_files_and_each_is_another() -> None:
    assert len(FILES) > 150
    assert len({file.name for file in FILES}) == len({file.content for file in FILES}) == len(FILES)


def name_of(file: Any) -> str:
    """Return the name of a file as a test's."""
    return file.name.encode("unicode_escape").decode()


@pytest.mark.parametrize(
    "file",
    [pytest.param(file, marks=[pytest.mark.slow] * (file.name in SLOW)) for file in FILES],
    ids=map(name_of, FILES),
)
def test_a_hostile_file_is_refused_in_a_sentence(file: Any, charlm_command: Command, working_folder: Path) -> None:
    (working_folder / "a.yaml").write_bytes(file.content)
    result = charlm_command("config", "check", "a.yaml")
    if file.can_pass:
        assert (result.exit_code, result.stdout) == (0, "a.yaml: good\n"), result.stderr
    else:
        assert result.exit_code == 2
        assert_is_refusal(result)
        assert "a.yaml" in result.stderr
        assert file.says in result.stderr
    assert [path.name for path in working_folder.iterdir()] == ["a.yaml"]


@pytest.mark.parametrize(
    "file", [file for file in FILES if not file.can_pass and len(file.content) < SHORT_BYTES][::8], ids=name_of
)
def test_train_refuses_it_with_the_same_words(file: Any, charlm_command: Command, working_folder: Path) -> None:
    (working_folder / "a.yaml").write_bytes(file.content)
    checked, trained = charlm_command("config", "check", "a.yaml"), charlm_command("train", "--config", "a.yaml")
    assert (trained.exit_code, trained.stdout, trained.stderr) == (2, "", checked.stderr)
    assert [path.name for path in working_folder.iterdir()] == ["a.yaml"]


def test_the_output_for_a_good_file_is_safe_for_a_terminal(charlm_command: Command, working_folder: Path) -> None:
    for file in FILES:
        if file.can_pass and len(file.content) < SHORT_BYTES:
            (working_folder / "a.yaml").write_bytes(file.content)
            result = charlm_command("config", "show", "--config", "a.yaml")
            assert result.exit_code == 0
            assert all(line.isprintable() for line in result.stdout.split("\n"))


def test_a_damaged_configuration_is_good_or_refused(
    charlm_command: Command, working_folder: Path, endurance: Any
) -> None:
    num_good = 0
    number = endurance.times(150, 3_000)
    for file in hostile_yaml.mutations(SHIPPED.read_bytes(), endurance.seed, number):
        (working_folder / "a.yaml").write_bytes(file.content)
        result = charlm_command("config", "check", "a.yaml")
        assert result.exit_code in (0, 2), file
        if result.exit_code == 0:
            num_good += 1
        else:
            assert_is_refusal(result)
    assert 0 < num_good < number
    endurance.tell("damaged configurations", f"{number:,}, {num_good:,} of them still good, 0 tracebacks")


@pytest.mark.parametrize("number", [MAX_PROBLEMS, MAX_PROBLEMS + 1, 3_000])
def test_only_the_first_of_many_problems_are_printed(
    number: int, charlm_command: Command, working_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (working_folder / "a.yaml").write_text("".join(f"hidden_sizes{n}: 1\n" for n in range(number)))
    asked: list[str] = []
    nearest_key = diagnosis.nearest_key
    monkeypatch.setattr(diagnosis, "nearest_key", lambda *key: asked.append(key) or nearest_key(*key))
    lines = charlm_command("config", "check", "a.yaml").stderr.splitlines()
    # The search for what was meant is the one slow thing.
    assert len(asked) == MAX_PROBLEMS
    assert lines[0] == "charlm: unknown key hidden_sizes0; did you mean model.hidden_size? (a.yaml:1)"
    assert len(lines) == min(number, MAX_PROBLEMS + 1)
    if number > MAX_PROBLEMS:
        assert lines[-1] == f"charlm: and {number - MAX_PROBLEMS:,} more problems"


# Places that are no files.


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null", "/dev/stdin", "pipe", "link"])
@pytest.mark.parametrize("command", [("config", "check"), ("config", "show", "--config"), ("train", "--config")])
def test_only_files_are_read_as_configurations(
    name: str, command: tuple[str, ...], charlm_process: Callable[..., Process], working_folder: Path
) -> None:
    os.mkfifo(working_folder / "pipe")
    (working_folder / "link").symlink_to("/dev/zero")
    ended = finish(charlm_process(*command, name))
    sentence = f"charlm: the configuration {name} is a pipe or a device: name a file\n"
    assert ended == (2, "", sentence)


@pytest.mark.parametrize(
    ("name", "reason"),
    [(".", "is a directory"), ("a/b", "no such file or directory"), ("x" * 300, "file name too long")],
)
def test_what_cannot_be_opened_says_why(name: str, reason: str, charlm_command: Command, working_folder: Path) -> None:
    assert working_folder.is_dir()
    result = charlm_command("config", "check", name)
    assert result.exit_code == 2
    assert_is_refusal(result)
    assert f"cannot read the configuration {name}: {reason}" in result.stderr


def test_no_more_than_the_limit_is_read_of_a_huge_file(charlm_command: Command, working_folder: Path) -> None:
    with (working_folder / "a.yaml").open("wb") as stream:
        stream.truncate(2**40)  # sparse: a terabyte that takes no room
    result = charlm_command("config", "check", "a.yaml")
    assert (result.exit_code, result.stderr) == (
        2,
        "charlm: a.yaml: longer than 4,000,000 bytes, too long for a configuration\n",
    )


def test_escapes_in_the_name_of_a_file_do_not_reach_the_terminal(charlm_command: Command, working_folder: Path) -> None:
    name = "a\x1b[31m\n.yaml"
    for content, exit_code in (("model: {cell: gru}", 0), ("model: {cell: gur}", 2), ("model: [", 2), ("- 1", 2)):
        (working_folder / name).write_text(content)
        result = charlm_command("config", "check", name)
        assert result.exit_code == exit_code
        assert "a\\x1b[31m\\n.yaml" in result.output
        assert result.output.count("\n") == 1
        assert "\x1b" not in result.output


@pytest.mark.parametrize("path", ["/dev/zero", "pipe", "/dev/stdin"])
def test_a_corpus_without_end_is_not_read(path: str, charlm_command: Command, working_folder: Path) -> None:
    os.mkfifo(working_folder / "pipe")
    (working_folder / "a.yaml").write_text(f"corpus: {{path: {path}}}")
    result = charlm_command("train", "--config", "a.yaml")
    assert result.exit_code == 3
    assert_is_refusal(result)
    assert not (working_folder / "runs").exists()


# Memory.


def check_measured(name: str, folder: Path) -> tuple[int, int]:
    """Check a file in a process of its own; return the exit code and the peak of its memory in bytes."""
    # On Linux ru_maxrss is never less than that of the process which started this one.
    code = (
        "import resource, runpy, sys\n"
        "from pathlib import Path\n"
        "sys.argv = ['charlm', 'config', 'check', sys.argv[1]]\n"
        "try:\n"
        "    runpy.run_module('charlm', run_name='__main__')\n"
        "finally:\n"
        "    status = Path('/proc/self/status')\n"
        "    if status.exists():\n"
        "        print(int(status.read_text().split('VmHWM:')[1].split()[0]) * 1024)\n"
        "    else:\n"
        "        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    # Started cold: a fork begins with the memory of what it is forked from.
    ended = run_code(code, name, is_cold=True, cwd=folder)
    return ended.exit_code, int(ended.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def base_memory(tmp_path_factory: pytest.TempPathFactory) -> int:
    """Return the peak of memory for a good configuration."""
    folder = tmp_path_factory.mktemp("base")
    (folder / "a.yaml").write_text("model: {cell: gru}")
    exit_code, peak = check_measured("a.yaml", folder)
    assert exit_code == 0
    return peak


@pytest.mark.parametrize("name", one_in(len(LARGE) + len(LARGE_TOO), [*LARGE, *LARGE_TOO]))
def test_a_large_file_takes_less_than_200_megabytes_more(
    name: str, base_memory: int, tmp_path: Path, endurance: Any
) -> None:
    (file,) = [file for file in FILES if file.name == name]
    (tmp_path / "a.yaml").write_bytes(file.content)
    exit_code, peak = check_measured("a.yaml", tmp_path)
    assert exit_code == (0 if file.can_pass else 2)
    assert peak - base_memory < MEMORY_BYTES
    endurance.tell(f"memory for {name}", f"{(peak - base_memory) / 2**20:.0f} MB above {base_memory / 2**20:.0f} MB")

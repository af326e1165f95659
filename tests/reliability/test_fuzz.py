"""Whatever the command line is given, it ends with a documented exit code and a sentence, never with a traceback."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import Result

from charlm.runs.run import Run
from charlm.settings.diagnosis import known_keys
from charlm.training import footprint

EXIT_CODES = {0, 2, 3, 4, 5, 6, 7}
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# Whatever else an example sets: it ends at once. Later settings win.
BRIEF = (
    *("train.max_steps=1", "train.minutes=1", "sample.length=1", "sample.prefixes=['the ']", "train.threads=1"),
    *("train.device=cpu", "corpus.split=default", "eval.max_chars=100", "model.num_layers=1", "model.dropout=0"),
)
MEMORY = 20_000_000

Command = Callable[..., Result]
Fuzz = Callable[..., set[int]]

# Surrogates too: that is how Python passes on what is not UTF-8 on the command line.
CHARACTERS = st.characters(codec=None)
TEXTS = st.one_of(
    st.text("the cat.\n", max_size=12),
    st.text(CHARACTERS, max_size=12),
    st.text("\x00\x1b\x7f\x9b\r\n\t\ud800\udcff\u202e\ufeff[]{}'\"\\%é€🎵a ", max_size=12),
    st.sampled_from(
        ["", "-", "--", "~", "null", "x" * 5_000, "\ud800", "\udce9", "\x1b]0;title\x07", "%s%n", "${HOME}"]
    ),
)
NUMBERS = st.one_of(
    st.sampled_from([2**31, 2**63 - 1, 2**63, 2**64, 10**18, 10**19, 10**30]).map(str),
    st.integers(-3, 12).map(str),
    st.floats().map(str),
    st.sampled_from(
        [
            "",
            " 1",
            "1_0",
            "+1",
            "-0",
            "0x10",
            "1e3",
            "1e999",
            "-1e999",
            "nan",
            "-nan",
            "inf",
            "٣",
            "²",
            "½",
            "9" * 5_000,
        ]
    ),
    TEXTS,
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12),
    st.integers(),
    st.sampled_from([2**31, 2**63, 2**64, 10**98, 10**400]),
    st.floats(),
    st.sampled_from(
        ["gru", "letters", "80/10/10", "cosine", "cuda:9", "sgd", "utf-8", "bidirectional", "random", "no"]
    ),
    TEXTS,
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
KEYS = st.one_of(st.sampled_from(known_keys()), TEXTS, st.tuples(st.sampled_from(known_keys()), TEXTS).map(".".join))
ABSOLUTE = "SURROUNDINGS"
NAMES = st.one_of(
    st.text("ab.-_/\\~ \n\x00\x1b\ud800é", min_size=1, max_size=8),
    st.lists(st.sampled_from(["..", ".", "a", "", "runs", "outside", "trained", "~"]), min_size=1, max_size=5).map(
        "/".join
    ),
    st.sampled_from(
        [ABSOLUTE, f"{ABSOLUTE}/outside", f"{ABSOLUTE}/runs/../made", "/dev/null/x", "/proc/self/cwd/made"]
    ),
    st.sampled_from(
        ["a" * 100, "a" * 101, "a" * 300, "a/" * 3_000, "name\n", "٣", "ａ", "CON", "a.", "-a", "_a", ".a"]
    ),
    TEXTS,
)


# Settings that alone are good.
GOOD = st.sampled_from(
    [("model.cell", "gru"), ("model.cell", "rnn"), ("model.direction", "bidirectional"), ("optimizer.method", "sgd")]
)


def nested(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return dotted keys as nested mappings; a value that is in the way stays."""
    values: dict[str, Any] = {}
    for dotted, value in pairs:
        *sections, name = dotted.split(".")
        inner: Any = values
        for section in sections:
            inner = inner.setdefault(section, {}) if isinstance(inner, dict) else inner
        if isinstance(inner, dict):
            inner.setdefault(name, value)
    return values


CONFIGURATIONS = st.one_of(
    st.dictionaries(TEXTS, VALUES, max_size=4),
    st.lists(st.tuples(st.sampled_from(known_keys()), VALUES), max_size=5).map(nested),
    st.lists(st.tuples(KEYS, VALUES), max_size=5).map(nested),
    VALUES,
)


@pytest.fixture
def exit_codes() -> Counter[int]:
    """Return how often the commands of a test ended with which code."""
    return Counter()


@pytest.fixture
def charlm_command(charlm_command: Command, exit_codes: Counter[int]) -> Command:
    """Return what runs the command line in this process, and counts how it ended."""

    def counted(*arguments: str | Path, text: str | bytes | None = None) -> Result:
        result = charlm_command(*arguments, text=text)
        exit_codes[result.exit_code] += 1
        return result

    return counted


@pytest.fixture
def fuzz(endurance: Any, exit_codes: Counter[int], request: pytest.FixtureRequest) -> Fuzz:
    """Return what tries a check on examples, always the same ones of a seed, and gives the exit codes there were."""

    def run(check: Callable[..., None], *strategies: st.SearchStrategy[Any], short: int, long: int) -> set[int]:
        number = endurance.times(short, long)

        @hypothesis.seed(endurance.seed)
        @settings(max_examples=number, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck))
        @given(st.tuples(*strategies))
        def tried(examples: tuple[Any, ...]) -> None:
            check(*examples)

        tried()
        counts = ", ".join(f"{count:,} of code {code}" for code, count in sorted(exit_codes.items()))
        endurance.tell(request.node.name, f"{number:,} examples, 0 tracebacks; exits: {counts}")
        return set(exit_codes)

    return run


@pytest.fixture
def surroundings(tmp_path: Path, trained: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder: a folder of runs, and folders next to it where nothing may change."""
    for name in ("runs", "outside", "runs-of-others"):
        (tmp_path / name).mkdir()
    (tmp_path / "outside" / "config.yaml").write_text("model: {cell: gru}")
    (tmp_path / "runs" / "trained").symlink_to(trained.path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let models be refused that would take long to make."""
    monkeypatch.setattr(footprint, "physical_memory", lambda: MEMORY)


def assert_ended_well(result: Result) -> None:
    """Check an exit: documented, and a refusal is sentences on standard error that no terminal obeys."""
    assert result.exit_code in EXIT_CODES, result.output
    assert "Traceback" not in result.stderr
    if result.exit_code != 0:
        assert result.stdout == ""
        lines = result.stderr.split("\n")
        assert lines.pop() == ""
        assert lines
        assert all(line.startswith("charlm: ") and line.isprintable() for line in lines)


def listing(folder: Path) -> dict[str, int]:
    """Return everything in a folder but its runs, with the time of its last change."""
    paths = [path for path in folder.rglob("*") if folder / "runs" not in path.parents]
    return {str(path): path.lstat().st_mtime_ns for path in paths if path != folder / "runs"}


def test_any_prefix_and_suffix(fuzz: Fuzz, charlm_command: Command, trained: Run) -> None:
    def prefixes(prefix: str, option: str, length: int, stop: str, as_json: bool) -> None:
        arguments = [f"{option}={prefix}", f"--length={length}", f"--run={trained.path}", "--device=cpu"]
        arguments += ["--json"] * as_json + ([f"--stop={stop}"] if length % 2 else [])
        assert_ended_well(charlm_command("generate", *arguments))

    options = st.sampled_from(["--prefix", "--prefix", "--suffix"])
    codes = fuzz(prefixes, TEXTS, options, st.integers(0, 4), TEXTS, st.booleans(), short=50, long=2_000)
    assert codes == {0, 2, 3}


def test_any_prefix_file(fuzz: Fuzz, charlm_command: Command, trained: Run, surroundings: Path) -> None:
    def prefix_files(content: bytes, name: str) -> None:
        (surroundings / "prefix.txt").write_bytes(content)
        for file in ("prefix.txt", "-", name):
            arguments = (f"--prefix-file={file}", "--length=1", f"--run={trained.path}", "--device=cpu")
            assert_ended_well(charlm_command("generate", *arguments, text=content))

    contents = st.one_of(st.binary(max_size=20), TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")))
    assert fuzz(prefix_files, contents, NAMES, short=30, long=500) == {0, 2, 3}


def test_any_number_on_the_command_line(fuzz: Fuzz, charlm_command: Command, trained: Run) -> None:
    def numbers(option: str, number: str) -> None:
        others = ["--length=2", "--prefix=the "]
        assert_ended_well(
            charlm_command("generate", *others, f"{option}={number}", f"--run={trained.path}", "--device=cpu")
        )
        if option in ("--checkpoint", "--passes"):
            assert_ended_well(charlm_command("eval", f"{option}={number}", f"--run={trained.path}", "--device=cpu"))

    # Some lengths and numbers of samples are good and take long: only what is refused or short.
    endless = re.compile(r"\s*\+?0*[\d_]{3,10}\s*")
    options = ("--length", "--seed", "--temperature", "--top-k", "--top-p", "--min-p", "--passes", "--checkpoint")
    pairs = st.tuples(st.sampled_from([*options, "--num-samples", "--device"]), NUMBERS).filter(
        lambda pair: pair[0] not in ("--length", "--num-samples") or not endless.fullmatch(pair[1])
    )
    assert fuzz(lambda pair: numbers(*pair), pairs, short=70, long=2_000) == {0, 2, 4}


def test_any_size_of_gaps(fuzz: Fuzz, charlm_command: Command, trained: Run) -> None:
    def gaps(gap: str, every: str) -> None:
        result = charlm_command("eval", f"--gaps={gap}/{every}", f"--run={trained.path}", "--device=cpu")
        assert_ended_well(result)

    # The model reads one way only.
    assert fuzz(gaps, NUMBERS, NUMBERS, short=50, long=500) == {2}


def test_any_override(fuzz: Fuzz, charlm_command: Command) -> None:
    def overrides(pairs: list[tuple[str, Any]]) -> None:
        texts = [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in pairs]
        result = charlm_command("config", "show", *(f"--set={text}" for text in texts))
        assert_ended_well(result)
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", result.stdout)

    pairs = st.lists(st.one_of(st.tuples(KEYS, VALUES), GOOD), min_size=1, max_size=3)
    assert fuzz(overrides, pairs, short=70, long=2_000) == {0, 2}


def test_any_configuration(fuzz: Fuzz, charlm_command: Command, surroundings: Path) -> None:
    def configurations(values: Any, is_ascii: bool, junk: str) -> None:
        text = junk + json.dumps(values, ensure_ascii=is_ascii)
        (surroundings / "a.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
        assert_ended_well(charlm_command("config", "check", "a.yaml"))

    junk = st.one_of(st.just(""), st.just(""), TEXTS)
    assert fuzz(configurations, CONFIGURATIONS, st.booleans(), junk, short=70, long=2_000) == {0, 2}


def test_training_from_any_configuration(
    fuzz: Fuzz, charlm_command: Command, tiny_options: list[str], surroundings: Path
) -> None:
    def trainings(values: Any) -> None:
        before = listing(surroundings)
        (surroundings / "a.yaml").write_text(json.dumps(values), encoding="utf-8")
        options = ("--config=a.yaml", *tiny_options[:4], *(f"--set={setting}" for setting in BRIEF))
        result = charlm_command("train", *options, "--quiet", "--json")
        assert_ended_well(result)
        changed = {path for path, _ in before.items() ^ listing(surroundings).items()}
        assert changed <= {str(surroundings / "a.yaml")}

    numeric = st.sampled_from([key for key in known_keys() if not key.startswith(("train.", "corpus.", "eval."))])
    numbers = st.one_of(st.integers(0, 100), st.floats(0), st.sampled_from([1e-300, 1e30, 999, 65_536, 10**6, 10**12]))
    pairs = st.lists(st.one_of(st.tuples(numeric, numbers), GOOD), max_size=3).map(nested)
    assert {0, 2} <= fuzz(trainings, st.one_of(pairs, pairs, CONFIGURATIONS), short=40, long=500)


def test_any_name_for_a_new_run(
    fuzz: Fuzz, charlm_command: Command, tiny_options: list[str], surroundings: Path
) -> None:
    brief = ("--set=train.max_steps=1", "--set=sample.length=1", "--quiet", "--json")
    before = listing(surroundings)

    def new_names(name: str) -> None:
        name = name.replace(ABSOLUTE, str(surroundings))
        is_new = not (RUN_NAME.fullmatch(name) and (surroundings / "runs" / name).exists())
        result = charlm_command("train", *tiny_options, *brief, f"--run={name}")
        assert_ended_well(result)
        assert (result.exit_code == 0) == (RUN_NAME.fullmatch(name) is not None and is_new)
        assert result.exit_code in (0, 2)
        assert listing(surroundings) == before
        assert all(RUN_NAME.fullmatch(path.name) for path in (surroundings / "runs").iterdir())

    assert fuzz(new_names, NAMES, short=40, long=500) == {0, 2}


@pytest.mark.parametrize("command", ["generate", "eval", "info"])
def test_any_name_of_a_run(command: str, fuzz: Fuzz, charlm_command: Command, surroundings: Path) -> None:
    before = listing(surroundings)

    def names(name: str) -> None:
        name = name.replace(ABSOLUTE, str(surroundings))
        named = {
            "generate": (f"--run={name}", "--prefix=the ", "--length=1", "--device=cpu"),
            "eval": (f"--run={name}", "--split=val", "--device=cpu"),
            "info": ("--", name),
        }[command]
        assert_ended_well(charlm_command(command, *named))
        assert listing(surroundings) == before

    assert 4 in fuzz(names, NAMES, short=40, long=500)


def is_above(name: str, folder: Path) -> bool:
    """Say whether a name means a folder that holds another."""
    try:
        return folder.is_relative_to(Path(os.path.realpath(folder / name)))
    except ValueError:  # a zero byte
        return False


def test_any_folder_of_runs_and_any_corpus(
    fuzz: Fuzz, charlm_command: Command, tiny_options: list[str], surroundings: Path
) -> None:
    def places(name: str, device: str) -> None:
        name = name.replace(ABSOLUTE, str(surroundings))
        assert_ended_well(charlm_command("info", f"--runs-dir={name}"))
        # Folders are searched below, and those above this one hold half the disk.
        if not is_above(name, surroundings):
            assert_ended_well(charlm_command("train", *tiny_options[1:], f"--corpus={name}", "--quiet"))
        assert_ended_well(
            charlm_command("generate", "--run=trained", "--prefix=the ", "--length=1", f"--device={device}")
        )

    assert {0, 2} <= fuzz(places, NAMES, st.one_of(TEXTS, NUMBERS.map("cuda:{}".format)), short=40, long=500)


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("--prefix-file=/dev/zero",), 3, "the prefix file /dev/zero is longer than 10,000,000 bytes"),
        (("--prefix=a", "--json", "--length=1000001"), 2, "--length must be at most 1,000,000, got 1,000,001"),
        (("--prefix=a", "--num-samples=2", "--length=1000001"), 2, "--length must be at most 1,000,000"),
        (("--prefix=a", "--suffix=b", "--length=1000001"), 2, "--length must be at most 1,000,000"),
        (("--prefix=a", "--length=1000000001"), 2, "--length must be a whole number from 0 to "),
        (
            ("--prefix=a", f"--checkpoint={'9' * 5_000}"),
            2,
            "--checkpoint must be best, last or a step's number, got '999",
        ),
    ],
)
def test_what_would_not_end_is_refused(
    options: tuple[str, ...], code: int, sentence: str, charlm_command: Command, trained: Run
) -> None:
    result = charlm_command("generate", *options, f"--run={trained.path}", "--device=cpu")
    assert_ended_well(result)
    assert result.exit_code == code
    assert sentence in result.stderr


def test_sizes_of_gaps_beyond_any_count_are_refused(charlm_command: Command, trained: Run) -> None:
    result = charlm_command("eval", f"--gaps=1/{'9' * 5_000}", f"--run={trained.path}")
    assert_ended_well(result)
    assert result.stderr.startswith("charlm: --gaps must look like 5/25 (5 of every 25 characters), got '1/999")
    assert len(result.stderr) < 200


def test_no_error_of_any_command_sends_escapes_to_the_terminal(charlm_command: Command) -> None:
    result = charlm_command("corpus", "info", "./a\x1b[31m\r.txt")
    assert_ended_well(result)
    assert (result.exit_code, result.stderr) == (3, "charlm: there is no text file ./a\\x1b[31m\\r.txt\n")

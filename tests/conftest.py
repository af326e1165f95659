"""What tests share: a clean environment, a small text, tiny settings, one tiny run, and the command line."""

from __future__ import annotations

import gc
import os
import shlex
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import hypothesis
import memos
import processes
import pytest
import torch
from processes import RAN, Ended, Process, Ran
from typer.testing import CliRunner, Result

from charlm.cli.main import app
from charlm.kernels import library
from charlm.kernels.library import load_kernels, load_kernels_for
from charlm.kernels.processor import best_instruction_set, has_bfloat16
from charlm.library.training import train
from charlm.networks import native, native_predictor, support
from charlm.runs.run import Run
from charlm.settings.loading import dump_settings, load_settings
from charlm.settings.schema import Settings
from charlm.sweeps import sweeping
from charlm.sweeps.workers import Workers
from charlm.training import speed, threads

# One training epoch of the tiny settings is 42 windows of 4 x 16 characters, at about a millisecond each.
CORPUS_CHARS = 3_000
TINY = (
    "sampling.batch_size=4",
    "sampling.seq_len=16",
    "model.hidden_size=8",
    "train.max_steps=12",
    "train.eval_every=6",
    "train.device=cpu",
    "train.threads=1",
    "sample.prefixes=['the ']",
    "sample.length=8",
)


@dataclass(frozen=True)
class Endurance:
    """How long the reliability tests run, from which random seed, and what they found.

    Args:
        is_long: whether the full lengths were requested with --endurance.
        seed: the random seed of everything that a test draws.
        figures: what each test found, by the test's name.
    """

    is_long: bool
    seed: int
    figures: dict[str, str] = field(default_factory=dict)

    def times(self, short: int, long: int) -> int:
        """Return how often to try: a few times in the suite, as often as promised with --endurance."""
        return long if self.is_long else short

    def tell(self, name: str, figure: str) -> None:
        """Keep a result for the table at the end."""
        self.figures[name] = figure


memos.remember()

ENDURANCE = pytest.StashKey[Endurance]()
DATA_FOLDERS = count()

# A busy machine may take any time for an example.
hypothesis.settings.register_profile("charlm", deadline=None)
hypothesis.settings.load_profile("charlm")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the reliability tests."""
    parser.addoption("--endurance", action="store_true", help="run the reliability tests at their full length")
    parser.addoption("--seed", type=int, default=0, help="of the reliability tests")


def pytest_configure(config: pytest.Config) -> None:
    """Read it."""
    config.stash[ENDURANCE] = Endurance(config.getoption("--endurance"), config.getoption("--seed"))
    if config.getoption("--endurance"):
        # At full length, the slow tests are included.
        config.option.markexpr = ""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what the reliability tests found."""
    endurance = config.stash[ENDURANCE]
    if endurance.is_long:
        terminalreporter.section(f"reliability, seed {endurance.seed}")
        for name, figure in endurance.figures.items():
            terminalreporter.line(f"{name}: {figure}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show each command that a failed test has run, with its output, its folder and what that contains."""
    report = yield
    if report.failed and RAN:
        report.sections += [("command", ran.told()) for ran in RAN]
        folders = {ran.folder for ran in RAN} | {item.funcargs.get("tmp_path")}  # pyright: ignore[reportAttributeAccessIssue]
        own = sorted(path for path in folders if path is not None and path != item.config.rootpath)
        report.sections += [("files", processes.listing(path)) for path in own]
    return report


def pytest_collection_finish() -> None:
    """Exclude everything imported so far from garbage collection, because it stays until the end."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """End the process that forks others."""
    processes.FORKS.close()


@pytest.fixture(scope="session", autouse=True)
def _short_trials() -> None:
    """Measure the speed of the machine for a moment only, before each run that is fitted to its minutes."""
    speed.SECONDS, speed.FEWEST_STEPS = 0.01, 1
    threads.SECONDS, threads.MAX_ROUNDS = 0.01, 1


@pytest.fixture(scope="session")
def endurance(pytestconfig: pytest.Config) -> Endurance:
    """Return how long the reliability tests go on."""
    return pytestconfig.stash[ENDURANCE]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs the kernels if there are none; test_implementations.py fails if there should be some."""
    RAN.clear()
    kernels = load_kernels()
    if item.get_closest_marker("kernels") and isinstance(kernels, str):
        pytest.skip(kernels)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Keep torch to one thread: for tensors this small, more of them only wait for each other on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's caches, runs and terminal settings out of every test, and the waiting for the disk."""
    # Each checkpoint waits for the disk nine times: that is for machines that lose power, which no test does.
    monkeypatch.setattr(os, "fsync", lambda _: None)
    # A process started in the checkout must find the installed package, not the folder next to it.
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    # Each test has its own, and none is made before something is stored in it.
    monkeypatch.setenv("CHARLM_DATA_DIR", str(tmp_path_factory.getbasetemp() / f"charlm-data-{next(DATA_FOLDERS)}"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / f"charlm-state-{os.getpid()}"))
    for name in ("CHARLM_RUNS_DIR", "CI", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def corpus_text() -> str:
    """Return a text of short sentences, 19 symbols, the same every time."""
    random, words = Random(0), ["the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "hill", "saw", "moon"]
    sentences = (" ".join(random.choices(words, k=6)) + ".\n" for _ in range(200))
    return "".join(sentences)[:CORPUS_CHARS]


@pytest.fixture(scope="session")
def corpus_file(corpus_text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the text as a file."""
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text(corpus_text, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_options(corpus_file: Path) -> list[str]:
    """Return the options of `charlm train` for a run of a fraction of a second; later --set options win."""
    return [f"--corpus={corpus_file}", "--config=defaults", *(f"--set={setting}" for setting in TINY)]


@pytest.fixture(scope="session")
def tiny_settings(corpus_file: Path) -> Callable[..., Settings]:
    """Return a function that makes tiny settings; overrides such as `model.cell=gru` win."""

    def make(*overrides: str) -> Settings:
        return load_settings(overrides=[f"corpus.path='{corpus_file}'", *TINY, *overrides])

    return make


@pytest.fixture(scope="session")
def trained(tiny_settings: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run of 60 steps that no test may change; it is alone in its runs folder."""
    settings = tiny_settings("train.max_steps=60", "train.eval_every=20", "optimizer.learning_rate=0.02")
    return train(settings, name="trained", runs_dir=tmp_path_factory.mktemp("trained") / "runs")


@pytest.fixture(scope="session")
def names_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a list of 150 invented names, one a line, as a file."""
    random = Random(0)
    names = {
        "".join(random.choice(("ba", "ko", "li", "mu", "ta")) for _ in range(random.randint(1, 5))) for _ in range(300)
    }
    path = tmp_path_factory.mktemp("names") / "names.txt"
    path.write_text("".join(f"{name}\n" for name in sorted(names)[:150]), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def listed(names_file: Path, tiny_settings: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run of items that no test may change; it is alone in its runs folder."""
    settings = tiny_settings(
        f"corpus.path='{names_file}'",
        "corpus.items=lines",
        "corpus.split=80/10/10",
        "sample.prefixes=null",
        "train.max_steps=60",
        "train.eval_every=20",
        "optimizer.learning_rate=0.02",
    )
    return train(settings, name="list", runs_dir=tmp_path_factory.mktemp("listed") / "runs")


@pytest.fixture
def write_sweep(tmp_path: Path, tiny_settings: Callable[..., Settings]) -> Callable[..., Path]:
    """Return a function that writes a sweep file next to `base.yaml`, which has tiny settings and any given ones."""

    def write(text: str, *overrides: str) -> Path:
        settings = tiny_settings("eval.baselines=false", *overrides)
        (tmp_path / "base.yaml").write_text(dump_settings(settings), encoding="utf-8")
        path = tmp_path / "sweep.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def _in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the trials of sweeps run in a thread of this process, which starts at once."""
    monkeypatch.setattr(sweeping, "local_workers", lambda _: Workers(lambda: ThreadPoolExecutor(1), 1))


@pytest.fixture(scope="session")
def charlm_command() -> Callable[..., Result]:
    """Return a function that runs the command line in this process; standard input can be given."""

    def invoke(*arguments: str | Path, text: str | bytes | None = None) -> Result:
        words = [str(argument) for argument in arguments]
        result = CliRunner().invoke(app, words, input=text)
        ended = Ended(result.exit_code, result.stdout, result.stderr)
        RAN.append(Ran(shlex.join(["charlm", *words]), Path.cwd(), ended=ended))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result

    return invoke


@pytest.fixture
def charlm_process() -> Iterator[Callable[..., Process]]:
    """Yield a function that starts the command line as a separate process, as `processes.start` does."""
    with ExitStack() as started:

        def start(*arguments: str | Path, **options: Any) -> Process:
            process = started.enter_context(processes.start(*arguments, **options))
            started.callback(process.kill)  # nothing where it has ended, as it has in a test that passes
            return process

        yield start


@pytest.fixture(
    params=["aarch64"] if best_instruction_set() == "aarch64" else ["x86-64-v3", "x86-64-v4", "x86-64-v4-bf16"]
)
def instruction_set(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have networks run the kernels of one library, and name its instruction set."""
    name, bfloat16, _ = request.param.partition("-bf16")
    # A processor with the wider instruction set has the narrower one too.
    if name > (best_instruction_set() or "") or (bfloat16 and not has_bfloat16(name)):
        pytest.skip(f"this processor has no {request.param}")
    kernels = load_kernels_for(name, with_bfloat16=bool(bfloat16))
    if isinstance(kernels, str):
        pytest.skip(kernels)
    for module in (native, native_predictor, support):
        monkeypatch.setattr(module, "load_kernels", lambda: kernels)
    return name


@pytest.fixture
def without_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Pretend that the kernels have no version for this processor; yield the message about it."""
    monkeypatch.setattr(library, "best_instruction_set", lambda: None)
    load_kernels.cache_clear()
    yield "the native kernels have no version for this processor"
    load_kernels.cache_clear()


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    """Yield a function that changes torch's number of threads until the test ends."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)

"""Training on a text larger than memory should be: the text stays on disk, mapped, and is read a window at a time."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import Process, finish, run_code, start

from charlm.text.corpus import CACHED_BYTES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of a process from /proc")

NUM_CHARS = 24_000_000
NUM_CHARS_LONG = 1_000_000_000
# In addition to a process that has imported everything.
ALLOWED_MB = 300
# Above the same run on the first characters only: half a byte for each character would show in the shorter text.
ALLOWED_GROWTH_MB = 12
SMALL_CHARS = 200_000
BLOCK_BYTES = 1 << 20
HELD_OUT = 20_000
SEQ_LEN = 64
# Everything else is a default, the batches of 32 x 64 characters and the 64 hidden units written out.
OPTIONS = (
    "sampling.batch_size=32",
    f"sampling.seq_len={SEQ_LEN}",
    "model.hidden_size=64",
    "train.max_steps=40",
    "train.eval_every=20",
    "train.threads=1",
    "train.device=cpu",
    "eval.max_chars=5000",
    # Baselines know the last of the training part, whatever its size, and would hide what grows.
    "eval.baselines=false",
)
BASE_PROGRAM = "import torch, charlm.cli.main; print(open('/proc/self/status').read())"


@dataclass(frozen=True)
class Corpus:
    """A file, and how many characters it has."""

    path: Path
    num_chars: int


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, endurance: Any) -> Iterator[Corpus]:
    """Yield a text of words from a seed: one random block again and again, each time with other letters changed."""
    folder, num_chars = tmp_path_factory.mktemp("large"), endurance.times(NUM_CHARS, NUM_CHARS_LONG)
    random = np.random.default_rng(endurance.seed)
    letters = np.frombuffer(b"etaoin shrdlu cmfwyp vbgk\nETAOIN.,'", dtype=np.uint8)
    block = letters[random.integers(len(letters), size=BLOCK_BYTES)]
    with (folder / "large.txt").open("wb") as file:
        for start in range(0, num_chars, BLOCK_BYTES):
            block[random.integers(BLOCK_BYTES, size=1000)] = letters[random.integers(len(letters), size=1000)]
            file.write(block[: num_chars - start].tobytes())
    yield Corpus(folder / "large.txt", num_chars)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def megabytes_of_torch() -> float:
    """Return the anonymous memory of a process that has imported torch and done nothing else."""
    return anonymous_megabytes(run_code(BASE_PROGRAM).stdout)


def anonymous_megabytes(status: str) -> float:
    """Return what a process holds that no file stands behind, from its /proc/PID/status."""
    lines = [line.split() for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(lines[0][1]) / 1024 if lines else 0.0


def peak_megabytes(process: Process) -> float:
    """Watch a process to its end and return the most anonymous memory it was seen with.

    The kernel keeps a peak only of all resident memory, with the mapped pages, which it takes back when others need
    them. So this looks every 2 ms, from outside, where no lock of the process can delay it: memory counts once it
    is touched, and to touch 20 MB alone takes longer than that.
    """
    status, peak = Path(f"/proc/{process.pid}/status"), 0.0
    while process.poll() is None:
        with suppress(OSError):  # it may have ended since
            peak = max(peak, anonymous_megabytes(status.read_text()))
        time.sleep(0.002)
    return peak


def train(corpus: Corpus, folder: Path, cache: Path, *chosen: str) -> float:
    """Train in a process of its own, its run in a folder, and return its peak in megabytes."""
    split = [corpus.num_chars - 2 * HELD_OUT, HELD_OUT, HELD_OUT]
    options = [f"--set={option}" for option in (*OPTIONS, f"corpus.split={split}", *chosen)]
    environment = os.environ | {"CHARLM_DATA_DIR": str(cache), "CHARLM_RUNS_DIR": str(folder)}
    with start(
        "train", "--config=defaults", "--quiet", f"--corpus={corpus.path}", "--run=run", *options, env=environment
    ) as process:
        peak = peak_megabytes(process)
        assert finish(process).exit_code == 0
    facts = json.loads((folder / "run" / "environment.json").read_bytes())
    assert [part["chars"] for part in facts["split"].values()] == split
    return peak


@pytest.fixture(scope="module")
def megabytes_of_a_small_text(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> float:
    """Return the peak of the same run on the first characters of the text."""
    folder = tmp_path_factory.mktemp("small")
    return train(Corpus(corpus.path, SMALL_CHARS), folder, folder / "cache", f"corpus.max_chars={SMALL_CHARS}")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a folder for the text as numbers: the first run writes them, whatever its kind, and the others map them."""
    yield (folder := tmp_path_factory.mktemp("cache"))
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("method", "direction"),
    [
        ("random", "forward"),
        pytest.param("consecutive", "forward", marks=pytest.mark.slow),
        pytest.param("consecutive", "backward", marks=pytest.mark.slow),
    ],
)
def test_memory_does_not_grow_with_the_text(
    corpus: Corpus,
    megabytes_of_torch: float,
    megabytes_of_a_small_text: float,
    endurance: Any,
    tmp_path: Path,
    cache: Path,
    method: str,
    direction: str,
) -> None:
    began = time.monotonic()
    megabytes = train(corpus, tmp_path, cache, f"sampling.method={method}", f"model.direction={direction}")
    seconds = time.monotonic() - began
    # As large as the text: it was mapped from here, and is not left behind.
    assert sum(file.stat().st_size for file in cache.rglob("*.ids")) > corpus.num_chars > CACHED_BYTES
    endurance.tell(
        f"{corpus.num_chars / 1e9:g} GB corpus, {method}, {direction}",
        f"{megabytes - megabytes_of_torch:.0f} MB of anonymous memory above torch's {megabytes_of_torch:.0f}, "
        f"{megabytes - megabytes_of_a_small_text:.0f} above a text of {SMALL_CHARS:,} characters; {seconds:.0f} s",
    )
    assert megabytes - megabytes_of_torch < ALLOWED_MB
    order_megabytes = corpus.num_chars / SEQ_LEN * 4 / 2**20 if method == "random" else 0
    assert megabytes - megabytes_of_a_small_text < ALLOWED_GROWTH_MB + order_megabytes

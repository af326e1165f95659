"""A long run takes no more memory than a short one."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from processes import run_code

STATM = Path("/proc/self/statm")
# Evaluations, samples, checkpoints and epochs come often, so that whatever they keep would show.
SETTINGS = (
    *("sampling.batch_size=4", "sampling.seq_len=16", "model.hidden_size=16", "train.device=cpu", "train.threads=1"),
    *("train.eval_every=50", "sample.every=50", "sample.prefixes=['the ']", "sample.length=20"),
    *("checkpoint.keep_every=null", "model.num_layers=2", "model.dropout=0.1"),
)
EVERY = 100
# The memory of the whole process, because tracemalloc does not see what torch allocates outside Python.
PROBE = f"""
import os, sys
from pathlib import Path
from charlm.settings.loading import load_settings
from charlm.training.launch import train_reports
from charlm.training.events import Step

if len(sys.argv) > 3:
    os.fsync = lambda _: None
for report in train_reports(load_settings(overrides=sys.argv[1].split("\\n")), runs_dir=Path(sys.argv[2])):
    if isinstance(report, Step) and report.step % {EVERY} == 0:
        print(int(Path("{STATM}").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not STATM.exists(), reason="this system does not tell a process its memory")
def test_memory_grows_by_less_than_a_kilobyte_a_step_once_all_is_warm(
    endurance: Any, corpus_file: Path, tmp_path: Path
) -> None:
    num_steps, span = endurance.times(2_000, 10_000), 1_000
    overrides = [f"corpus.path='{corpus_file}'", f"train.max_steps={num_steps}", *SETTINGS]
    unsynced = [] if endurance.is_long else ["unsynced"]
    ended = run_code(PROBE, "\n".join(overrides), tmp_path, *unsynced, timeout=3_000)
    assert ended.exit_code == 0
    sizes = json.loads(f"[{','.join(ended.stdout.split())}]")
    assert len(sizes) == num_steps // EVERY
    spans = sizes[:: -span // EVERY][::-1]
    growth = [(later - sooner) / span for sooner, later in pairwise(spans)]
    told = ", ".join(f"{each:+.0f}" for each in growth)
    endurance.tell("memory", f"{told} bytes a step in each {span:,} steps after the first")
    assert len(growth) == max(1, num_steps // span - 1)
    assert max(growth) < 1_000

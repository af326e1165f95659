"""The package works from an empty folder, installed plain and editable."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["plain", "editable"])
def test_a_fresh_install_trains_from_an_empty_folder(mode, tmp_path):
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    # The dependencies are those of this environment; what is tested is our own package.
    (site,) = environment.glob("lib/python*/site-packages")
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(ours), encoding="utf-8")
    flags = ["-e"] if mode == "editable" else []
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--force-reinstall", *flags]
    subprocess.run([python, *install, REPOSITORY], check=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}

    def run(*arguments: str) -> str:
        done = subprocess.run(arguments, cwd=empty, env=clean, check=True, capture_output=True, text=True)
        return done.stdout

    where = run(str(python), "-c", "import charlm; print(charlm.__file__)").strip()
    assert Path(where).is_relative_to(REPOSITORY if mode == "editable" else site)
    charlm = str(environment / "bin" / "charlm")
    assert "lyrics-gru" in run(
        str(python), "-c", "from charlm.settings.layers import shipped_names; print(shipped_names())"
    )
    assert "stories" in run(charlm, "corpus", "list")
    assert "charlm train" in run(charlm, "guide", "commands")
    assert "bits per character" in run(charlm, "train", "--set", "train.max_steps=2", "--quiet")
    assert run(charlm, "generate", "--prefix", "The ", "--length", "5").startswith("The ")
    assert "bytes; open it in a browser" in run(charlm, "page", "-o", "page.html")
    # In the checkout itself, Python finds the folder `charlm` there before the installed package.
    command = [python, "-m", "charlm", "config", "show"]
    listed = subprocess.run(command, cwd=REPOSITORY, env=clean, check=True, capture_output=True)
    assert b"name: stories" in listed.stdout

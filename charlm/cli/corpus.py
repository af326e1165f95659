"""`charlm corpus`: list known corpora, describe a corpus or a file, and download a corpus."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.corpora import GlobOption, corpus_layers
from charlm.cli.exits import clean_exit
from charlm.errors import TextError

if TYPE_CHECKING:
    from charlm.text.folders import Found

HELP = """List, describe and download corpora.

Example:

    charlm corpus info stories
"""
corpus_app = typer.Typer(no_args_is_help=True, help=HELP)


@corpus_app.command("list")
@clean_exit
def list_corpora() -> None:
    """List the known corpora, and show which of them are on this machine.

    Example:

        charlm corpus list
    """
    from charlm.console.corpora import show_corpora
    from charlm.text.known import corpus_entries

    show_corpora(corpus_entries())


@corpus_app.command("info")
@clean_exit
def describe_corpus(
    target: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE",
            help="A known corpus, or a text file or a folder of them (./NAME always means a file).",
        ),
    ],
    encoding: Annotated[
        str | None, typer.Option(help="The encoding of the file.", show_default="the corpus's own, or utf-8")
    ] = None,
    glob: GlobOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Describe a text: size, symbols, line ends, entropies, and how well bzip2 compresses it.

    Example:

        charlm corpus info stories
    """
    import json
    from dataclasses import asdict

    from charlm.console.corpora import show_statistics
    from charlm.text.decoding import Decoding, Joints, read_files
    from charlm.text.files import hash_files
    from charlm.text.known import KNOWN_CORPORA, standard_split
    from charlm.text.notices import character_notices
    from charlm.text.statistics import describe_text

    found, path = _located(target, glob or [])
    known = KNOWN_CORPORA.get(target)
    chosen = encoding or (known.encoding if known else "utf-8")
    split = standard_split(target)
    sha256, _ = hash_files(found.files)
    statistics = describe_text(read_files(found.files, Decoding(chosen, joints=Joints())))
    notices = [] if known else [*found.notices, *character_notices(statistics.odd, chosen)]
    if as_json:
        facts = {
            "path": str(path),
            "sha256": sha256,
            "encoding": chosen,
            "split": split,
            **asdict(statistics),
            "notices": [notice.sentence for notice in notices],
        }
        del facts["odd"]
        typer.echo(json.dumps(facts))
        return
    show_statistics(statistics, path=path, sha256=sha256, encoding=chosen, split=split)
    for notice in notices:
        typer.echo(f"{'warning' if notice.is_warning else 'note'}: {notice.sentence}", err=True)


@corpus_app.command("get")
@clean_exit
def get_corpus(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of a public corpus; see `charlm corpus list`.")],
    folder: Annotated[
        Path | None,
        typer.Option("--from", metavar="FOLDER", help="Copy the corpus from this folder instead of downloading it."),
    ] = None,
) -> None:
    """Download a public corpus, check its SHA-256, and print the path of the file.

    Run the same command again to resume an interrupted download.

    Example:

        charlm corpus get tinyshakespeare
    """
    from charlm.console.corpora import download_progress
    from charlm.text.download import fetch_corpus, import_corpus
    from charlm.text.known import known_corpus

    corpus = known_corpus(name)
    with download_progress(name) as report:
        path = fetch_corpus(corpus, report=report) if folder is None else import_corpus(corpus, folder, report=report)
    typer.echo(f"{name}: {corpus.num_bytes:,} bytes; the SHA-256 is correct", err=True)
    typer.echo(path)


def _located(target: str, globs: list[str]) -> tuple[Found, Path]:
    """Return the files of a known corpus, or else those at that path, and where they are."""
    from charlm.settings.corpus import CorpusSettings
    from charlm.settings.nearest import did_you_mean
    from charlm.text.files import find_corpus
    from charlm.text.known import corpus_names, nearest_text

    path = Path(target)
    corpus_layers([target], [], globs)
    if target in corpus_names():
        found = find_corpus(CorpusSettings(name=target))
        return found, found.files[0]
    if os.path.lexists(target):
        values = {"path": target, **({"glob": globs} if globs else {})}
        return find_corpus(CorpusSettings.model_validate(values)), path
    if path.suffix or path.name != target:
        raise TextError(f"there is no text file {target}{did_you_mean(nearest_text(path))}")
    return find_corpus(CorpusSettings(name=target)), path

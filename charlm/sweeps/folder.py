"""A sweep's folder: its owner, the sweep's definition, and the runs of its trials."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from charlm.errors import ConfigError, RunError, TextError
from charlm.runs.durable import DRAFT_NAME, replace_file, storage_error, sweep_drafts
from charlm.runs.json_records import Json
from charlm.runs.ownership import LEASE_NAME, LOCK_NAME, Ownership, take_ownership
from charlm.runs.run import SWEEP_DEFINITION as DEFINITION
from charlm.runs.run import Run
from charlm.settings.corpus import CorpusSettings
from charlm.settings.loading import check_layer
from charlm.settings.strict_yaml import dump_yaml
from charlm.sweeps.plan import Plan, Trial
from charlm.sweeps.space import Options
from charlm.text.files import hash_files, locate_corpus


def own_folder(folder: Path, plan: Plan) -> Ownership:
    """Create or take over the sweep's folder, and store the sweep's definition.

    Raises:
        ConfigError: if the folder already contains something else.
        RunInUseError: if another process is running the sweep.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = [entry.name for entry in folder.iterdir()]
    except OSError as error:
        raise storage_error(folder, error) from error
    if Run(folder).exists:
        raise ConfigError(f"{folder} is a run and not a sweep: give the sweep another name")
    is_begun = all(name == LOCK_NAME or LEASE_NAME.fullmatch(name) or DRAFT_NAME.fullmatch(name) for name in names)
    if DEFINITION not in names and not is_begun:
        raise ConfigError(f"{folder} exists already and holds something else: give the sweep another name")
    ownership = take_ownership(folder)
    try:
        sweep_drafts(folder)
        replace_file(folder / DEFINITION, dump_yaml(_definition(plan)).encode("utf-8"))
    except BaseException:
        ownership.release()
        raise
    return ownership


def check_texts(trials: Iterable[Trial], folder: Path) -> None:
    """Check that the texts of trials that have run are unchanged; otherwise results on different texts would be mixed.

    Raises:
        RunError: if a text was replaced or removed.
    """
    hashes: dict[tuple[str | tuple[str, ...] | None, ...], str] = {}
    for trial in trials:
        run, corpus = Run(folder / trial.name), trial.settings.corpus
        if not run.exists:
            continue
        try:
            recorded = run.environment()
        except RunError:
            # A damaged run folder is reported when the trial is resumed; its result in the ledger remains valid.
            continue
        key = corpus.name, corpus.path, corpus.glob
        if key not in hashes:
            hashes[key] = _text_hash(corpus, folder)
        if hashes[key] != recorded.corpus_sha256:
            raise RunError(
                f"the corpus {recorded.corpus_name} is not the text that the sweep {folder} was begun with: its "
                f"SHA-256 is {hashes[key][:12]} and was {recorded.corpus_sha256[:12]}; "
                f"{_remedy(corpus, recorded.corpus_sha256)}, or give the sweep another name"
            )


def _text_hash(corpus: CorpusSettings, folder: Path) -> str:
    try:
        return hash_files(locate_corpus(corpus))[0]
    except TextError as error:
        raise RunError(f"{error}; the sweep {folder} has trials on that text: restore it") from error


def _remedy(corpus: CorpusSettings, recorded: str) -> str:
    """Say how to get the text back that a sweep was begun with, which an older charlm may have read from a folder."""
    try:
        is_older = hash_files(locate_corpus(corpus.model_copy(update={"glob": None})))[0] == recorded
    except TextError:
        is_older = False
    return "set corpus.glob to null, to read the folder as an older charlm did" if is_older else "restore the old text"


def _definition(plan: Plan) -> Json:
    """Return the sweep's definition as plain values, with the base resolved."""
    space: Json = {}
    for each in plan.space.dimensions:
        if isinstance(each, Options):
            is_bundle = "." not in each.name
            values: list[Json] = [{setting.key: setting.value for setting in option} for option in each.options]
            space[each.name] = [value if is_bundle else value[each.name] for value in values]
        else:
            space[each.name] = {each.scale: [each.low, each.high]}
    return {
        "name": plan.name,
        "method": plan.method,
        "seeds": list(plan.seeds),
        "space": space,
        "objective": {"metric": plan.metric, "direction": plan.direction},
        "stop_early": {"rungs": list(plan.rungs), "keep": plan.keep} if plan.rungs else None,
        "budget": {"num_trials": plan.num_trials, "minutes": plan.minutes},
        "base": check_layer(plan.base).model_dump(mode="json"),
    }

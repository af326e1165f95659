"""Workers of a Dask cluster: the same tasks on other machines, which share the runs folder."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Executor, Future, wait
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, cast

from charlm.errors import ConfigError, StorageError, printable
from charlm.settings.schema import Settings
from charlm.sweeps.tasks import Outcome
from charlm.sweeps.workers import Workers

MISSING = "--scheduler needs Dask, which is not installed: pip install 'charlm[cluster]'"
CONNECT_SECONDS = 20
# An elastic cluster grows with what waits, so that some tasks always do.
NUM_SLOTS = 64
# Within it running trials have noticed that the sweep has ended, and saved.
SAVING_SECONDS = 30


@contextmanager
def cluster_workers(address: str, settings: Settings) -> Generator[Workers]:
    """Yield the workers of a cluster.

    Args:
        address: of its scheduler, such as tcp://head:8786.
        settings: of the trials; on a GPU each takes one of the workers' resource GPU.
    Raises:
        ConfigError: where Dask is missing, and for what is no address.
        StorageError: where no scheduler answers; and while trials run, once it is gone for good.
    """
    if find_spec("distributed") is None:
        raise ConfigError(MISSING)
    from distributed import Client
    from distributed.comm.addressing import get_address_host_port
    from distributed.scheduler import KilledWorker

    shown = printable(address, 200)
    try:
        # Before there is a client: one that could not be made closes itself at some later time, in a thread of its own.
        get_address_host_port(address)
        client = Client(address, timeout=CONNECT_SECONDS)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{shown} is no address of a Dask scheduler, such as tcp://head:8786: {printable(str(error), 300)}"
        ) from error
    except OSError as error:
        raise StorageError(f"no Dask scheduler answers at {shown}: {printable(str(error), 300)}") from error
    options: dict[str, Any] = {"resources": {"GPU": 1}} if settings.train.device.startswith("cuda") else {}

    def start() -> Executor:
        # Not pure: the same task once more is not answered from memory, its run tells how far it is.
        return cast("Executor", client.get_executor(pure=False, **options))

    def check() -> None:
        # Its client tries for a while to find it again, and closes itself.
        if client.status == "closed":
            gone = f"the Dask scheduler at {shown} is gone"
            raise StorageError(f"{gone}; what ran is saved, and the same command goes on")

    def close(executor: Executor, futures: list[Future[Outcome]]) -> None:
        if client.status != "closed":
            # What no worker has taken up would wait for ever.
            wait(futures, timeout=SAVING_SECONDS)
            executor.shutdown(wait=False)

    try:
        yield Workers(start, NUM_SLOTS, lost=(KilledWorker,), close=close, check=check)
    finally:
        client.close()

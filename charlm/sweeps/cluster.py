"""Run tasks on a Dask cluster, whose machines share the runs folder."""

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
# An elastic cluster grows when tasks are waiting, so some always are.
NUM_SLOTS = 64
# Within this time, running trials have noticed that the sweep has ended and saved their checkpoints.
SAVING_SECONDS = 30


@contextmanager
def cluster_workers(address: str, settings: Settings) -> Generator[Workers]:
    """Yield the workers of a cluster.

    Args:
        address: the address of its scheduler, such as tcp://head:8786.
        settings: the settings of the trials; on a GPU, each trial uses one unit of the workers' resource GPU.
        Raises:
            ConfigError: if Dask is missing or the address is not valid.
            StorageError: if no scheduler answers or, while trials run, if the scheduler does not come back.
    """
    if find_spec("distributed") is None:
        raise ConfigError(MISSING)
    from distributed import Client
    from distributed.comm.addressing import get_address_host_port
    from distributed.scheduler import KilledWorker

    shown = printable(address, 200)
    try:
        # Check this first: a client that could not be created closes itself some time later, in a thread of its own.
        get_address_host_port(address)
        client = Client(address, timeout=CONNECT_SECONDS)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{shown} is not the address of a Dask scheduler, such as tcp://head:8786: {printable(str(error), 300)}"
        ) from error
    except OSError as error:
        raise StorageError(f"no Dask scheduler answers at {shown}: {printable(str(error), 300)}") from error
    options: dict[str, Any] = {"resources": {"GPU": 1}} if settings.train.device.startswith("cuda") else {}

    def start() -> Executor:
        # Not pure, so that Dask never answers a repeated task from memory: the run itself knows how far it is.
        return cast("Executor", client.get_executor(pure=False, **options))

    def check() -> None:
        # The client tries to reach the scheduler again for a while, and then closes itself.
        if client.status == "closed":
            gone = f"the Dask scheduler at {shown} has disappeared"
            raise StorageError(f"{gone}; its trials are saved, and the same command resumes the sweep")

    def close(executor: Executor, futures: list[Future[Outcome]]) -> None:
        if client.status != "closed":
            # Tasks that no worker has started would wait for ever, hence the timeout.
            wait(futures, timeout=SAVING_SECONDS)
            executor.shutdown(wait=False)

    try:
        yield Workers(start, NUM_SLOTS, lost=(KilledWorker,), close=close, check=check)
    finally:
        client.close()

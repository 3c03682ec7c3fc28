"""The supervisor of a local instance: takes the lock, sweeps leftovers, starts the components, stops all of them."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from forge.config import Settings
from forge_airflow.components import (
    COMPONENTS,
    SPARK_POOL,
    TENSORBOARD_VARIABLE,
    Components,
    StartError,
    admin_password,
    airflow_environment,
    airflow_home,
    forget_dead_jobs,
    free_port,
    migrate,
)
from forge_airflow.instance import start_watchdog, stop_watchdogs, sweep
from forge_airflow.process import ProcessIdentity, identity_of, is_alive, process_state
from forge_airflow.rest import AirflowRest

START_SECONDS = 180.0
"""How long the components may take until all are healthy."""

FIRST_TENSORBOARD_PORT = 6006

HEALTHY_PARTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")


class StopRequest(Exception):
    """A signal, or the death of the caller, asked the supervisor to stop."""


@dataclass(frozen=True)
class Running:
    """A started instance."""

    url: str
    tensorboard_url: str
    password: str
    password_is_new: bool
    rest: AirflowRest
    components: Components

    def check(self) -> None:
        """Raise StartError when a component has ended."""
        self.components.check()


def watched_callers() -> list[ProcessIdentity]:
    """Processes whose death ends this one: the parent, and the ancestors in our process group.

    A job in the background of a script (SIGINT is ignored there) outlives the script on purpose: then only the parent
    counts.
    """
    own = process_state(os.getpid())
    callers: list[ProcessIdentity] = []
    pid = os.getppid()
    while own is not None and pid > 1:
        state = process_state(pid)
        if state is None or (callers and state.group != own.group):
            break
        callers.append(state.identity)
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            break
        pid = state.parent
    return callers


def stop_with_callers() -> None:
    """Make SIGTERM, SIGHUP and the death of a caller raise :class:`StopRequest` in the main thread."""
    callers = watched_callers()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        for quiet in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(quiet, signal.SIG_IGN)  # the stop itself is not interrupted
        raise StopRequest(signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` and background jobs of scripts want it
            signal.signal(number, on_signal)

    def watch() -> None:
        while all(is_alive(caller) for caller in callers):
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    if callers:
        threading.Thread(target=watch, name="caller-watch", daemon=True).start()


@contextmanager
def instance_lock(settings: Settings) -> Iterator[None]:
    """One supervisor for each home. Raises StartError when another one lives."""
    path = airflow_home(settings) / "supervisor.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise StartError(
                f"an Airflow of {settings.home_path} is already running ({file.read().strip() or 'starting'}); "
                "stop it with `python -m forge_airflow.local stop`"
            ) from None
        file.truncate(0)
        file.write(f"pid {os.getpid()}")
        file.flush()
        yield


def supervisor_of(settings: Settings) -> ProcessIdentity | None:
    """The living supervisor of the instance, None when there is none."""
    path = airflow_home(settings) / "supervisor.lock"
    with suppress(OSError, ValueError), path.open("r+", encoding="utf-8") as file:
        text = file.read()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return identity_of(int(text.split()[1]))
    return None


@contextmanager
def running_instance(
    settings: Settings, say: Callable[[str], None], dags_folder: Path | None = None
) -> Iterator[Running]:
    """Start the four components, yield when all are healthy, stop everything at the end however it comes.

    Must be entered from the main thread. Raises StartError.
    """
    home = settings.home_path
    with instance_lock(settings):
        stop_watchdogs(home)
        leftovers = sweep(home)
        if leftovers:
            say(f"stopped {leftovers} processes that an earlier run left behind")
        watchdog = start_watchdog(home)
        rest: AirflowRest | None = None
        try:
            port = free_port(settings.airflow.port)
            tensorboard_port = free_port(FIRST_TENSORBOARD_PORT)
            environment = airflow_environment(settings, port, dags_folder, tensorboard_port)
            password, is_new = admin_password(settings)
            if migrate(settings, environment):
                say("created the metadata database")
            forget_dead_jobs(settings)
            components = Components(settings, environment)
            url = f"http://127.0.0.1:{port}"
            rest = AirflowRest(url, "admin", password)
            components.start(COMPONENTS[0])
            _wait(components, lambda: rest.health().get("metadatabase") == "healthy", "the API server")
            rest.ensure_pool(SPARK_POOL, 1)
            for component in COMPONENTS[1:]:
                components.start(component)
            _wait(
                components,
                lambda: all(rest.health().get(part) == "healthy" for part in HEALTHY_PARTS),
                "scheduler, dag-processor and triggerer",
            )
            components.start_tensorboard(tensorboard_port)
            yield Running(url, environment[TENSORBOARD_VARIABLE], password, is_new, rest, components)
        finally:
            if rest is not None:
                rest.close()
            spare = identity_of(watchdog.pid)
            sweep(home, grace_seconds=6.0, spare=frozenset({spare} if spare else ()))
            stop_watchdogs(home)
            watchdog.wait()


def _wait(components: Components, is_ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_ready():
        components.check()
        if time.monotonic() > deadline:
            raise StartError(
                f"{what} did not become healthy in {START_SECONDS:.0f} s; logs: {components.log_path('*')}"
            )
        time.sleep(0.5)

"""``python -m forge_airflow.local demo|ui|stop|status``: a complete Airflow on this machine, without any set-up.

It lives below ``<home>/airflow``: SQLite, LocalExecutor, simple auth with a generated password, a port of its own where
the usual one is taken. Whatever ends this program, ``kill -9`` included, ends all that it started.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

from rich.console import Console

from forge.config import ConfigurationError, Settings, checkout, load_settings
from forge_airflow.components import StartError, airflow_home, password_file
from forge_airflow.demo import Demo, DemoFailed
from forge_airflow.instance import instance_processes, stop_watchdogs, sweep
from forge_airflow.process import kill_until_gone, send_signal
from forge_airflow.releases import PARTITION_KEY_PATTERN
from forge_airflow.rest import RestError
from forge_airflow.supervisor import Running, StopRequest, running_instance, stop_with_callers, supervisor_of

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_STOPPED = 130


def tonight() -> str:
    """The night to work on: ``FORGE_PARTITION``, else today in UTC. Raises ConfigurationError when it is no date."""
    key = os.environ.get("FORGE_PARTITION") or f"{datetime.now(UTC):%Y-%m-%d}"
    if not re.fullmatch(PARTITION_KEY_PATTERN, key):
        raise ConfigurationError(f"environment variable FORGE_PARTITION: {key!r} is no date; expected YYYY-MM-DD")
    return key


def _access(settings: Settings, running: Running, console: Console) -> None:
    shown = running.password if running.password_is_new else f"in {password_file(settings)}"
    console.print(
        f"Airflow: {running.url}  user: admin  password: {shown}", markup=False, highlight=False, soft_wrap=True
    )
    console.print(f"TensorBoard: {running.tensorboard_url}", markup=False, highlight=False, soft_wrap=True)
    if running.password_is_new:
        note = f"(shown this once; it is kept in {password_file(settings)})"
        console.print(note, markup=False, highlight=False, soft_wrap=True)


def demo(settings: Settings, console: Console) -> int:
    """Run the main job for tonight to its end, stop Airflow, print the summary. Returns the exit code."""
    key = tonight()
    started = time.monotonic()
    console.print(
        f"Hephaestus Forge demo, night {key}, profile {settings.profile}; starting Airflow ...", highlight=False
    )
    with running_instance(settings, console.print) as running:
        console.print(f"Airflow is up after {time.monotonic() - started:.0f} s", highlight=False)
        _access(settings, running, console)
        drive = Demo(settings, running, console, key)
        drive.drive()
        console.print("stopping Airflow ...")
    console.rule("Summary", align="left")
    summary = subprocess.run(
        [sys.executable, "-m", "forge.cli", "report"],
        cwd=checkout(),
        env={**os.environ, "FORGE_PROFILE": settings.profile},
        stdin=subprocess.DEVNULL,
        check=False,
    )
    console.print(drive.timings.table())
    console.print(f"whole demo: {time.monotonic() - started:.0f} s", highlight=False)
    console.print("Look around: `make ui` starts Airflow again and says where it listens.", highlight=False)
    return summary.returncode


def ui(settings: Settings, console: Console) -> int:
    """Run Airflow until Ctrl-C or SIGTERM."""
    console.print("starting Airflow ...")
    with running_instance(settings, console.print) as running:
        _access(settings, running, console)
        console.print("Ctrl-C stops it.")
        while True:
            running.check()
            time.sleep(1.0)


def stop(settings: Settings, console: Console) -> int:
    """Stop the instance wherever it was started, and sweep what is left of it."""
    home = settings.home_path
    supervisor = supervisor_of(settings)
    if supervisor is not None:
        send_signal(supervisor, signal.SIGTERM)
        left = kill_until_gone(lambda: {p for p in (supervisor_of(settings),) if p is not None}, grace_seconds=20.0)
        if left:
            console.print(f"the supervisor {supervisor.pid} does not end")
            return EXIT_FAILED
    stop_watchdogs(home)
    swept = sweep(home)
    console.print("stopped" if supervisor is not None or swept else "nothing was running")
    return 0


def status(settings: Settings, console: Console) -> int:
    """Say what runs. Exit code 0 when the instance is up, 3 when not."""
    supervisor = supervisor_of(settings)
    processes = instance_processes(settings.home_path)
    if supervisor is None:
        console.print(f"not running; {len(processes)} processes are left over" if processes else "not running")
        return 3
    console.print(f"running: supervisor {supervisor.pid}, {len(processes)} processes; logs in {airflow_home(settings)}")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m forge_airflow.local", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("command", choices=("demo", "ui", "stop", "status"))
    parser.add_argument("--profile", help="conf/profiles/NAME.yaml (default: FORGE_PROFILE, else demo)")
    given = parser.parse_args(arguments)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    commands = {"demo": demo, "ui": ui, "stop": stop, "status": status}
    try:
        settings = load_settings(given.profile)
        if given.command in ("demo", "ui"):
            stop_with_callers()
        return commands[given.command](settings, console)
    except ConfigurationError as error:
        console.print(str(error), markup=False, soft_wrap=True)
        return EXIT_USAGE
    except (DemoFailed, StartError, RestError) as error:
        console.print(str(error), markup=False, soft_wrap=True)
        return EXIT_FAILED
    except StopRequest as request:
        console.print(f"stopped ({request})")
        return 0 if given.command == "ui" else EXIT_STOPPED


if __name__ == "__main__":
    sys.exit(main())

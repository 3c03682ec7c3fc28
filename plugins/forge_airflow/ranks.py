"""``python -m forge_airflow.ranks --processes N MODULE ARGUMENT...``: a command as N ranks of this machine.

torchrun itself ends with 1 whatever its ranks ended with, and on SIGTERM asks each rank and forgets its answer. Here
the ranks run under the same agent, but the exit code is that of the rank which failed first (128 + the signal's number
for one that was killed), and SIGTERM is passed to each rank once, whose exit code (75 after a checkpoint) then counts.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from types import FrameType

from forge_airflow.process import all_processes, die_with_parent, send_signal

STOP_SECONDS = 60
"""Between SIGTERM and SIGKILL for the ranks that are left when one has failed."""


def main(given: list[str] | None = None) -> int:
    """Run the ranks to their end; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m forge_airflow.ranks", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--processes", type=int, required=True)
    parser.add_argument("command", nargs=argparse.REMAINDER, help="module and its arguments")
    arguments = parser.parse_args(given)
    if arguments.processes < 1 or not arguments.command:
        parser.error("at least one process and a module are needed")
    die_with_parent(signal.SIGTERM)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ask_ranks)

    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    options = ["--standalone", "--nproc-per-node", str(arguments.processes), "--shutdown-timeout", str(STOP_SECONDS)]
    # The agent installs handlers for the signals that are named here, and would replace ours.
    options += ["--signals-to-handle", "SIGQUIT", "--no-python"]
    try:
        run(parse_args([*options, sys.executable, "-m", *arguments.command]))
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        print(f"rank {rank} ended first, with {failure.exitcode}", file=sys.stderr, flush=True)
        return int(failure.exitcode) if failure.exitcode >= 0 else 128 - int(failure.exitcode)
    return 0


_asked: set[int] = set()


def _ask_ranks(_number: int, _frame: FrameType | None) -> None:
    """Send SIGTERM to each rank that was not asked before."""
    for state in all_processes().values():
        if state.parent == os.getpid() and state.identity.pid not in _asked:
            _asked.add(state.identity.pid)
            send_signal(state.identity, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())

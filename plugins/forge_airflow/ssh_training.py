"""Training on another machine over SSH, with the connection and the client of Airflow's SSH provider.

The machine has this project (``training.launcher.folder``, made by ``./bootstrap``) and its own credentials. What is to
be run goes over standard input to ``forge_airflow.remote`` there, so no list of processes shows it. The far end stops
the command in order when the connection ends, however that comes; a new try first stops what an earlier one left.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from forge.config import LauncherSettings
from forge_airflow.operators import (
    CommandFailedError,
    CommandOperator,
    InvalidConfigurationError,
    TemporarilyUnavailableError,
    job_key_of,
    raise_for_code,
    result_of,
    run_variables,
    setting_variables,
)
from forge_airflow.process import MAX_LINE_BYTES
from forge_airflow.remote import Request
from forge_airflow.training_operators import (
    CHECKPOINT_SECONDS,
    clear_links,
    links_of,
    module_command,
    note_line,
    training_defaults,
)

try:
    import paramiko
    from airflow.providers.ssh.hooks.ssh import SSHHook
except ImportError as error:
    raise ImportError(
        "training.launcher.kind: ssh needs apache-airflow-providers-ssh: install the extra `remote` of this project"
    ) from error

if TYPE_CHECKING:
    from airflow.sdk import Context

KEEPALIVE_SECONDS = 30
POLL_SECONDS = 1.0
MAX_PENDING_BYTES = 4 * MAX_LINE_BYTES


class SshTrainingOperator(CommandOperator):
    """Run ``training.COMMAND`` on the machine of an Airflow connection, as `processes` ranks."""

    def __init__(
        self,
        *,
        command: str,
        release: str,
        launcher: LauncherSettings,
        arguments: Sequence[str] = (),
        processes: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            module=f"training.{command}", arguments=["--release", release, *arguments], **training_defaults(kwargs)
        )
        self.connection = launcher.connection
        self.folder = launcher.folder
        self.processes = processes
        self.operator_extra_links = links_of(command)
        self._killed = False

    def execute(self, context: Context) -> dict[str, Any] | None:
        """Connect, start, relay, return the result object."""
        clear_links(self.operator_extra_links, context)
        variables = run_variables(context)
        arguments = [*self.arguments, "--profile", variables["FORGE_PROFILE"]]
        request = Request(
            job_key=job_key_of(context),
            command=tuple(module_command(self.module, self.processes, arguments)),
            variables={**setting_variables(context), **variables},
            result_mark=f"result-{secrets.token_hex(16)} ",
            checkpoint_seconds=CHECKPOINT_SECONDS,
        )
        result: dict[str, Any] | None = None
        with self._connect() as client:
            channel = client.get_transport().open_session()
            channel.set_combine_stderr(True)
            channel.settimeout(POLL_SECONDS)
            channel.exec_command(remote_shell_line(self.folder))
            channel.sendall(request.to_json().encode() + b"\n")
            self.log.info("job %s on %s: %s", request.job_key, self.connection, " ".join(request.command))
            for line in self._lines(channel):
                if line.startswith(request.result_mark):
                    result = result_of(line.removeprefix(request.result_mark).encode(), "the remote result")
                else:
                    self.log.info(line)
                    note_line(self.task_id, line, context)
            self._raise_for_status(channel.recv_exit_status())
        return result

    def on_kill(self) -> None:
        """Have the loop that reads the output end the input of the far end, which then stops the command."""
        self._killed = True

    def _connect(self) -> Any:
        hook = SSHHook(
            ssh_conn_id=self.connection, keepalive_interval=KEEPALIVE_SECONDS, cmd_timeout=None, conn_retry_attempts=1
        )
        try:
            return hook.get_conn()
        except (paramiko.AuthenticationException, paramiko.BadHostKeyException) as error:
            raise InvalidConfigurationError(f"connection {self.connection}: {error}") from None
        except (OSError, paramiko.SSHException) as error:
            raise TemporarilyUnavailableError(f"connection {self.connection}: {error}") from None

    def _lines(self, channel: Any) -> Iterator[str]:
        """Lines of output until the far end is done or the connection is lost."""
        rest = b""
        is_asked = False
        while True:
            if self._killed and not is_asked:
                self.log.info("killed: asking the command to stop")
                channel.shutdown_write()
                is_asked = True
            try:
                chunk = channel.recv(64 * 1024)
            except TimeoutError:
                continue
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > MAX_PENDING_BYTES:
                lines, rest = [*lines, rest], b""
            yield from (line.decode("utf-8", errors="replace").rstrip("\r") for line in lines)
        if rest:
            yield rest.decode("utf-8", errors="replace")

    def _raise_for_status(self, status: int) -> None:
        if status == -1:
            raise TemporarilyUnavailableError(f"connection {self.connection}: lost; the command is asked to stop there")
        if status in (126, 127):
            raise InvalidConfigurationError(
                f"{self.folder} on {self.connection} holds no checkout with an environment: run ./bootstrap there, or "
                "set training.launcher.folder"
            )
        if self._killed:
            raise CommandFailedError(f"killed; python -m {self.module} ended with exit code {status}")
        raise_for_code(status, self.module)


def remote_shell_line(folder: str) -> str:
    """What the shell of the other machine gets: starts the far end in the checkout. 127 when there is none."""
    home, slash, rest = folder.partition("/")
    # The home folder is that of the other machine.
    place = f'"$HOME"{slash}{shlex.quote(rest) if rest else ""}' if home == "~" else shlex.quote(folder)
    python = "PYTHONPATH=.:plugins; export PYTHONPATH; exec .venv/bin/python"
    script = f"cd {place} || exit 127; {python} -m forge_airflow.remote"
    return f"sh -c {shlex.quote(script)}"

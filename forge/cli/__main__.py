"""``python -m forge.cli`` is the ``forge`` command."""

from forge.cli import app

app(prog_name="forge")

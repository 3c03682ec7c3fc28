"""Instruction tuning, stage III: ``python -m training.finetune --release ID|current --profile demo``.

Trains stage II's model on trajectories rendered as chats; the loss counts what the assistant says and calls.
"""

from __future__ import annotations

from collections.abc import Sequence

from training.command import parser_of, train_command


def main(given: Sequence[str] | None = None) -> int:
    return train_command(parser_of("Instruction tuning on chats.").parse_args(given), "III")


if __name__ == "__main__":
    raise SystemExit(main())

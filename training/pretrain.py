"""Continual pre-training: ``python -m training.pretrain --release ID|current --stage I|II --profile demo``.

Stage I trains on the whole mix of a release, stage II on its seed data. The same command again goes on from the newest
checkpoint, or returns at once when the stage is finished.
"""

from __future__ import annotations

from collections.abc import Sequence

from training.command import parser_of, train_command


def main(given: Sequence[str] | None = None) -> int:
    parser = parser_of("Continual pre-training of one stage.")
    parser.add_argument("--stage", choices=("I", "II"), required=True)
    arguments = parser.parse_args(given)
    return train_command(arguments, arguments.stage)


if __name__ == "__main__":
    raise SystemExit(main())

"""The processes that train together: who is first, what all of them say, waiting without a limit."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch.distributed.distributed_c10d import _get_default_store

from forge.config import ConfigurationError
from training.checkpoint import Writers

_WITHOUT_LIMIT = timedelta(days=30)
_waits = itertools.count()


class Ranks:
    """Every method but :attr:`is_main` and the numbers is called by all ranks, in the same order."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self.rank: int = accelerator.process_index
        self.size: int = accelerator.num_processes
        self.is_main: bool = accelerator.is_main_process

    @property
    def writers(self) -> Writers:
        return Writers(self.is_main, self.texts)

    def texts(self, own: str) -> list[str]:
        """What each rank gives, first to last."""
        return [own] if self.size == 1 else list(gather_object([own]))

    def any(self, value: bool) -> bool:
        """Whether it is true on any rank."""
        if self.size == 1:
            return value
        asked = torch.tensor([float(value)], device=self._accelerator.device)
        return bool(self._accelerator.reduce(asked, reduction="sum").item() > 0)

    def main_first(self, act: Callable[[], object]) -> None:
        """The first rank acts, for hours if need be; the others wait, and no time-out of a collective ends them. When
        it fails, torchrun ends them."""
        if self.size == 1:
            act()
            return
        key = f"forge/main_first/{next(_waits)}"
        store = _get_default_store()
        if self.is_main:
            act()
            store.set(key, "done")
        else:
            store.wait([key], _WITHOUT_LIMIT)

    def require_shared_folder(self, folder: Path) -> None:
        """Raises :class:`forge.config.ConfigurationError` on all ranks when one of them sees another folder."""
        if self.size == 1:
            return
        path = folder / ".ranks"
        if self.is_main:
            path.write_text(secrets.token_hex(16))
        wanted = self.texts(path.read_text() if self.is_main else "")[0]
        found = self.texts(path.read_text() if path.is_file() else "")
        strangers = [str(rank) for rank, text in enumerate(found) if text != wanted]
        if strangers:
            raise ConfigurationError(
                f"home: rank {', '.join(strangers)} of {self.size} does not see the first rank's {folder}: "
                "machines that train together need `home` on a shared file system"
            )

"""Sentence embeddings by a model that an installed package or a folder ships. Nothing is downloaded."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forge.config import ConfigurationError

Vectors = npt.NDArray[np.float32]


def encoder_path(model: str) -> Path:
    """The sentence-transformers folder of ``corpus.retrieve.model``: a path, or the folder ``model`` of an installed
    package. Raises :class:`ConfigurationError`."""
    if (Path(model) / "modules.json").is_file():
        return Path(model)
    name = model.replace("-", "_")
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    for location in (spec.submodule_search_locations or ()) if spec is not None else ():
        if (Path(location) / "model" / "modules.json").is_file():
            return Path(location) / "model"
    raise ConfigurationError(
        f"corpus.retrieve.model: {model!r} is neither a sentence-transformers folder nor a package with one"
    )


def first_words(text: str, max_words: int) -> str:
    """The first ``max_words`` words of a text, white space folded: what is embedded of it."""
    return " ".join(text.split(maxsplit=max_words)[:max_words])


class Encoder:
    """A loaded model. Load it once per process; on a GPU it is used when torch sees one.

    On a CPU each text is a batch of its own: padding and blocked products would make a vector depend in its last bits
    on the other texts of the batch, and so the result on the number of partitions. At this size it costs no speed.
    """

    def __init__(self, folder: Path, threads: int = 1, batch_documents: int = 1) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()
        torch.set_num_threads(threads)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._batch_documents = batch_documents
        self._model: Any = SentenceTransformer(str(folder), device=device, local_files_only=True)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), dimension), float32."""
        if not texts:
            return np.empty((0, int(self._model.get_embedding_dimension())), dtype=np.float32)
        found = self._model.encode(
            list(texts), batch_size=self._batch_documents, normalize_embeddings=True, show_progress_bar=False
        )
        return np.ascontiguousarray(found, dtype=np.float32)

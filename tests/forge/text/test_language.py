from __future__ import annotations

import pytest

from forge.config import ConfigurationError, QualitySettings, Settings
from forge.text.language import LanguageModel, is_wrong_language, language_model_path


def test_languages_of_technical_text(settings: Settings) -> None:
    try:
        path = language_model_path(settings)
    except ConfigurationError as error:
        pytest.skip(str(error))
    assert path is not None
    model = LanguageModel(path)
    english = "CreateUser(UserName, Path)\n\nCreates a new user in your account. The path of the user is optional."
    german = "Diese Funktion legt einen neuen Benutzer an und gibt seine Kennung zurück, wenn der Name noch frei ist."
    answers = model.predict([english, german, "", "12 + 34"])
    assert [name for name, _ in answers] == ["en", "de", "", ""]
    assert answers[1][1] > 0.8
    assert answers[2] == ("", 0.0)
    assert model.predict([]) == []


def test_only_a_confident_answer_about_prose_is_wrong() -> None:
    quality = QualitySettings(min_language_score=0.5, languages=("en",))
    assert is_wrong_language("text", "de", 0.9, quality)
    assert not is_wrong_language("text", "de", 0.3, quality)
    assert not is_wrong_language("text", "en", 0.9, quality)
    assert not is_wrong_language("code", "de", 0.9, quality)
    assert is_wrong_language("trajectory", "fr", 0.9, quality)

"""Files of fixed words that stand beside the code that says them: ``prompts.yaml``, ``templates.yaml``."""

from __future__ import annotations

import string
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from forge.config import ConfigurationError

Words = TypeVar("Words", bound=BaseModel)


def parse_words(model: type[Words], content: bytes, file: str) -> Words:
    """What a file holds. Raises :class:`ConfigurationError` that names the file, the key and what is wrong there."""
    try:
        return model.model_validate(yaml.safe_load(content))
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{file}: {error}") from None
    except ValidationError as error:
        found = [f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors()]
        raise ConfigurationError(f"{file}: {'; '.join(found)}") from None


def places_of(words: str) -> set[str]:
    """The names of the places to fill in, as in ``"{api}: {title}"``. Raises ``ValueError`` for unpaired braces."""
    return {name for _, name, _, _ in string.Formatter().parse(words) if name is not None}

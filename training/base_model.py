"""The starting model as a Hugging Face folder: one that the user names, or a GGUF artifact converted once.

transformers reads a GGUF but refuses to save what it read, so the weights are copied into a fresh model. The conversion
is written aside and renamed, so a killed conversion leaves nothing behind that looks finished.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from forge.artifacts import artifact_path
from forge.config import ConfigurationError, Settings
from forge.schema import canonical_json, content_hash
from training.files import file_sha256, sync_folder

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads triple the CPU time where others compute too
os.environ.setdefault("TQDM_DISABLE", "1")  # GGUF conversion draws a bar whatever it is told

_CONVERSION_VERSION = "1"
_WEIGHTS, _WEIGHTS_INDEX = "model.safetensors", "model.safetensors.index.json"
_NEVER_LOADED = (".md", ".svg", ".png", ".jpg", ".pdf", ".html")
"""What describes a model for people. All else counts: another tokenizer keeps its words in another file."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """``sha`` is the content hash of what the run starts from: the GGUF, or whatever of the folder may be loaded."""

    folder: Path
    sha: str
    origin: str


def base_model_of(settings: Settings) -> BaseModel:
    """The base model of the settings; converts the artifact's GGUF on first use (about 15 s for 135M parameters).

    Raises :class:`forge.config.ConfigurationError` when ``training.base_model`` is neither an unpacked artifact with
    exactly one GGUF file nor a Hugging Face folder with weights in safetensors.
    """
    name = settings.training.base_model
    if name in settings.artifacts:
        unpacked = artifact_path(settings, name)
        found = [] if unpacked is None else sorted(unpacked.glob("**/*.gguf"))
        if len(found) != 1:
            raise ConfigurationError(
                f"training.base_model: artifact {name!r} holds {len(found)} GGUF files, expected one; "
                "`python -m forge.artifacts` unpacks it"
            )
        return convert_gguf(found[0], settings.home_path / "models", origin=f"artifact {name}")
    folder = Path(name).expanduser()
    if not (folder / "config.json").is_file():
        raise ConfigurationError(
            f"training.base_model: {name!r} is neither an artifact ({', '.join(sorted(settings.artifacts))}) "
            "nor a folder with config.json"
        )
    _require_safetensors(folder)
    files = sorted((path.relative_to(folder).as_posix(), path) for path in _loadable(folder))
    sha = content_hash(*[f"{name}:{file_sha256(path)}" for name, path in files])
    return BaseModel(folder.resolve(), sha, "folder")


def _loadable(folder: Path) -> Iterator[Path]:
    """The files that transformers may load: those of the folder itself, and its further chat templates."""
    for path in [*folder.iterdir(), *folder.glob("additional_chat_templates/*")]:
        if path.is_file() and not path.name.startswith(".") and path.suffix.lower() not in _NEVER_LOADED:
            yield path


def _require_safetensors(folder: Path) -> None:
    """Weights of other formats are pickles, which run code when they are read."""
    expected = [_WEIGHTS]
    if (folder / _WEIGHTS_INDEX).is_file() and not (folder / _WEIGHTS).is_file():
        try:
            expected = sorted(set(orjson.loads((folder / _WEIGHTS_INDEX).read_bytes())["weight_map"].values()))
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            raise ConfigurationError(
                f"training.base_model: {folder / _WEIGHTS_INDEX} is no index of safetensors"
            ) from None
    missing = [name for name in expected if not (folder / name).is_file()]
    if missing:
        raise ConfigurationError(
            f"training.base_model: {folder} has no {', '.join(missing)}; only weights in safetensors are loaded "
            f"({_WEIGHTS}, or what {_WEIGHTS_INDEX} names), `model.save_pretrained` writes them"
        )


def convert_gguf(gguf: Path, models: Path, origin: str) -> BaseModel:
    """Convert ``gguf`` into ``models/base-<sha>`` unless it is there already."""
    digest = hashlib.sha256(_CONVERSION_VERSION.encode() + bytes.fromhex(file_sha256(gguf))).hexdigest()[:16]
    folder = models / f"base-{digest}"
    if (folder / "config.json").is_file():
        return BaseModel(folder, digest, origin)
    models.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".base-", dir=models))
    try:
        _convert(gguf, aside)
        sync_folder(aside)
        try:
            aside.rename(folder)
        except OSError:  # another process converted the same file meanwhile: its result equals ours
            if not (folder / "config.json").is_file():
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return BaseModel(folder, digest, origin)


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    configuration = read.config
    del configuration.quantization_config  # what refuses to be saved
    configuration._name_or_path = ""
    fresh = type(read)(configuration)
    fresh.load_state_dict(read.state_dict())
    fresh.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)


def load_model(folder: Path) -> Any:
    """The causal language model of a folder, float32, on the CPU, with attention that honours packed documents."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        attn_implementation="sdpa",
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
    )


def load_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def tokenizer_hash(tokenizer: Any) -> str:
    """Content hash of what decides token ids and chat rendering."""
    names = [tokenizer.bos_token, tokenizer.eos_token]
    return content_hash(tokenizer.backend_tokenizer.to_str(), canonical_json([tokenizer.chat_template, names]))


def end_of_document(tokenizer: Any) -> int:
    """The token id that ends a pre-training document: ``<|endoftext|>`` where the vocabulary has it, else the EOS."""
    token = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    if token is None or (token == tokenizer.unk_token_id and tokenizer.unk_token != "<|endoftext|>"):  # noqa: S105
        token = tokenizer.eos_token_id
    if token is None:
        raise ConfigurationError("training.base_model: the tokenizer has neither <|endoftext|> nor an EOS token")
    return int(token)

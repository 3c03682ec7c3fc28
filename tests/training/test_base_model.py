from __future__ import annotations

import json
import shutil

import pytest
from transformers import AutoModelForCausalLM

from forge.config import ConfigurationError, load_settings
from training.base_model import base_model_of, convert_gguf, end_of_document, load_model, load_tokenizer, tokenizer_hash


@pytest.fixture
def settings_for(tmp_path):
    def make(base_model):
        settings = load_settings("demo")
        training = settings.training.model_copy(update={"base_model": str(base_model)})
        return settings.model_copy(update={"home": str(tmp_path / "home"), "training": training})

    return make


def test_a_folder_is_identified_by_its_content(settings_for, tiny_model, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_model, copy)
    one, two = base_model_of(settings_for(tiny_model)), base_model_of(settings_for(copy))
    assert one.sha == two.sha
    (copy / "README.md").write_text("for people")
    assert base_model_of(settings_for(copy)).sha == one.sha
    config = copy / "config.json"
    config.write_text(config.read_text() + "\n")
    assert base_model_of(settings_for(copy)).sha != one.sha


@pytest.mark.parametrize(
    "name",
    ["pytorch_model.bin", "vocab.json", "merges.txt", "special_tokens_map.json", "tokenizer.model", "spiece.model",
     "generation_config.json", "vocab.txt", "chat_template.jinja", "additional_chat_templates/tool_use.jinja"],
)  # fmt: skip
def test_whatever_may_be_loaded_makes_another_model(settings_for, tiny_model, tmp_path, name):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_model, copy)
    found = {base_model_of(settings_for(copy)).sha}
    (copy / name).parent.mkdir(exist_ok=True)
    for content in ("one", "two"):
        (copy / name).write_text(content)
        found.add(base_model_of(settings_for(copy)).sha)
    assert len(found) == 3


def test_a_folder_whose_weights_are_no_safetensors_is_refused(settings_for, tiny_model, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_model, copy)
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ConfigurationError, match=r"copy has no model\.safetensors; only weights in safetensors"):
        base_model_of(settings_for(copy))
    with pytest.raises(OSError, match=r"model\.safetensors"):
        load_model(copy)


def test_weights_in_several_files_are_all_there_or_refused(settings_for, tiny_model, tmp_path):
    folder = tmp_path / "parts"
    shutil.copytree(tiny_model, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    AutoModelForCausalLM.from_pretrained(tiny_model).save_pretrained(folder, max_shard_size="30KB")
    parts = sorted(folder.glob("*.safetensors"))
    assert len(parts) > 1
    assert base_model_of(settings_for(folder)).origin == "folder"
    load_model(folder)
    parts[1].unlink()
    with pytest.raises(ConfigurationError, match=parts[1].name):
        base_model_of(settings_for(folder))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"no": "map"}))
    with pytest.raises(ConfigurationError, match=r"index\.json is no index"):
        base_model_of(settings_for(folder))


@pytest.mark.parametrize("name", ["no-such-folder", "smollm2"])
def test_what_cannot_be_a_base_model_is_said_so(settings_for, name):
    with pytest.raises(ConfigurationError, match="smollm2"):
        base_model_of(settings_for(name))


@pytest.mark.model
def test_the_gguf_becomes_a_folder_once_and_the_model_speaks(tmp_path):
    import torch

    from forge.artifacts import artifact_path

    try:
        unpacked = artifact_path(load_settings("demo"), "smollm2")
    except ConfigurationError:
        pytest.skip("artifact smollm2 is not unpacked")
    assert unpacked is not None
    (gguf,) = unpacked.glob("**/*.gguf")
    base = convert_gguf(gguf, tmp_path / "models", "test")
    written = {path.name: path.stat().st_mtime_ns for path in base.folder.iterdir()}
    assert convert_gguf(gguf, tmp_path / "models", "test") == base
    assert {path.name: path.stat().st_mtime_ns for path in base.folder.iterdir()} == written
    assert [path.name for path in (tmp_path / "models").iterdir()] == [base.folder.name]
    tokenizer, model = load_tokenizer(base.folder), load_model(base.folder).eval()
    assert tokenizer.chat_template
    assert tokenizer.decode(end_of_document(tokenizer)) == "<|endoftext|>"
    assert len(tokenizer_hash(tokenizer)) == 32
    assert sum(parameter.numel() for parameter in model.parameters()) == 134_515_008
    ids = tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        written_ids = model.generate(ids, max_new_tokens=2, do_sample=False)
    assert tokenizer.decode(written_ids[0]) == "The capital of France is Paris."

"""A user's own files in an object store: a real S3 server, globs, changed objects, a preview."""

from __future__ import annotations

import gzip

import pyarrow.fs as pafs
import pytest

import forge.text.files
from forge.config import ConfigurationError, Settings, SourceSettings
from forge.preview import preview_source
from forge.schema import Text

pytestmark = pytest.mark.s3


def test_globs_over_a_bucket_are_read_like_files_on_disk(s3: str, settings: Settings) -> None:
    store = pafs.S3FileSystem(endpoint_override=s3.removeprefix("http://"), scheme="http", region="us-east-1")

    def put(path: str, content: bytes) -> None:
        with store.open_output_stream(f"forge/mine/{path}", compression=None) as sink:
            sink.write(content)

    put("a.jsonl", b'{"text": "first"}\n{"text": "second"}\n')
    put("deep/b.jsonl.gz", gzip.compress(b'{"text": "third"}\n'))
    put("deep/c.txt", b"not asked for")
    lake = settings.lake.model_copy(update={"s3_endpoint": s3})
    options = {"paths": ["s3://forge/mine/**/*.jsonl*"], "kind": "text"}
    source = SourceSettings(type="files", license="MIT", options=options)
    remote = settings.model_copy(update={"lake": lake, "sources": {"mine": source}})
    items = list(forge.text.files.list_items("mine", source, remote))
    assert [item.item_id for item in items] == ["s3://forge/mine/a.jsonl", "s3://forge/mine/deep/b.jsonl.gz"]
    found = [one for item in items for one in forge.text.files.read_item(item, source, remote)]
    assert [one.text for one in found if isinstance(one, Text)] == ["first", "second", "third"]
    assert [one.document.text for one in preview_source(remote, "mine").documents] == ["first", "second", "third"]
    put("a.jsonl", b'{"text": "other"}\n')
    changed = list(forge.text.files.list_items("mine", source, remote))
    assert changed[0].content_hash != items[0].content_hash
    assert changed[1].content_hash == items[1].content_hash
    for pattern, message in (("s3://forge/none/*.jsonl", "no file matches"), ("s3://for*", "name the bucket")):
        nothing = SourceSettings(type="files", options={"paths": [pattern], "kind": "text"})
        with pytest.raises(ConfigurationError, match=message):
            list(forge.text.files.list_items("mine", nothing, remote))
    absent = SourceSettings(type="files", options={"paths": ["s3://no-such-bucket/x/*.txt"], "kind": "text"})
    with pytest.raises(ConfigurationError, match=r"no file matches|cannot be listed"):
        list(forge.text.files.list_items("mine", absent, remote))

"""Licence statements as SPDX expressions."""

from __future__ import annotations

from importlib.metadata import Distribution
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.text.licenses import is_allowed, license_of_distribution, spdx_of, spdx_of_text

MIT_TEXT = (
    "Copyright (c) 2020 A\n\nPermission is hereby granted, free of charge, to any person obtaining a copy\nof this"
)
APACHE_CLASSIFIER = "License :: OSI Approved :: Apache Software License"
BSD_TEXT = (
    "Copyright 2010 B\n\nRedistribution and use in source and binary forms, with or without\nmodification, are ok"
)


@pytest.mark.parametrize(
    ("statement", "expression"),
    [
        ("MIT", "MIT"),
        ("The MIT License (MIT)", "MIT"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("Apache 2.0 License", "Apache-2.0"),
        ("3-Clause BSD License", "BSD-3-Clause"),
        ("BSD 2-Clause License", "BSD-2-Clause"),
        ("MIT -or- Apache License 2.0", "MIT OR Apache-2.0"),
        ("apache-2.0 with llvm-exception and mit", "Apache-2.0 WITH LLVM-exception AND MIT"),
        ("CC BY-SA 4.0", "CC-BY-SA-4.0"),
        ("GPLv3", "GPL-3.0-only"),
        (MIT_TEXT, "MIT"),
        (BSD_TEXT, "BSD-2-Clause"),
        (BSD_TEXT + " Neither the name of B nor", "BSD-3-Clause"),
        ("BSD", ""),
        ("Dual License", ""),
        ("MIT or something else", ""),
        ("proprietary", ""),
        ("", ""),
        ("UNKNOWN", ""),
    ],
)
def test_spdx_of(statement: str, expression: str) -> None:
    assert spdx_of(statement) == expression


@given(st.text(max_size=300))
def test_no_statement_raises(statement: str) -> None:
    assert isinstance(spdx_of(statement), str)
    assert isinstance(spdx_of_text(statement), str)
    assert isinstance(is_allowed(statement, {"MIT"}), bool)


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("Apache-2.0 WITH LLVM-exception AND MIT", True),
        ("(GPL-2.0-only OR MIT) AND Apache-2.0", True),
        ("", False),
        ("MIT AND (", False),
    ],
)
def test_is_allowed(expression: str, allowed: bool) -> None:
    assert is_allowed(expression, {"MIT", "Apache-2.0"}) is allowed


def _distribution(folder: Path, metadata: str, license_text: str | None = None) -> Distribution:
    info = folder / "thing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: thing\nVersion: 1.0\n{metadata}\n")
    record = "thing-1.0.dist-info/METADATA,,\n"
    if license_text is not None:
        (info / "LICENSE").write_text(license_text)
        record += "thing-1.0.dist-info/LICENSE,,\n"
    (info / "RECORD").write_text(record)
    return Distribution.at(info)


@pytest.mark.parametrize(
    ("metadata", "license_text", "expression"),
    [
        ("License-Expression: MIT AND PSF-2.0", None, "MIT AND PSF-2.0"),
        ("License: Apache 2.0", None, "Apache-2.0"),
        ("License: BSD\nClassifier: License :: OSI Approved :: MIT License", None, "MIT"),
        (
            "\nClassifier: ".join(["Keywords: x", "License :: OSI Approved :: MIT License", APACHE_CLASSIFIER]),
            None,
            "Apache-2.0 AND MIT",
        ),
        ("Classifier: License :: OSI Approved :: BSD License", BSD_TEXT, "BSD-2-Clause"),
        ("Classifier: License :: OSI Approved :: GNU General Public License (GPL)", MIT_TEXT, ""),
        ("", MIT_TEXT, "MIT"),
        ("", None, ""),
    ],
)
def test_license_of_distribution(tmp_path: Path, metadata: str, license_text: str | None, expression: str) -> None:
    assert license_of_distribution(_distribution(tmp_path, metadata, license_text)) == expression

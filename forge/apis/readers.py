"""Which module reads which type of API documentation source."""

READERS = {
    "botocore": "forge.apis.botocore",
    "python_packages": "forge.apis.docstrings",
    "files": "forge.apis.files",
}

"""Which module reads which type of code and general text source."""

READERS = {
    "python_code": "forge.text.python_code",
    "wikipedia_dump": "forge.text.wikipedia",
    "plain_text": "forge.text.plain",
    "files": "forge.text.files",
}

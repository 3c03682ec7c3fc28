"""Which module reads which type of source of usages."""

READERS = {
    "python_usages": "forge.usages.python_usages",
}

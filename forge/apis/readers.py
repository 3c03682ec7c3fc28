"""Which module reads which type of API documentation source."""

READERS = {
    "botocore": "forge.apis.botocore",
    "files": "forge.apis.files",
    "google_discovery": "forge.apis.google_discovery",
    "graphql": "forge.apis.graphql",
    "html_reference": "forge.apis.html.reader",
    "man_pages": "forge.apis.man_pages",
    "openapi": "forge.apis.openapi_files",
    "perl_pod": "forge.apis.perl_pod",
    "postman": "forge.apis.postman",
    "protobuf": "forge.apis.protobuf",
    "python_packages": "forge.apis.docstrings",
    "tool_schemas": "forge.apis.tool_schemas",
}

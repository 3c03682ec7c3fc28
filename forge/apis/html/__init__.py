"""HTML reference pages -> ApiEntity, one module a documentation generator."""

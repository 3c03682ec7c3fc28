"""The web sites of the configuration: real ones, and unpacked documentation that is served while it is crawled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from pydantic import BaseModel, ConfigDict, Field

from forge.artifacts import artifact_path
from forge.config import ConfigurationError, Settings, SourceSettings, source_options
from forge.crawl.mirror import serve
from forge.crawl.urls import Site, canonical_uri, host_of


class WebsiteOptions(BaseModel):
    """Options of a source of type ``website``.

    A real site has a ``url``; a mirror of the source's artifact, served on loopback, a ``folder``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field("", description="first page of a real site")
    scope: str = Field("", description="folder that bounds the crawl of a real site; default: the whole host")
    folder: str = Field(".", description="pattern that finds the root of a mirror below the artifact")
    start: str = Field("index.html", description="first page of a mirror")
    public_uri: str = Field("", description="address that a mirror's pages are known by")
    role: str = Field("", description="api or other: what the site is about, for the filter gate")


@contextmanager
def open_sites(settings: Settings) -> Iterator[list[Site]]:
    """The sites of all enabled ``website`` sources; mirrors of artifacts are served while the block runs.

    A source whose optional artifact is absent has no site. Raises :class:`ConfigurationError` for a source that names
    neither a usable folder nor a URL.
    """
    with ExitStack() as mirrors:
        sites = []
        for name, source in settings.enabled_sources("website").items():
            site = _real_site(name, source) if source.artifact is None else _mirror(name, source, settings, mirrors)
            if site is not None:
                sites.append(site)
        yield sites


def _real_site(name: str, source: SourceSettings) -> Site:
    options = source_options(WebsiteOptions, name, source)
    start = canonical_uri(options.url)
    if start is None:
        raise ConfigurationError(f"sources.{name}: a website needs an artifact, or an http(s) address as options.url")
    scheme, _, rest = start.partition("://")
    base = f"{scheme}://{rest.partition('/')[0]}/"
    if options.scope:
        limited = canonical_uri(options.scope, base)
        if (
            limited is None
            or not limited.startswith(base)
            or not limited.endswith("/")
            or not start.startswith(limited)
        ):
            raise ConfigurationError(f"sources.{name}.options.scope: expected a folder of {base} that holds {start}")
        base = limited
    return Site(source=name, start=start, public_base=base, fetch_base=base, shard=host_of(start))


def _mirror(name: str, source: SourceSettings, settings: Settings, mirrors: ExitStack) -> Site | None:
    root = artifact_path(settings, source.artifact or "")
    if root is None:
        return None
    options = source_options(WebsiteOptions, name, source)
    pattern = options.folder
    folders = [root] if pattern == "." else sorted(path for path in root.glob(pattern) if path.is_dir())
    if len(folders) != 1:
        found = "no folder" if not folders else f"{len(folders)} folders"
        raise ConfigurationError(f"sources.{name}.options.folder: {pattern!r} matches {found} of {source.artifact}")
    public_base = canonical_uri(options.public_uri)
    if public_base is None or not public_base.endswith("/"):
        raise ConfigurationError(f"sources.{name}.options.public_uri: expected an http(s) address that ends with '/'")
    start = canonical_uri(options.start, public_base)
    if start is None or not start.startswith(public_base):
        raise ConfigurationError(f"sources.{name}.options.start: expected a path below {public_base}")
    return Site(
        source=name,
        start=start,
        public_base=public_base,
        fetch_base=mirrors.enter_context(serve(folders[0])),
        shard=f"mirror-{name}",
        version=settings.artifacts[source.artifact or ""].sha256,
    )

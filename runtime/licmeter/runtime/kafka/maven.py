"""Jars from Maven repositories, through jgo: Maven coordinates in pure Python, no Maven and no Java.

The repositories are jgo's: its default one and those of the user's jgo configuration. No address stands here.
"""

from pathlib import Path

__all__ = ["MavenSource"]

_TIMEOUT_S = 20  # for one answer of a repository; a jar has at most 8 MB


class MavenSource:
    """Fetches jars by coordinate, and says which ones a coordinate needs."""

    def fetch(self, coordinate: str, folder: Path) -> Path:
        """Download one jar somewhere below the empty `folder`; raises what jgo raises."""
        # jgo keeps its files in the layout of a Maven repository; a folder of its own per jar means that
        # a half-written one can never be taken for a finished one.
        path: Path = _context(folder).create_dependency(coordinate).artifact.resolve()
        return path

    def resolve(self, coordinate: str, folder: Path) -> list[str]:
        """All `group:artifact:version` that run `coordinate`, itself first; the project files land in `folder`."""
        context = _context(folder)
        inputs, needed = context.resolver.resolve([context.create_dependency(coordinate)])
        return [f"{found.groupId}:{found.artifactId}:{found.version}" for found in [*inputs, *needed]]


def _context(folder: Path):  # type: ignore[no-untyped-def]  # jgo is an optional extra and publishes no usable types
    # Imported late: it takes 0.7 s, and a broker whose jars are cached never needs it.
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=folder, timeout=_TIMEOUT_S)
    context.remote_repos.update(GlobalSettings.load().repositories)
    return context

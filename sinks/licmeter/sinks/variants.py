"""The SQL of the migrations for other set-ups than one server: replicated tables, a cluster, several shards.

The files are written for one server. A variant is a pure transformation of their text: engines get `Replicated` before
their name, DDL gets ON CLUSTER, and with shards each table becomes two: `…_local` with the rows of a shard, and under
the plain name a Distributed table over all of them. Whoever reads and writes goes on using the plain names.

`schema_versions` keeps the digest of the text that was run, so a database remembers its variant: another one is
refused. For the same reason what is rendered from a released file must never change.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from clickhouse_migrations.migrator import Migrator, split_statement_tokens

__all__ = ["LOCAL_SUFFIX", "PLAIN", "Variant", "render", "rendered"]

#: What the tables of a shard are called.
LOCAL_SUFFIX: Final = "_local"
#: Rows of one organization share a shard, since rows that replace each other must meet (decision 5).
_SHARDING_COLUMN: Final = "organization_id"

_CREATE_TABLE: Final = re.compile(r"\s*CREATE\s+TABLE\s+IF\s+NOT\s+EXISTS\s+(?P<name>\w+)\s*\(")
_CREATE_VIEW: Final = re.compile(
    r"\s*CREATE\s+MATERIALIZED\s+VIEW\s+IF\s+NOT\s+EXISTS\s+(?P<name>\w+)\s+TO\s+(?P<target>\w+)\s+AS\s"
)
_ALTER: Final = re.compile(r"\s*ALTER\s+TABLE\s+(?P<name>\w+)\s")
_INSERT: Final = re.compile(r"\s*INSERT\s+INTO\s+(?P<name>\w+)\s")
_ENGINE: Final = re.compile(r"\bENGINE\s*=\s*(?P<name>\w*MergeTree)\b")
_SOURCE: Final = re.compile(r"\b(?:FROM|JOIN)\s+(?P<name>[A-Za-z_]\w*)")
_ORDER_BY: Final = re.compile(r"\bORDER\s+BY\s+\(?\s*(?P<column>\w+)")
_COLUMN_COMMAND: Final = re.compile(r"\s*(?:ADD|DROP|MODIFY|COMMENT|RENAME)\s+COLUMN\s")
#: Such as events, licmeter-eu or {cluster}, which is a macro of the server.
_CLUSTER: Final = re.compile(r"[A-Za-z0-9_.-]+|\{[A-Za-z0-9_]+\}")


@dataclass(frozen=True, slots=True)
class Variant:
    """How the tables lie on servers.

    `replicated`: by Keeper, under the server's `default_replica_path`. Without a cluster that is right on a database
    with the engine Replicated. `cluster`: its name, for ON CLUSTER. `distributed`: over all shards of the cluster.
    """

    replicated: bool = False
    cluster: str | None = None
    distributed: bool = False

    def __post_init__(self) -> None:
        """Raise `ValueError` for what cannot be right."""
        if self.cluster is not None and not _CLUSTER.fullmatch(self.cluster):
            raise ValueError(f"not the name of a cluster: {self.cluster!r}")
        if self.distributed and self.cluster is None:
            raise ValueError("distributed tables need the name of a cluster")
        if self.cluster is not None and not (self.replicated or self.distributed):
            raise ValueError("tables on a cluster must be replicated or distributed: otherwise each server has its own")

    @property
    def versions_engine(self) -> str | None:
        """The engine of `schema_versions`: all servers of a cluster share one history; None is the tool's own.

        `{uuid}` is new with every new table, so that a database that was dropped leaves nothing behind in Keeper.
        """
        if self.cluster is not None:
            return "ReplicatedMergeTree('/clickhouse/licmeter/{uuid}/schema_versions', '{shard}-{replica}')"
        return "ReplicatedMergeTree" if self.replicated else None


#: One server: the files as they are.
PLAIN: Final = Variant()


@contextmanager
def rendered(directory: Path, variant: Variant, database: str) -> Iterator[Path]:
    """Give a folder with the migrations of a variant, for as long as the context lasts; raises `ValueError`."""
    if variant == PLAIN:
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="licmeter-migrations-") as folder:
        for file in sorted(directory.glob("*.sql")):
            try:
                text = render(file.read_text(), variant, database)
            except ValueError as error:
                raise ValueError(f"{file.name}: {error}") from error
            (Path(folder) / file.name).write_text(text)
        yield Path(folder)


def render(script: str, variant: Variant, database: str) -> str:
    """Return the text of a migration for a variant; raises `ValueError` for a statement whose variant is not known."""
    if variant == PLAIN:
        return script
    statements = [
        rendering
        for statement in Migrator.script_to_statements(script, multi_statement=True)
        for rendering in _Statement(statement, variant, database).render()
    ]
    return "\n\n".join(statements) + "\n"


class _Statement:
    """A statement, and its code: the same text with blanks for comments and strings, so that positions agree."""

    def __init__(self, text: str, variant: Variant, database: str) -> None:
        self._text = text
        self._variant = variant
        self._database = database
        self._code = _blanked(text)
        self._edits: list[tuple[int, int, str]] = []

    def render(self) -> list[str]:
        """Return the statements that take its place."""
        if found := _CREATE_TABLE.match(self._code):
            return self._table(found)
        if found := _CREATE_VIEW.match(self._code):
            return self._view(found)
        if found := _ALTER.match(self._code):
            return self._alter(found)
        if _INSERT.match(self._code):
            # There is no INSERT ON CLUSTER, and none is needed: replicas copy, and Distributed tables read and write
            # all shards.
            return [self._text]
        raise ValueError(f"no variant is known of this statement: {' '.join(self._code.split())[:80]}")

    def _table(self, found: re.Match[str]) -> list[str]:
        name = found["name"]
        self._name(found)
        if self._variant.replicated:
            engine = _ENGINE.search(self._code)
            if engine is None or engine["name"].startswith("Replicated"):
                raise ValueError(f"the engine of {name} cannot be replicated")
            self._edit(engine.start("name"), engine.start("name"), "Replicated")
        if not self._variant.distributed:
            return [self._edited()]
        local = f"{self._database}.{name}{LOCAL_SUFFIX}"
        engine_text = f"Distributed('{self._variant.cluster}', '{self._database}', '{name}{LOCAL_SUFFIX}', "
        over_all = (
            f"CREATE TABLE IF NOT EXISTS {name}{self._on_cluster} AS {local}\n"
            f"ENGINE = {engine_text}cityHash64({self._sharding_column()}));"
        )
        return [self._edited(), over_all]

    def _sharding_column(self) -> str:
        if re.search(rf"\n\s*{_SHARDING_COLUMN}\s", self._code):
            return _SHARDING_COLUMN
        found = _ORDER_BY.search(self._code)
        if found is None:
            raise ValueError("the table has nothing to be divided by")
        return found["column"]

    def _view(self, found: re.Match[str]) -> list[str]:
        # A view is one for each shard: it sees what is written there. Its own name is nobody's to read.
        self._edit(found.end("name"), found.end("name"), self._on_cluster)
        if self._variant.distributed:
            for table in (found, *_SOURCE.finditer(self._code, found.end())):
                group = "target" if table is found else "name"
                self._edit(table.end(group), table.end(group), LOCAL_SUFFIX)
        return [self._edited()]

    def _alter(self, found: re.Match[str]) -> list[str]:
        self._name(found)
        altered = [self._edited()]
        # A Distributed table has the columns, and no indexes or other things of a MergeTree.
        commands = self._commands(found.end()) if self._variant.distributed else []
        columns = [command.strip() for code, command in commands if _COLUMN_COMMAND.match(code)]
        if columns:
            listed = ",\n    ".join(columns)
            altered.append(f"ALTER TABLE {found['name']}{self._on_cluster}\n    {listed};")
        return altered

    def _commands(self, start: int) -> list[tuple[str, str]]:
        """Return code and text of each command of an ALTER; both without comments before it."""
        cuts, depth = [start - 1], 0
        for position in range(start, len(self._code)):
            depth += {"(": 1, ")": -1}.get(self._code[position], 0)
            if not depth and self._code[position] in ",;":
                cuts.append(position)
        found = []
        for first, last in pairwise(cuts):
            code = self._code[first + 1 : last]
            begin = first + 1 + len(code) - len(code.lstrip())
            found.append((self._code[begin:last], self._text[begin:last]))
        return found

    def _name(self, found: re.Match[str]) -> None:
        """Put the name of the rows' table, and where they lie, in place of the plain name."""
        local = LOCAL_SUFFIX if self._variant.distributed else ""
        self._edit(found.end("name"), found.end("name"), local + self._on_cluster)

    @property
    def _on_cluster(self) -> str:
        return "" if self._variant.cluster is None else f" ON CLUSTER '{self._variant.cluster}'"

    def _edit(self, start: int, end: int, text: str) -> None:
        self._edits.append((start, end, text))

    def _edited(self) -> str:
        text = self._text
        for start, end, new in sorted(self._edits, reverse=True):
            text = text[:start] + new + text[end:]
        return text


def _blanked(statement: str) -> str:
    (tokens,) = split_statement_tokens(statement)
    blanked = (token.text if token.kind == "other" else re.sub(r"[^\n]", " ", token.text) for token in tokens)
    return "".join(blanked) + ";"

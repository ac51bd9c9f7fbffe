"""An application that embeds the SDK gets the SDK: nothing of the server's, and only the base dependencies."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HEAVY = (
    "faust",
    "clickhouse_connect",
    "chdb",
    "fastapi",
    "uvicorn",
    "pyarrow",
    "numpy",
    "licmeter.metering",
    "licmeter.runtime",
    "licmeter.stream",
    "licmeter.sinks",
    "licmeter.analytics",
)

LOADED = "import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"

#: Refuses everything but the standard library, licmeter, and the modules in argv[1], as if it were not installed.
ONLY_BASE = """
import json, sys

ALLOWED = {*sys.stdlib_module_names, "licmeter", *json.loads(sys.argv[1])}


class Absent:
    def find_spec(self, name, path=None, target=None):
        # What sysconfig reads has the platform in its name, so no list has it.
        if name.partition(".")[0] not in ALLOWED and not name.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"{name} is not installed here", name=name)


sys.meta_path.insert(0, Absent())
"""

#: The whole of the SDK without a server: both faces, both transports, spool, delivery that fails, export.
USE = """
import asyncio, json, sys
from pathlib import Path
from licmeter.producers import AuthorizationUnavailable, SyncUsageClient, UsageClient
from licmeter.producers.client.export import export_spool, spool_status

NOWHERE, KEY, folder = "http://127.0.0.1:1", f"lmk_{'k' * 16}_{'s' * 43}", Path(sys.argv[2])
options = {"exit_timeout_s": 0.2, "request_timeout_s": 0.2}

with SyncUsageClient(NOWHERE, license_key=KEY, spool=folder / "http", **options) as client:
    client.record("qr", 2)
    assert not client.flush()
    try:
        client.authorize()
    except AuthorizationUnavailable:
        pass


async def main():
    async with UsageClient(kafka="127.0.0.1:1", project_id="300417-kiosk", spool=folder / "kafka", **options) as client:
        client.record("qr", 3)
        assert not await client.flush()


asyncio.run(main())
for name in ("http", "kafka"):
    lines = []
    done = export_spool(folder / name, lines.extend, remove=True, project_id="300417-kiosk")
    assert (len(lines), spool_status(folder / name).reports) == (done.reports, 0), done
    print(name, done.units)
"""


def python(code: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "statement",
    ["import licmeter.producers", "from licmeter.producers import UsageClient, SyncUsageClient"],
)
def test_nothing_of_the_server_is_loaded(statement: str) -> None:
    loaded = json.loads(python(LOADED.format(statement=statement)))
    assert [name for name in loaded if any(name == heavy or name.startswith(f"{heavy}.") for heavy in HEAVY)] == []


def test_the_package_itself_loads_nothing() -> None:
    loaded = json.loads(python(LOADED.format(statement="import licmeter.producers")))
    assert [name for name in loaded if name.startswith(("licmeter.producers.", "pydantic", "httpx", "aiokafka"))] == []


def test_the_base_dependencies_are_enough(tmp_path: Path) -> None:
    modules = json.dumps(sorted(base_modules()))
    assert python(ONLY_BASE + USE, modules, str(tmp_path / "spool")) == "http 2\nkafka 3\n"


def test_what_is_no_base_dependency_is_refused() -> None:
    """The test above would prove nothing if the block did not hold."""
    with pytest.raises(AssertionError, match="numpy is not installed here"):
        python(ONLY_BASE + "import numpy", json.dumps(sorted(base_modules())))


def base_modules() -> set[str]:
    """Return the modules of what the bare package depends on, and of what that depends on."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted, found = [*project["dependencies"]], set[str]()
    while wanted:
        name, extras = _requirement(wanted.pop())
        if name not in found:
            found.add(name)
            wanted += _requirements(name, extras)
    return {
        module
        for module, distributions in packages_distributions().items()
        if any(_normal(distribution) in found for distribution in distributions)
    }


def _requirements(name: str, extras: set[str]) -> list[str]:
    try:
        lines = requires(name) or []
    except PackageNotFoundError:  # wanted on other platforms, or by an extra that nobody asked for
        return []
    kept = []
    for line in lines:
        requirement, _, marker = line.partition(";")
        extra = re.search(r"""extra == ['"](.+?)['"]""", marker)
        if extra is None or extra[1] in extras:
            kept.append(requirement)
    return kept


def _requirement(line: str) -> tuple[str, set[str]]:
    found = re.match(r"([\w.-]+)(?:\[(.*?)\])?", line.strip())
    assert found is not None
    return _normal(found[1]), set((found[2] or "").replace(" ", "").split(","))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()

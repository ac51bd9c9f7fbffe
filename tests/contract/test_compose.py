"""docker-compose.yml against the real command line and the real settings. No Docker engine is needed, or used."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from typer.main import get_command

from licmeter.runtime.cli.main import app
from licmeter.runtime.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("licmeter:")}
ONE_SHOT = ("topics", "migrate")


def setting_names(model: type[BaseModel], prefix: str = "LICMETER_") -> set[str]:
    names = set()
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            names |= setting_names(inner, f"{prefix}{name.upper()}__")
        else:
            names.add(f"{prefix}{name.upper()}")
    return names


def settings_of(service: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in OURS[service]["environment"].items():
        monkeypatch.setenv(name, re.sub(r"\$\{\w+:-(\w+)\}", r"\1", value))
    return Settings()


@pytest.mark.parametrize("service", OURS)
def test_every_command_line_is_one_of_the_cli(service: str) -> None:
    arguments = list(OURS[service]["command"])
    command: Any = get_command(app)
    context = command.make_context("licmeter", arguments)
    while hasattr(command, "commands"):
        name, command, arguments = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, list(arguments), parent=context)
    assert command.callback is not None


@pytest.mark.parametrize("service", OURS)
def test_every_variable_is_a_setting(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(OURS[service]["environment"]) - setting_names(Settings) == set()
    settings = settings_of(service, monkeypatch)
    assert settings.bootstrap_servers == "kafka:19092"
    assert settings.clickhouse_url == "http://clickhouse:8123"


def test_an_unknown_variable_would_be_noticed() -> None:
    assert "LICMETER_KAFKA__BOOTSTRAP" not in setting_names(Settings)


@pytest.mark.parametrize("service", SERVICES)
def test_images_are_pinned_by_full_version(service: str) -> None:
    assert re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+(\.\d+)?", SERVICES[service]["image"])


@pytest.mark.parametrize("service", SERVICES)
def test_dependencies_can_be_met(service: str) -> None:
    for name, dependency in SERVICES[service].get("depends_on", {}).items():
        if dependency["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[name]
        else:
            assert dependency["condition"] == "service_completed_successfully"
            assert name in ONE_SHOT
            assert SERVICES[name]["restart"] == "no"


def test_workers_and_sink_wait_for_topics_and_tables() -> None:
    for name in ("stream-1", "stream-2", "sink"):
        assert set(SERVICES[name]["depends_on"]) == set(ONE_SHOT)


def test_workers_share_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (settings_of(name, monkeypatch) for name in ("stream-1", "stream-2"))
    assert one.stream.instance_id != two.stream.instance_id
    assert SERVICES["stream-1"]["volumes"] != SERVICES["stream-2"]["volumes"]
    assert one.kafka == two.kafka == settings_of("topics", monkeypatch).kafka


def test_volumes_are_named_and_mounted_where_the_data_is(monkeypatch: pytest.MonkeyPatch) -> None:
    mounted = {mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", ())}
    assert mounted == set(COMPOSE["volumes"])
    for name in ("stream-1", "stream-2"):
        assert SERVICES[name]["volumes"][0].split(":")[1] == str(settings_of(name, monkeypatch).data_dir)


@pytest.mark.parametrize("service", SERVICES)
def test_only_loopback_is_published(service: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[service].get("ports", ()))


def test_the_broker_takes_what_the_topics_ask_for() -> None:
    from licmeter.schemas.topics import ALL_TOPICS

    largest = max(int(spec.config.get("max.message.bytes", 0)) for spec in ALL_TOPICS)
    assert int(SERVICES["kafka"]["environment"]["KAFKA_MESSAGE_MAX_BYTES"]) >= largest


def test_the_image_is_pinned_locked_and_not_root() -> None:
    lines = (ROOT / "deploy/Dockerfile").read_text().splitlines()
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert all(re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base) for base in bases)
    assert len(bases) == 2
    assert any("--require-hashes -r requirements.lock" in line for line in lines)
    assert [line for line in lines if line.startswith("USER ")][-1] == "USER licmeter"
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert 'ENTRYPOINT ["licmeter"]' in lines
    assert "licmeter" in scripts
    (uv_version,) = re.findall(r"uv_version=(\S+)", (ROOT / "scripts/bootstrap.sh").read_text())
    assert any(f"uv=={uv_version}" in line for line in lines)

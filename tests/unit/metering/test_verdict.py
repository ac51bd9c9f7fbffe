"""The answer to a request for leave to run (domain, section 9)."""

from typing import Any

import pytest

from licmeter.metering.authorization import Authorization
from licmeter.metering.slot_use import DictSlots
from licmeter.metering.verdict import Verdict, verdict
from licmeter.schemas.authorizations import AuthorizationData
from licmeter.schemas.catalog import Organization
from tests.support.build import ORGANIZATION, PROJECT, RECEIVED, SLOT, item, ms, organization
from tests.unit.metering.bench import DAY, HOUR, MINUTE, Bench

PROCESS = {"kind": "process", "value": "p1"}
ALL = {"product": "dbr", "version": "9", "deployment_type": "server", "edition": "pro"}


def ask(bench: Bench, *, project_id: str | None = PROJECT, organization_id: str = ORGANIZATION, **data: Any) -> Verdict:
    """Ask the pure function; nothing is counted."""
    request = AuthorizationData.model_validate(data, strict=False)
    at = ms(RECEIVED)
    authorization = Authorization(organization_id, project_id, "device-1", "a1", at, at, request)
    return verdict(authorization, bench.state, bench.recount.slots)


def code(answer: Verdict) -> int | None:
    return None if answer.code is None else answer.code.number


def asked(*items: dict[str, Any], document: dict[str, Any] | None = None, **data: Any) -> int | None:
    return code(ask(Bench(organization(*items, **(document or {}))), **data))


def used_up(item_id: str = "41", count: int = 1, **changes: Any) -> Bench:
    bench = Bench(organization(item(item_id, quota=1, **changes)))
    bench.send(counts={"qr": count})
    return bench


def test_u1_project_and_client_are_enough() -> None:
    bench = Bench(organization(item(**ALL)))
    answer = bench.authorize()
    assert (answer.outcome, answer.code) == ("granted", None)


def test_u1_the_organization_alone_means_its_default_project() -> None:
    bench = Bench(organization(item()))
    answer = bench.authorize(project_id=None, organization_id=ORGANIZATION)
    assert (answer.outcome, answer.project_id) == ("granted", PROJECT)


def test_u2_the_answer_names_the_item_in_use() -> None:
    bench = Bench(organization(item("1", quota=1, expires_at="2031-06-01T00:00:00Z"), item("2")))
    assert bench.authorize().item_id == "1"
    bench.send()
    assert bench.authorize().item_id == "2"


def test_the_verdict_changes_nothing() -> None:
    bench = Bench(organization(item(charge_way="per_device", activity_period="daily", quota=1)))
    before = bench.state.to_bytes()
    for _ in range(3):
        assert code(ask(bench)) is None
    assert (bench.active(RECEIVED), bench.state.to_bytes(), bench.breaches) == (0, before, [])


def test_code_100_standby_while_the_main_server_works() -> None:
    bench = Bench(organization(item()))
    authorization = Authorization("", None, "device-1", "a1", 0, 0, AuthorizationData())
    assert code(verdict(authorization, bench.state, DictSlots(), standby=True)) == 100  # before all others


def test_code_123_nothing_named() -> None:
    assert asked(item(), project_id=None, organization_id="") == 123


def test_code_121_organization_unknown_or_without_default_project() -> None:
    authorization = Authorization("9", "9-x", "device-1", "a1", 0, 0, AuthorizationData())
    assert code(verdict(authorization, None, DictSlots())) == 121
    assert asked(item(), document={"default_project_id": None}, project_id=None) == 121


def test_code_101_project_unknown() -> None:
    assert asked(item(), project_id=f"{ORGANIZATION}-other") == 101


def test_code_122_project_of_another_organization() -> None:
    assert asked(item(), project_id="9-kiosk") == 122


@pytest.mark.parametrize(
    ("has_password", "password_ok", "expected"),
    [(True, True, None), (True, None, 102), (True, False, 102), (False, None, None), (False, False, 102)],
)
def test_code_102_g22_session_password(has_password: bool, password_ok: bool | None, expected: int | None) -> None:
    project = {"session_password_hash": "h"} if has_password else {}
    assert asked(item(), document={"project": project}, password_ok=password_ok) == expected


@pytest.mark.parametrize(
    ("given", "expected"), [(PROCESS, None), (None, 103), ({"kind": "process", "value": "p2"}, 103)]
)
def test_code_103_project_validation(given: dict[str, str] | None, expected: int | None) -> None:
    assert asked(item(), document={"project": {"validation_fields": [PROCESS]}}, validation=given) == expected


def test_code_104_no_item_or_project_disabled() -> None:
    assert asked() == 104
    assert asked(item(), document={"project": {"disabled_at": RECEIVED}}) == 104
    assert asked(item(), document={"project": {"disabled_at": RECEIVED + MINUTE}}) is None
    assert asked(item(modules=["qr"]), feature="core") == 104  # decision 8, G25


@pytest.mark.parametrize(
    ("name", "expected"), [("product", 106), ("version", 107), ("deployment_type", 108), ("edition", 109)]
)
def test_codes_of_restrictions(name: str, expected: int) -> None:
    entry = item(**{name: "server"})
    assert asked(entry, **{name: "server"}) is None
    assert asked(entry) is None  # missing matches any
    assert asked(entry, **{name: "browser"}) == expected


@pytest.mark.parametrize(
    ("changes", "data", "expected"),
    [
        pytest.param({"product": "x"}, {"product": "y"}, 106, id="code 106"),
        pytest.param({"version": "9"}, {"version": "10"}, 107, id="code 107"),
        pytest.param({"deployment_type": "server"}, {"deployment_type": "mobile"}, 108, id="code 108"),
        pytest.param({"edition": "x"}, {"edition": "y"}, 109, id="code 109"),
        pytest.param({"validation_fields": [PROCESS]}, {}, 114, id="code 114"),
        pytest.param({}, {"charge_way": "per_page"}, 115, id="code 115"),
        pytest.param({}, {"charge_way": "per_scan"}, None, id="code 115 not for its own charge way"),
        pytest.param({"starts_at": RECEIVED + MINUTE}, {}, 112, id="code 112"),
        pytest.param({"starts_at": RECEIVED}, {}, None, id="code 112 not at the start"),
        pytest.param({"expires_at": RECEIVED, "expiry_grace_days": 0}, {}, 111, id="code 111"),
        pytest.param({"expires_at": RECEIVED}, {}, None, id="code 111 not in expiry grace"),
        pytest.param({"expires_at": RECEIVED - 7 * DAY}, {}, 111, id="code 111 after expiry grace"),
        pytest.param({"revoked_at": RECEIVED}, {}, 113, id="code 113"),
        pytest.param({"revoked_at": RECEIVED + MINUTE}, {}, None, id="code 113 not before"),
        pytest.param({"base_item_ids": ["core"]}, {}, 124, id="code 124"),
        pytest.param({"quota": 3}, {"requested_instances": 4}, 130, id="code 130"),
        pytest.param({"quota": 3}, {"requested_instances": 3}, None, id="code 130 not up to the quota"),
        pytest.param({}, {"clone_suspected": True}, 151, id="code 151"),
    ],
)
def test_verdict_on_one_item(changes: dict[str, Any], data: dict[str, Any], expected: int | None) -> None:
    assert asked(item(**changes), **data) == expected


def test_code_124_an_add_on_with_its_core_item_in_the_project_is_granted() -> None:
    document = organization(item("add-on", base_item_ids=["gone", "core"]), item("core", product="x"))
    assert code(ask(Bench(document), product="dbr")) is None


@pytest.mark.parametrize("count", [1, 5])
def test_code_120_used_up(count: int) -> None:
    assert code(ask(used_up(count=count))) == 120


@pytest.mark.parametrize(
    ("used", "expected"), [(19, None), (20, None), (21, 120)], ids=["within quota", "in grace", "used up"]
)
def test_code_120_comes_after_the_grace(used: int, expected: int | None) -> None:
    bench = Bench(organization(item(quota=20)))
    bench.send(counts={"qr": used})
    assert code(ask(bench)) == expected


def test_code_120_is_tried_over_all_items_within_quota_and_then_in_grace() -> None:
    bench = Bench(organization(item("1", quota=20), item("2", quota=20)))
    granted = []
    for count in (20, 20, 1, 1):
        granted.append(bench.authorize().item_id)
        bench.send(counts={"qr": count})
    granted.append(bench.authorize().item_id)
    assert granted == ["1", "2", "1", "2", ""]


def test_code_151_is_said_only_to_who_would_be_granted() -> None:
    assert code(ask(used_up(), clone_suspected=True)) == 120


def test_section_9_the_order_of_the_checks() -> None:
    """A request with everything wrong; each mistake is put right in turn."""
    wrong: dict[str, Any] = {
        "product": "a",
        "version": "a",
        "deployment_type": "browser",
        "edition": "a",
        "charge_way": "per_page",
        "requested_instances": 2,
        "password_ok": False,
        "clone_suspected": True,
    }
    entry = item(
        quota=1,
        **ALL,
        validation_fields=[PROCESS],
        starts_at=RECEIVED + MINUTE,
        expires_at=RECEIVED + HOUR,
        expiry_grace_days=0,
        revoked_at=SLOT,
        base_item_ids=["core"],
    )
    project: dict[str, Any] = {
        "session_password_hash": "h",
        "validation_fields": [PROCESS, {"kind": "process", "value": "p2"}],
        "disabled_at": SLOT,
    }
    used: list[int] = [1]

    def answer(default: str | None = PROJECT) -> int | None:
        document: Organization = organization(entry, project=project, default_project_id=default)
        bench = Bench(document)
        bench.item_use().in_quota = used[0]
        return code(
            ask(bench, project_id=wrong.get("project_id"), **{k: v for k, v in wrong.items() if k != "project_id"})
        )

    codes = [answer(default=None)]
    for step in (
        lambda: wrong.update(project_id=f"{ORGANIZATION}-other"),
        lambda: wrong.update(project_id=PROJECT),
        lambda: wrong.update(password_ok=True),
        lambda: wrong.update(validation={"kind": "process", "value": "p2"}),
        lambda: project.pop("disabled_at"),
        lambda: wrong.update(product="dbr"),
        lambda: wrong.update(version="9"),
        lambda: wrong.update(deployment_type="server"),
        lambda: wrong.update(edition="pro"),
        lambda: wrong.update(validation=PROCESS),
        lambda: wrong.update(charge_way="per_scan"),
        lambda: entry.update(starts_at=RECEIVED - DAY, expires_at=RECEIVED),
        lambda: entry.update(expires_at=RECEIVED + DAY),
        lambda: entry.pop("revoked_at"),
        lambda: entry.pop("base_item_ids"),
        lambda: wrong.update(requested_instances=1),
        lambda: used.__setitem__(0, 0),
        lambda: wrong.pop("clone_suspected"),
    ):
        step()
        codes.append(answer())
    assert codes == [121, 101, 102, 103, 104, 106, 107, 108, 109, 114, 115, 112, 111, 113, 124, 130, 120, 151, None]


@pytest.mark.parametrize(
    ("items", "data", "expected"),
    [
        pytest.param([{"product": "x"}, {"quota": 1}], {"product": "y", "requested_instances": 2}, 130, id="furthest"),
        pytest.param([{"quota": 1}, {"product": "x"}], {"product": "y", "requested_instances": 2}, 130, id="any order"),
        pytest.param([{"product": "x"}, {"product": "z"}], {"product": "y"}, 106, id="the same reason"),
        pytest.param([{"product": "x"}, {"edition": "x"}], {"product": "y", "edition": "y"}, 104, id="code 104"),
        pytest.param(
            [{"product": "x"}, {"edition": "x"}, {"revoked_at": SLOT}],
            {"product": "y", "edition": "y"},
            113,
            id="one got on",
        ),
        pytest.param([{"product": "x"}, {}], {"product": "y"}, None, id="granted by the first that passes"),
    ],
)
def test_section_9_the_item_that_came_furthest(
    items: list[dict[str, Any]], data: dict[str, Any], expected: int | None
) -> None:
    entries = [item(str(number), **changes) for number, changes in enumerate(items)]
    assert asked(*entries, document={"project": {"usage_order": [e["item_id"] for e in entries]}}, **data) == expected


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        pytest.param({}, RECEIVED + 3 * DAY, id="L4 cumulative"),
        pytest.param({"charge_way": "per_device", "activity_period": "monthly"}, RECEIVED + 30 * DAY, id="V2 device"),
        pytest.param({"charge_way": "per_concurrent_device"}, SLOT + 6 * MINUTE, id="N8 concurrency"),
        pytest.param({"expires_at": RECEIVED + DAY, "expiry_grace_days": 0}, RECEIVED + DAY, id="ends with the item"),
        pytest.param({"expires_at": RECEIVED + HOUR, "expiry_grace_days": 1}, RECEIVED + HOUR + DAY, id="in its grace"),
        pytest.param({"revoked_at": RECEIVED + HOUR}, RECEIVED + HOUR, id="revoked"),
    ],
)
def test_g16_the_end_of_the_local_license(changes: dict[str, Any], end: Any) -> None:
    answer = ask(Bench(organization(item(**changes))))
    assert answer.local_expires_ms == ms(end)


def test_g3_a_repeated_request_is_a_duplicate_and_another_under_its_id_a_conflict() -> None:
    bench = Bench(organization(item()))
    assert bench.authorize(auth_id="same").outcome == "granted"
    assert bench.authorize(auth_id="same", received=RECEIVED + MINUTE).outcome == "duplicate"
    again = bench.authorize(auth_id="same", product="x")
    assert (again.outcome, again.reason) == ("rejected", "conflict")
    assert bench.send(report_id="same").outcome == "charged"  # ids of reports are others
    assert (bench.state.granted, bench.recount.totals["duplicate"]) == (1, 1)


@pytest.mark.parametrize(
    ("recorded", "outcome", "agrees"),
    [
        ({}, "granted", True),
        ({"result": "ok"}, "granted", True),
        ({"result": "ok", "item_id": "41"}, "granted", True),
        ({"result": "ok", "item_id": "42"}, "granted", False),
        ({"result": "refused", "code": "limit_exceeded"}, "refused", False),
    ],
    ids=str,
)
def test_g4_recorded_answers_are_counted_and_compared(recorded: dict[str, Any], outcome: str, agrees: bool) -> None:
    answer = Bench(organization(item())).authorize(**recorded)
    assert (answer.outcome.value, answer.agrees) == (outcome, agrees)

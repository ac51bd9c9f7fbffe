"""Usage alerts: the ten-minute check (domain, section 11)."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from licmeter.metering.alerting import HeldLevels, check_organization, next_check
from licmeter.metering.recipients import parse_recipients
from licmeter.metering.recount import Recount
from licmeter.schemas.alerts import Condition, UsageAlert
from licmeter.schemas.catalog import Recipients
from tests.support.build import ORGANIZATION, PROJECT, SLOT, item, ms, organization
from tests.unit.metering.bench import DAY, HOUR, MINUTE, SLOT_LENGTH, Bench, instant

YEARLY = {"charge_way": "per_device", "activity_period": "yearly"}
CHECK = SLOT + 10 * MINUTE


def seat(bench: Bench, active: int, at: datetime) -> None:
    """Make so many seats live at an instant."""
    bench.state.seats.clear()
    for number in range(active):
        bench.seats().contact(str(number), ms(at) - 1, ms(at) + 1)


def use(bench: Bench, used: int) -> None:
    bench.item_use().in_quota = used


def conditions(alert: UsageAlert | None) -> list[tuple[int, int, tuple[int, ...]]]:
    """Return value, highest level and all newly passed ones of each condition."""
    return [] if alert is None else [(c.value, c.level, c.crossed) for c in alert.conditions]


def only(alert: UsageAlert | None) -> Condition:
    assert alert is not None
    (condition,) = alert.conditions
    return condition


def checks(bench: Bench, *values: int, measure: Any = use) -> list[tuple[int, ...]]:
    """Run a check for each value, ten minutes apart; return the levels newly passed."""
    found = []
    for number, value in enumerate(values):
        at = CHECK + number * 10 * MINUTE
        if measure is seat:
            seat(bench, value, at)
        else:
            measure(bench, value)
        alert = bench.check(at)
        found.append(() if alert is None else only(alert).crossed)
    return found


def request(bench: Bench, count: int, refused: int = 0, at: datetime = SLOT, code: str = "limit_exceeded") -> None:
    """Count requests with recorded answers."""
    for number in range(count):
        answer = {"result": "refused", "code": code} if number < refused else {"result": "ok"}
        bench.authorize(f"device-{bench.number}", at=at, **answer)


def test_example_11_w6_w7_a_device_item_at_six_checks() -> None:
    bench = Bench(organization(item(quota=20, **YEARLY)))
    assert checks(bench, 12, 11, 10, 13, 17, 17, measure=seat) == [(60,), (), (), (60,), (80,), ()]


def test_example_11_w5_a_jump_between_two_checks() -> None:
    bench = Bench(organization(item(quota=100)))
    use(bench, 58)
    assert bench.check(CHECK) is None
    use(bench, 101)
    condition = only(bench.check(CHECK + 10 * MINUTE))
    assert (condition.level, condition.crossed, condition.percent) == (100, (60, 80, 100), "101.00")


def test_example_11_w2_the_payload() -> None:
    bench = Bench(
        organization(
            item(charge_way="per_page"), alerts={"recipients": {"to": "ops@example.org"}, "expiry_reminder_days": []}
        )
    )
    bench.send(counts={"core": 1_610})
    request(bench, 7, refused=7)
    request(bench, 2, refused=2, code="expired")
    request(bench, 31)
    alert = bench.check(instant("2031-03-08T10:20:00Z"))
    assert alert is not None
    said = alert.model_dump(mode="json", exclude_none=True)
    assert len(said.pop("alert_id")) == 32
    item_condition = {
        "scope": "item",
        "item_id": "41",
        "project_ids": ["300417-kiosk"],
        "charge_way": "per_page",
        "metric": "used",
        "value": 1610,
        "quota": 2000,
        "percent": "80.50",
        "level": 80,
        "crossed": [60, 80],
        "state": "active",
    }
    project_condition = {
        "scope": "project",
        "project_id": "300417-kiosk",
        "metric": "auth_failed_ratio",
        "value": 9,
        "quota": 40,
        "percent": "22.50",
        "level": 20,
        "crossed": [10, 20],
        "window_minutes": 60,
        "top_codes": {"120": 7, "111": 2},
    }
    assert said == {
        "organization_id": "300417",
        "checked_at": "2031-03-08T10:20:00Z",
        "conditions": [item_condition, project_condition],
        "recipients": {"to": ["ops@example.org"], "cc": [], "bcc": []},
    }


@pytest.mark.parametrize(
    ("at", "check"),
    [
        ("2031-03-08T10:00:00Z", "2031-03-08T10:10:00Z"),
        ("2031-03-08T10:09:59.999Z", "2031-03-08T10:10:00Z"),
        ("2031-03-08T10:10:00Z", "2031-03-08T10:20:00Z"),
        ("2031-03-08T23:55:00Z", "2031-03-09T00:00:00Z"),
    ],
)
def test_w1_checks_are_every_ten_minutes(at: str, check: str) -> None:
    assert next_check(ms(instant(at))) == ms(instant(check))


@pytest.mark.parametrize(
    ("seconds", "checked"), [(599, "10:10"), (600, "10:20")], ids=["just before the check", "with the check"]
)
def test_w1_a_check_sees_what_arrived_before_it(seconds: int, checked: str) -> None:
    bench = Bench(organization(item(quota=10)))
    bench.recount.next_check_ms = None  # checks run between events
    bench.send(SLOT + timedelta(seconds=1), counts={})
    bench.send(SLOT + timedelta(seconds=seconds), counts={"qr": 6})
    bench.recount.check_until(ms(SLOT + HOUR))
    (alert,) = bench.recount.alerts
    assert alert.checked_at == instant(f"2031-03-08T{checked}:00Z")


def test_w1_e31_a_check_in_the_middle_of_a_slot_sees_it_as_it_stands() -> None:
    bench = Bench(organization(item(charge_way="per_concurrent_device", quota=1, overuse_budget=10)))
    slot = SLOT + 9 * MINUTE  # the check at 10:10 is a minute into it
    for client in "ABCDEFG":
        bench.use(client, slot, slot + timedelta(seconds=30))
    assert conditions(bench.check(CHECK)) == [(6, 60, (60,))]
    for client in "HI":
        bench.use(client, slot, CHECK + MINUTE)
    assert conditions(bench.check(CHECK + 10 * MINUTE)) == [(8, 80, (80,))]


def test_w2_one_message_for_an_organization_and_a_check() -> None:
    bench = Bench(organization(item("1", quota=10, modules=["qr"]), item("2", quota=10, modules=["core"])))
    bench.send(counts={"qr": 6, "core": 8})
    request(bench, 10, refused=1)
    alert = bench.check(CHECK)
    assert alert is not None
    assert [c.item_id or c.project_id for c in alert.conditions] == ["1", "2", PROJECT]
    assert conditions(alert) == [(6, 60, (60,)), (8, 80, (60, 80)), (1, 10, (10,))]


def test_w2_organizations_are_told_apart() -> None:
    recount = Recount()
    documents = [organization(item(quota=10), organization_id=name) for name in ("1", "2", "3")]
    for document in documents:
        recount.adopt(document)
    for name, used in (("1", 6), ("2", 5), ("3", 10)):
        recount.organizations[name].use("41").in_quota = used
    recount.next_check_ms = ms(CHECK)
    recount.check_until(ms(CHECK))
    assert [(alert.organization_id, alert.conditions[0].value) for alert in recount.alerts] == [("1", 6), ("3", 10)]


DEFAULT, LEGACY = (60, 80, 100), (75, 90, 95, 100, 110)
LEVELS = [
    ({"charge_way": "per_scan"}, DEFAULT, (75, 90, 95, 100, 105)),
    ({"charge_way": "per_page"}, DEFAULT, (75, 90, 95, 100, 105)),
    (YEARLY, DEFAULT, LEGACY),
    (YEARLY | {"activity_period": "quarterly"}, DEFAULT, LEGACY),
    (YEARLY | {"activity_period": "monthly"}, DEFAULT, LEGACY),
    (YEARLY | {"activity_period": "daily"}, (100,), LEGACY),
    ({"charge_way": "per_server"}, DEFAULT, LEGACY),
    ({"charge_way": "per_concurrent_device"}, DEFAULT, (50, 75, 90, 100)),
    ({"charge_way": "per_concurrent_instance"}, DEFAULT, (50, 75, 90, 100)),
]


@pytest.mark.parametrize(("changes", "default", "legacy"), LEVELS, ids=lambda v: str(v) if isinstance(v, dict) else "")
@pytest.mark.parametrize("preset", ["default", "legacy"])
def test_w3_levels_of_items(
    changes: dict[str, Any], default: tuple[int, ...], legacy: tuple[int, ...], preset: str
) -> None:
    bench = Bench(organization(item(quota=10, **changes), alerts={"preset": preset}))
    use(bench, 20)
    seat(bench, 20, CHECK)
    bench.item_use().consumed[0] = 20_000
    condition = only(bench.check(CHECK))
    assert condition.crossed == (default if preset == "default" else legacy)
    assert condition.metric == {"per_s": "used", "per_p": "used", "per_c": "consumed"}.get(
        "active" if changes["charge_way"] == "per_server" else changes["charge_way"][:5], "active"
    )
    assert condition.quota == (10_000 if condition.metric == "consumed" else 10)
    assert condition.percent == "200.00"


@pytest.mark.parametrize(
    ("preset", "levels"), [("default", (10, 20, 40, 60, 80, 100)), ("legacy", (10, 25, 50, 75))], ids=str
)
def test_w3_levels_of_projects(preset: str, levels: tuple[int, ...]) -> None:
    bench = Bench(organization(item(), alerts={"preset": preset}))
    request(bench, 10, refused=10)
    assert only(bench.check(CHECK)).crossed == levels


def test_w3_a_domain_item_has_none() -> None:
    fields = [{"kind": "domain", "value": "example.org"}]
    bench = Bench(organization(item(charge_way="per_domain", quota=1, validation_fields=fields)))
    use(bench, 10)
    assert bench.check(CHECK) is None


def test_w3_levels_are_configurable() -> None:
    alerts = {"preset": "legacy", "cumulative_levels": [50, 33], "failure_levels": [], "failure_requests_min": 1}
    bench = Bench(organization(item(quota=10), alerts=alerts))
    request(bench, 1, refused=1)
    assert checks(bench, 4, 5) == [(33,), (50,)]


@pytest.mark.parametrize(
    ("used", "quota", "met"),
    [
        (60, 100, True),
        (59, 100, False),
        (5, 7, True),
        (4, 7, False),
        (6 * 10**17, 10**18, True),
        (6 * 10**17 - 1, 10**18, False),
    ],
)
def test_w4_levels_are_compared_in_integers(used: int, quota: int, met: bool) -> None:
    bench = Bench(organization(item(quota=quota)))
    use(bench, used)
    assert (bench.check(CHECK) is not None) is met


def test_w5_e30_several_levels_are_one_condition() -> None:
    bench = Bench(organization(item(quota=10)))
    for days in range(30):
        bench.use("A", SLOT - days * DAY, SLOT)
    assert conditions(bench.check(CHECK)) == [(30, 100, (60, 80, 100))]


def test_w5_only_the_newly_passed_ones_are_listed() -> None:
    assert checks(Bench(organization(item(quota=100))), 60, 79, 80, 100, 106) == [(60,), (), (80,), (100,), ()]


def test_w6_nothing_is_said_again_while_the_value_stays() -> None:
    bench = Bench(organization(item(quota=10)))
    assert checks(bench, *[9] * 20) == [(60, 80), *[()] * 19]


@pytest.mark.parametrize(
    ("between", "again"),
    [(56, False), (55, False), (54, True)],
    ids=["4 points below", "5 points below", "more than 5 points below"],
)
def test_w7_a_level_arms_again_below_five_points(between: int, again: bool) -> None:
    bench = Bench(organization(item(quota=100, **YEARLY)))
    assert checks(bench, 60, between, 60, measure=seat) == [(60,), (), (60,) if again else ()]


def test_w7_each_level_arms_for_itself() -> None:
    bench = Bench(organization(item(quota=100, **YEARLY)))
    found = checks(bench, 100, 94, 100, 74, 100, 54, 100, measure=seat)
    assert found == [(60, 80, 100), (), (100,), (), (80, 100), (), (60, 80, 100)]


def test_w7_a_new_budget_year_arms_again() -> None:
    bench = Bench(organization(item(charge_way="per_concurrent_device", quota=1, expires_at="2040-01-01T00:00:00Z")))
    bench.item_use().consumed = {0: 1_000, 1: 600}
    turn = instant("2032-01-01T00:00:00Z")  # 365 days after the start
    assert only(bench.check(turn - 10 * MINUTE)).crossed == (60, 80, 100)
    assert bench.check(turn) is None  # 60 % is held, 80 and 100 arm
    bench.item_use().consumed[1] = 800
    assert only(bench.check(turn + 10 * MINUTE)).crossed == (80,)


def test_w7_e9_a_larger_quota_arms_again() -> None:
    bench = Bench(organization(item(quota=100)))
    assert checks(bench, 100) == [(60, 80, 100)]
    bench.adopt(organization(item(quota=200)))
    assert checks(bench, 100, 120) == [(), (60,)]


@pytest.mark.parametrize(
    ("count", "refused", "levels"), [(10, 1, (10,)), (9, 9, None), (11, 1, None), (10, 2, (10, 20))]
)
def test_w8_the_ratio_needs_ten_requests(count: int, refused: int, levels: tuple[int, ...] | None) -> None:
    bench = Bench(organization(item()))
    request(bench, count, refused)
    alert = bench.check(CHECK)
    assert (None if alert is None else only(alert).crossed) == levels


def test_w8_the_number_of_requests_is_configurable() -> None:
    bench = Bench(organization(item(), alerts={"failure_requests_min": 2}))
    request(bench, 2, refused=1)
    assert only(bench.check(CHECK)).crossed == (10, 20, 40)


@pytest.mark.parametrize(
    ("at", "seen"),
    [
        (CHECK - HOUR - timedelta(milliseconds=1), False),
        (CHECK - HOUR, True),
        (CHECK - timedelta(milliseconds=1), True),
        (CHECK, False),
    ],
    ids=["before", "first", "last", "after"],
)
def test_w8_the_window_is_the_hour_before_the_check_by_the_time_of_the_request(at: datetime, seen: bool) -> None:
    bench = Bench(organization(item()))
    request(bench, 10, refused=10, at=at)
    assert (bench.check(CHECK) is not None) is seen


def test_w8_code_100_is_not_counted() -> None:
    bench = Bench(organization(item()))
    request(bench, 30, refused=30, code="standby_refuses")
    assert bench.check(CHECK) is None
    request(bench, 10, refused=2)
    condition = only(bench.check(CHECK + 10 * MINUTE))
    assert (condition.value, condition.quota) == (2, 10)


def test_w8_what_was_rejected_or_repeated_is_not_counted() -> None:
    bench = Bench(organization(item()))
    request(bench, 9)
    bench.authorize("again", at=SLOT, auth_id="same", result="refused", code="expired")
    bench.authorize("again", at=SLOT, auth_id="same", result="refused", code="expired")
    bench.try_to_authorize("x", at=SLOT, received=SLOT + 2 * DAY, result="refused")
    condition = only(bench.check(CHECK))
    assert (condition.value, condition.quota, condition.top_codes) == (1, 10, {"111": 1})


def test_w8_each_project_has_a_ratio_of_its_own() -> None:
    projects = [{"project_id": f"{ORGANIZATION}-{name}", "item_ids": ["41"]} for name in "KM"]
    bench = Bench(organization(item(), projects=projects, default_project_id=None))
    for number in range(10):
        bench.authorize(f"device-{number}", at=SLOT, project_id=f"{ORGANIZATION}-K")
        bench.authorize(f"device-{number}", at=SLOT, project_id=f"{ORGANIZATION}-M", product="x", charge_way="per_page")
    condition = only(bench.check(CHECK))
    assert (condition.project_id, condition.level, condition.top_codes) == (f"{ORGANIZATION}-M", 100, {"115": 10})


def test_w8_e32_without_requests_nothing_is_sent_and_nothing_armed() -> None:
    bench = Bench(organization(item()))
    request(bench, 10, refused=10)
    assert bench.check(CHECK) is not None
    assert bench.check(SLOT + 2 * HOUR) is None  # nothing in the window
    request(bench, 10, refused=10, at=SLOT + 3 * HOUR)
    assert bench.check(SLOT + 3 * HOUR + 10 * MINUTE) is None  # still held
    request(bench, 10, at=SLOT + 5 * HOUR)
    assert bench.check(SLOT + 5 * HOUR + 10 * MINUTE) is None  # armed by a ratio of 0
    request(bench, 10, refused=10, at=SLOT + 7 * HOUR)
    assert bench.check(SLOT + 7 * HOUR + 10 * MINUTE) is not None


def test_w8_the_ratio_changes_as_requests_leave_the_window() -> None:
    bench = Bench(organization(item()))
    bench.recount.next_check_ms = None  # checks run between events
    request(bench, 10, at=SLOT + 5 * MINUTE)
    request(bench, 10, refused=10, at=SLOT + 15 * MINUTE)
    bench.recount.check_until(ms(SLOT + 2 * HOUR))
    said = [(alert.checked_at - SLOT, only(alert).quota, only(alert).crossed) for alert in bench.recount.alerts]
    assert said == [(20 * MINUTE, 20, (10, 20, 40)), (70 * MINUTE, 10, (60, 80, 100))]


@pytest.mark.parametrize(
    ("changes", "checked"),
    [
        ({"starts_at": CHECK + MINUTE}, False),
        ({"revoked_at": CHECK}, False),
        ({"expires_at": CHECK - 7 * DAY}, False),
        ({"expires_at": CHECK}, True),
        ({}, True),
    ],
    ids=["pending", "revoked", "expired", "in expiry grace", "active"],
)
def test_w9_pending_revoked_and_expired_items_are_not_checked(changes: dict[str, Any], checked: bool) -> None:
    bench = Bench(organization(item(quota=10, **changes)))
    use(bench, 10)
    assert (bench.check(CHECK) is not None) is checked


def test_w9_reminders_are_off_unless_asked_for() -> None:
    assert Bench(organization(item(expires_at=CHECK + DAY))).check(CHECK) is None


def test_w9_reminders_some_days_before_the_end() -> None:
    ends = SLOT + 40 * DAY
    bench = Bench(organization(item(expires_at=ends), alerts={"expiry_reminder_days": [30, 7, 1]}))
    said = []
    for days in (31, 30, 29, 8, 7, 2, 1, 0, -1):
        alert = bench.check(ends - days * DAY)
        if alert is not None:
            condition = only(alert)
            said.append((days, condition.metric, condition.value, condition.level))
    assert said == [(days, "expires_in_days", days, days) for days in (30, 7, 1)]


def test_w10_recipients_are_parsed() -> None:
    lists, mistakes = parse_recipients(
        Recipients(to=" a@example.org ;; A@Example.ORG;b@example.org; nobody ", cc=";", bcc="c@example.org;d")
    )
    assert lists.model_dump() == {"to": ("a@example.org", "b@example.org"), "cc": (), "bcc": ("c@example.org",)}
    assert mistakes == [
        "recipients.to: nobody is no address, it has no @",
        "recipients.bcc: d is no address, it has no @",
    ]


def test_w10_a_mistake_does_not_stop_the_others() -> None:
    bench = Bench(organization(item(quota=10), alerts={"recipients": {"to": "nobody; a@example.org"}}))
    use(bench, 10)
    alert = bench.check(CHECK)
    assert alert is not None
    assert alert.recipients.to == ("a@example.org",)


def test_w10_to_is_required() -> None:
    assert parse_recipients(Recipients(to=" ; "))[1] == ["recipients.to: names no address"]


def test_w11_missed_checks_are_not_made_up() -> None:
    bench = Bench(organization(item(quota=100, **YEARLY)))
    seat(bench, 60, CHECK)
    assert only(bench.check(CHECK)).crossed == (60,)
    # What stood at 100 % and at 10 % in between was not looked at.
    later = CHECK + 5 * HOUR
    seat(bench, 85, later)
    assert conditions(bench.check(later)) == [(85, 80, (80,))]


def test_w12_the_id_is_of_the_organization_and_the_check() -> None:
    def identifier(at: datetime, used: int = 10, name: str = ORGANIZATION) -> str:
        bench = Bench(organization(item(quota=10), organization_id=name))
        use(bench, used)
        alert = bench.check(at)
        assert alert is not None
        return alert.alert_id

    assert identifier(CHECK) == identifier(CHECK, used=8)
    assert len({identifier(CHECK), identifier(CHECK + 10 * MINUTE), identifier(CHECK, name="9")}) == 3


def test_w12_a_check_that_runs_again_with_what_was_held_says_the_same() -> None:
    bench = Bench(organization(item(quota=10)))
    use(bench, 9)
    held = HeldLevels()
    first = check_organization(bench.state, held, ms(CHECK))
    again = check_organization(bench.state, HeldLevels(), ms(CHECK))
    assert first == again is not None
    assert check_organization(bench.state, held, ms(CHECK)) is None


def test_g18_levels_of_an_item_that_is_not_checked_stay_as_they_were() -> None:
    bench = Bench(organization(item(quota=10)))
    assert checks(bench, 10) == [(60, 80, 100)]
    bench.adopt(organization(item(quota=1_000, revoked_at=SLOT)))
    assert bench.check(CHECK + SLOT_LENGTH) is None
    bench.adopt(organization(item(quota=10)))
    assert bench.check(CHECK + 2 * SLOT_LENGTH) is None  # not armed by the larger quota

"""What the stream says of seats: one row for each life and project of a batch, before later events can replace it."""

from datetime import datetime, timedelta
from typing import Any

from licmeter.metering.limits import DEFAULT_LIMITS
from licmeter.schemas.authorizations import authorization
from licmeter.stream.batch import BatchResult, InputRecord, process_batch
from licmeter.stream.partition import load_partition
from licmeter.stream.store import MemoryStore
from tests.support.build import ORGANIZATION, RECEIVED, catalog_record, item, ms, organization, record, report

DAY = timedelta(days=1)
OTHER = f"{ORGANIZATION}-other"
MONTHLY = {"charge_way": "per_device", "activity_period": "monthly", "quota": 5}


def counted(*events: tuple[dict[str, Any], datetime], batches: bool = False) -> list[BatchResult]:
    """Count events at their arrival, in one batch or each in its own."""
    projects = [
        {"project_id": f"{ORGANIZATION}-kiosk", "item_ids": ["41"]},
        {"project_id": OTHER, "item_ids": ["41"]},
    ]
    document = organization(item("41", **MONTHLY), projects=projects)
    log = [catalog_record(document, 0)]
    log += [record(event, number, received=received) for number, (event, received) in enumerate(events, start=1)]
    state = load_partition(0, MemoryStore(), DEFAULT_LIMITS.duplicate_days)
    parts: list[list[InputRecord]] = [[each] for each in log] if batches else [log]
    return [process_batch(part, state, DEFAULT_LIMITS) for part in parts]


def seats(*results: BatchResult) -> dict[tuple[str, datetime, str], tuple[int, int, int]]:
    """Merge rows as the table does."""
    found: dict[Any, tuple[int, int, int]] = {}
    for result in results:
        for (_, _, client, first, project), (since, last, end) in result.seats.items():
            known = found.get((client, first, project), (since, last, end))
            found[client, first, project] = (min(known[0], since), max(known[1], last), max(known[2], end))
    return found


def use(number: int, received: datetime, **changes: Any) -> tuple[dict[str, Any], datetime]:
    slot = received.replace(minute=received.minute // 3 * 3, second=0)
    return report(f"r{number}", slot=slot, **changes), received


def test_a_report_takes_a_seat_and_the_next_prolongs_it() -> None:
    (result,) = counted(use(1, RECEIVED), use(2, RECEIVED + DAY))
    first = ms(RECEIVED)
    assert seats(result) == {
        ("device-1", first, f"{ORGANIZATION}-kiosk"): (first, ms(RECEIVED + DAY), ms(RECEIVED + 31 * DAY))
    }


def test_the_rows_of_small_batches_merge_to_those_of_a_large_one() -> None:
    events = [use(number, RECEIVED + number * 7 * DAY, client_uuid=f"device-{number % 2}") for number in range(1, 20)]
    whole, parts = counted(*events), counted(*events, batches=True)
    assert seats(*whole) == seats(*parts)
    assert len(seats(*whole)) == 2


def test_v3_a_seat_that_ended_and_comes_back_in_one_batch_has_two_lives() -> None:
    (result,) = counted(use(1, RECEIVED), use(2, RECEIVED + 40 * DAY))
    ends = sorted(end for _, _, end in seats(result).values())
    assert ends == [ms(RECEIVED + 30 * DAY), ms(RECEIVED + 70 * DAY)]


def test_e22_each_project_has_its_own_row_of_one_seat() -> None:
    (result,) = counted(use(1, RECEIVED), use(2, RECEIVED + DAY, project_id=OTHER))
    first = ms(RECEIVED)
    assert seats(result)["device-1", first, OTHER] == (ms(RECEIVED + DAY), ms(RECEIVED + DAY), ms(RECEIVED + 31 * DAY))


def test_a6_a_contact_without_use_prolongs_a_seat_and_belongs_to_no_project() -> None:
    (result,) = counted(use(1, RECEIVED), use(2, RECEIVED + DAY, counts={}))
    first = ms(RECEIVED)
    assert seats(result)["device-1", first, ""] == (ms(RECEIVED + DAY), ms(RECEIVED + DAY), ms(RECEIVED + 31 * DAY))


def test_a6_a_contact_without_use_and_without_a_seat_is_none() -> None:
    (result,) = counted(use(1, RECEIVED, counts={}))
    assert result.seats == {}


def test_a_granted_authorization_takes_a_seat_at_its_own_instant() -> None:
    at = RECEIVED - timedelta(minutes=10)
    event = authorization(auth_id="a1", client_uuid="device-1", at=at, project_id=f"{ORGANIZATION}-kiosk")
    (result,) = counted((event, RECEIVED))
    assert seats(result) == {("device-1", ms(at), f"{ORGANIZATION}-kiosk"): (ms(at), ms(at), ms(at + 30 * DAY))}


def test_a_refused_device_has_no_row() -> None:
    events = [use(number, RECEIVED, client_uuid=f"device-{number}") for number in range(1, 9)]
    (result,) = counted(*events)
    assert {client for client, _, _ in seats(result)} == {f"device-{number}" for number in range(1, 7)}


def test_a_duplicate_is_no_contact() -> None:
    (result,) = counted(use(1, RECEIVED), (use(1, RECEIVED)[0], RECEIVED + DAY))
    assert [last for _, last, _ in seats(result).values()] == [ms(RECEIVED)]

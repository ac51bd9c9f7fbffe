"""A stream for the sink that reaches every table, and what the tables must then hold: counted here, not by SQL."""

import datetime as dt
from collections import defaultdict
from typing import Any, Final

from licmeter.schemas.attribution import encode_blocks
from licmeter.schemas.authorization_rows import AUTHORIZATIONS_KEY
from licmeter.schemas.outcomes import RejectReason
from licmeter.schemas.rejects import RejectOrigin, reject_headers
from licmeter.schemas.seat_rows import SEAT_SCHEMA, SEATS_KEY
from licmeter.schemas.topics import (
    LICENSE_ALERTS,
    LICENSE_CATALOG,
    LICENSE_COUNTERS,
    USAGE_ATTRIBUTED,
    USAGE_REJECTED,
)
from tests.integration.sink_stage import PARTITIONS, Stage
from tests.support.build import item, organization
from tests.unit.sinks.records import (
    RECEIVED,
    SLOT,
    alert_record,
    attribution_blocks,
    attribution_row,
    authorization_blocks,
    authorization_row,
    breach,
    columns,
    counters_record,
    item_counters,
    organization_counters,
    usage_alert,
)

__all__ = ["QUESTIONS", "ROUND_ROWS", "Traffic"]

ROUND_ROWS: Final = 20
_NEVER: Final = dt.datetime(2299, 12, 31, tzinfo=dt.UTC)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

#: By table: the question whose answer `Traffic.expected` has. Each has the number of rows, so that none is there twice.
QUESTIONS: Final = {
    "usage_attributed": "SELECT source_partition, source_offset, quantity FROM usage_attributed",
    "authorizations": "SELECT source_offset, client_uuid FROM authorizations",
    "seats": "SELECT client_uuid, since, last_contact_at, expires_at FROM seats",
    "license_counters": "SELECT item_id, applied_offset, used FROM license_counters",
    "counter_history": "SELECT item_id, applied_offset, used FROM counter_history",
    "organization_counters": "SELECT source_partition, applied_offset, charged FROM organization_counters",
    "breaches": "SELECT breach_id FROM breaches",
    "usage_alerts": "SELECT alert_id, length(conditions.scope) FROM usage_alerts",
    "catalogs": "SELECT organization_id, version FROM catalogs",
    "usage_rejected": "SELECT source_topic, source_partition, source_offset FROM usage_rejected",
    "client_spans": "SELECT client_uuid, first_use_at, first_use_received, last_use_received, last_use_at, "
    "last_report_at, last_received_at FROM client_spans",
}


class Traffic:
    """Rounds of records, numbered from 0; `places` has, by partition and offset of usage.attributed, the block."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.rounds = 0
        self.places: dict[tuple[int, int], int] = {}
        self._rows: defaultdict[str, dict[Any, tuple[Any, ...]]] = defaultdict(dict)

    def expected(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return by table what the questions must answer, sorted."""
        return {table: sorted(self._rows[table].values()) for table in QUESTIONS}

    async def send(self, rounds: int = 1) -> None:
        """Send some rounds."""
        for _ in range(rounds):
            await self._reports(self.rounds)
            await self._counters(self.rounds)
            if self.rounds % 3 == 0:
                await self._authorization(self.rounds)
                await self._seat(self.rounds)
            if self.rounds % 5 == 0:
                await self._alerts(self.rounds)
                await self._rejects(self.rounds)
                await self._catalog(self.rounds)
            self.rounds += 1

    async def _reports(self, number: int) -> None:
        partition, rows = number % PARTITIONS, []
        for offset in range(number * ROUND_ROWS, (number + 1) * ROUND_ROWS):
            row = attribution_row(
                client_uuid=f"c{offset * 7 % 17}",
                slot=SLOT + dt.timedelta(minutes=3 * (offset * 11 % 97)),
                received_at=RECEIVED + dt.timedelta(minutes=3 * (offset * 11 % 97), milliseconds=offset),
                quantity=offset % 4,
                source_partition=partition,
                source_offset=offset,
                line=0,
            )
            rows.append(row)
            self._rows["usage_attributed"][offset] = (partition, offset, row["quantity"])
            used = row["quantity"] > 0
            self._span(
                row["client_uuid"],
                (row["slot"] if used else _NEVER, row["received_at"] if used else _NEVER),
                (
                    row["received_at"] if used else _EPOCH,
                    row["slot"] if used else _EPOCH,
                    row["slot"],
                    row["received_at"],
                ),
            )
        (record,) = attribution_blocks(rows)
        sent = await self._stage.producer.send_and_wait(USAGE_ATTRIBUTED.name, record.value, partition=partition)
        self.places[partition, sent.offset] = number

    async def _authorization(self, number: int) -> None:
        at = RECEIVED - dt.timedelta(days=number % 5, seconds=number)
        row = authorization_row(
            client_uuid=f"c{number % 17}", item_id="L1-1", outcome="granted", code="", at=at, source_offset=number
        )
        (record,) = authorization_blocks([row])
        await self._stage.send(USAGE_ATTRIBUTED, record.value, key=record.key, partition=number % PARTITIONS)
        assert record.key == AUTHORIZATIONS_KEY
        self._rows["authorizations"][number] = (number, row["client_uuid"])
        self._span(row["client_uuid"], (at, at), (_EPOCH, at, _EPOCH, row["received_at"]))

    def _span(self, client: str, firsts: tuple[dt.datetime, ...], lasts: tuple[dt.datetime, ...]) -> None:
        _, *old = self._rows["client_spans"].get(client, (client, *[_NEVER] * 2, *[_EPOCH] * 4))
        earliest = (min(pair) for pair in zip(old[:2], firsts, strict=True))
        latest = (max(pair) for pair in zip(old[2:], lasts, strict=True))
        self._rows["client_spans"][client] = (client, *earliest, *latest)

    async def _seat(self, number: int) -> None:
        client, contact = f"c{number % 5}", RECEIVED + dt.timedelta(minutes=number * 13 % 101)
        end = contact + dt.timedelta(days=90)
        row = {
            "organization_id": "acme",
            "item_id": "L1-2",
            "client_uuid": client,
            "first_at": RECEIVED,
            "project_id": "acme-web",
            "since": contact,
            "last_contact_at": contact,
            "expires_at": end,
        }
        (block,) = encode_blocks(columns([row], SEAT_SCHEMA), SEAT_SCHEMA)
        await self._stage.send(USAGE_ATTRIBUTED, block, key=SEATS_KEY, partition=number % PARTITIONS)
        _, since, last, expires = self._rows["seats"].get(client, (client, contact, contact, end))
        self._rows["seats"][client] = (client, min(since, contact), max(last, contact), max(expires, end))

    async def _counters(self, number: int) -> None:
        states = (
            item_counters(item_id=f"L1-{number % 3}", applied_offset=number, used=number),
            organization_counters(source_partition=number % 2, applied_offset=number, charged=number),
        )
        for state in states:
            record = counters_record(state)
            await self._stage.send(LICENSE_COUNTERS, record.value, key=record.key)
        name = f"L1-{number % 3}"
        self._rows["license_counters"][name] = (name, number, number)
        self._rows["counter_history"][number] = (name, number, number)
        self._rows["organization_counters"][number % 2] = (number % 2, number, number)

    async def _alerts(self, number: int) -> None:
        crossed, told = breach(breach_id=f"{number:032x}"), usage_alert(alert_id=f"{number:032x}")
        for record in (alert_record(crossed), alert_record(told)):
            await self._stage.send(LICENSE_ALERTS, record.value, key=record.key)
        self._rows["breaches"][number] = (crossed.breach_id,)
        self._rows["usage_alerts"][number] = (told.alert_id, len(told.conditions))

    async def _rejects(self, number: int) -> None:
        """One that the stream refused, and one that the sink cannot read and puts there itself."""
        origin = RejectOrigin(RejectReason.TOO_OLD, "", "usage.events", 1, number, 1_930_000_000_000)
        await self._stage.send(USAGE_REJECTED, b"{}", key=b"acme", headers=reject_headers(origin, []))
        self._rows["usage_rejected"]["stream", number] = ("usage.events", 1, number)
        sent = await self._stage.producer.send_and_wait(
            USAGE_ATTRIBUTED.name, b"no block", partition=number % PARTITIONS
        )
        self._rows["usage_rejected"]["sink", number] = (USAGE_ATTRIBUTED.name, sent.partition, sent.offset)

    async def _catalog(self, number: int) -> None:
        document = organization(item(quota=number + 1))
        sent = await self._stage.producer.send_and_wait(
            LICENSE_CATALOG.name, document.model_dump_json().encode(), key=document.organization_id.encode()
        )
        self._rows["catalogs"][document.organization_id] = (document.organization_id, sent.offset)

"""Tags, conditional requests, and CSV."""

from datetime import UTC, datetime

import pytest

from licmeter.analytics.http.answers import DenialsRow, SeatRow
from licmeter.analytics.http.representations import csv_text, matches, represent, wants_csv

NOW = datetime(2031, 3, 8, 10, 0, 0, 999_000, tzinfo=UTC)


def tag(
    body: bytes = b"{}", media_type: str = "application/json", at: datetime | None = NOW, link: str | None = None
) -> str:
    return represent(body, media_type, at, link).headers["ETag"]


def test_the_tag_is_strong_and_of_all_that_is_said() -> None:
    assert tag() == tag()
    assert tag().startswith('"')
    assert len({tag(), tag(b"[]"), tag(media_type="text/csv"), tag(at=None), tag(link="/next")}) == 5


def test_q7_the_last_update_is_a_date_of_http() -> None:
    headers = represent(b"", "text/csv", NOW, None).headers
    assert headers["Last-Modified"] == "Sat, 08 Mar 2031 10:00:00 GMT"
    assert "Last-Modified" not in represent(b"", "text/csv", None, None).headers
    assert headers["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ([], False),
        ([""], False),
        (['"a"'], True),
        (['W/"a"'], True),
        (['"b", "a"'], True),
        (['"b"', ' W/"a" ,'], True),
        (["*"], True),
        (["a"], False),
        (['"A"'], False),
        (['"aa"'], False),
        (["\xff"], False),
    ],
)
def test_a_client_that_has_it_is_known(header: list[str], expected: bool) -> None:
    assert matches(header, '"a"') is expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ([], False),
        ([""], False),
        (["*/*"], False),
        (["text/csv"], True),
        (["TEXT/CSV; header=present"], True),
        (["text/*"], True),
        (["application/json, text/csv"], False),
        (["application/json;q=0.5, text/csv"], True),
        (["text/csv;q=0.5, */*"], False),
        (["text/csv, */*;q=0.1"], True),
        (["text/csv;q=0"], False),
        (["text/csv;q=x"], False),
        (["image/png"], False),
        (["text/html", "text/csv"], True),
    ],
)
def test_csv_is_given_to_those_who_would_rather_have_it(accept: list[str], expected: bool) -> None:
    assert wants_csv(accept) is expected


def test_csv_has_a_header_and_every_value_as_it_is() -> None:
    row = SeatRow(
        item_id='a,"b"',
        client_uuid="line\nbreak",
        first_at=NOW,
        last_contact_at=NOW,
        expires_at=NOW,
        project_ids=["p-1", "p-ü"],
        used=False,
    )
    body, media_type = csv_text(["item_id", "client_uuid", "first_at", "project_ids", "used"], [row])
    assert body.decode() == (
        "item_id,client_uuid,first_at,project_ids,used\r\n"
        '"a,""b""","line\nbreak",2031-03-08T10:00:00.999000Z,"[""p-1"", ""p-ü""]",false\r\n'
    )
    assert media_type == "text/csv; charset=utf-8; header=present"


def test_counts_beyond_2_to_the_53_are_exact() -> None:
    row = DenialsRow(day=NOW.date(), auth=2**63 + 1, auth_failed=0, codes={"expired": 2**64 - 1}, count=2**53 + 1)
    body, _ = csv_text(list(DenialsRow.model_fields), [row])
    assert f"{2**63 + 1}," in body.decode()
    assert row.model_dump_json().endswith(f'"codes":{{"expired":{2**64 - 1}}},"count":{2**53 + 1}}}')

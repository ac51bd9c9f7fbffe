from datetime import date

from licmeter.analytics.query import Period
from licmeter.analytics.rejects import RejectDays, RejectOverview
from licmeter.schemas.replays import Place, ReplayMark, replay_headers

PERIOD = Period(date(2031, 3, 1), date(2031, 3, 8))


def test_q11_the_days_of_an_organization_are_bound_to_it() -> None:
    text, parameters = RejectDays("it's", PERIOD).to_sql()
    assert "organization_id = {organization:String}" in text
    assert parameters == {"organization": "it's", "first_day": PERIOD.first, "last_day": PERIOD.last}
    assert "it's" not in text


def test_the_overview_is_of_all_and_has_a_bound() -> None:
    text, parameters = RejectOverview(PERIOD).to_sql()
    assert "LIMIT 1000" in text
    assert parameters == {"first_day": PERIOD.first, "last_day": PERIOD.last}


def test_a_replay_is_known_by_the_header_that_it_has() -> None:
    names = [name for name, _ in replay_headers(ReplayMark(Place("usage.events", 0, 1), "r"), [])]
    assert all(f"'{names[-1]}'" in query.to_sql()[0] for query in (RejectDays("a"), RejectOverview()))

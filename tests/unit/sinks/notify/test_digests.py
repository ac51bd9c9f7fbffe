from licmeter.schemas.outcomes import BreachKind
from licmeter.sinks.notify.digests import NAMES_MAX, SAMPLES_MAX, SLACK_MS, DigestBook, Gathered
from tests.unit.sinks.notify.samples import breach

UNLICENSED = BreachKind.UNLICENSED_USE


def feed(book: DigestBook, times: list[int], kind: BreachKind = UNLICENSED, **changes: str) -> list[Gathered]:
    ended = [
        book.add(breach(at, kind, **changes), partition=0, offset=offset, at_ms=at) for offset, at in enumerate(times)
    ]
    return [each for each in ended if each is not None]


def test_a_window_holds_what_the_log_has_within_it() -> None:
    book = DigestBook(60_000, 60_000)
    ended = feed(book, [1_000, 30_000, 60_999, 61_000, 61_001])
    assert [each.offsets for each in ended] == [[0, 1, 2]]
    assert [each.offsets for each in book.end_all()] == [[3, 4]]


def test_organizations_and_kinds_have_their_own_windows() -> None:
    book = DigestBook(60_000, 60_000)
    feed(book, [0, 1])
    feed(book, [0, 1], BreachKind.CLOCK_SKEW)
    feed(book, [0, 1], organization_id="other")
    assert len(book.end_all()) == 3


def test_a_window_ends_with_time_only_where_the_log_was_read_to_its_end() -> None:
    book = DigestBook(60_000, 60_000)
    feed(book, [0, 5])
    end = 60_000 + SLACK_MS
    assert book.due(end, caught_up=set()) == []
    assert book.due(end - 1, caught_up={0}) == []
    assert [each.offsets for each in book.due(end, caught_up={0})] == [[0, 1]]
    assert book.due(end, caught_up={0}) == []


def test_without_a_window_each_breach_is_its_own() -> None:
    book = DigestBook(0, 3_600_000)
    ended = feed(book, [5, 5, 6])
    assert [each.offsets for each in (*ended, *book.due(6, caught_up=set()))] == [[0], [1], [2]]


def test_windows_double_while_they_keep_coming_and_a_day_makes_some_thirty_messages() -> None:
    book = DigestBook(60_000, 3_600_000)
    ended = feed(book, list(range(0, 86_400_000, 500)))
    lengths = [(each.end_ms - each.begin_ms) // 60_000 for each in ended]
    assert lengths[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert len(ended) < 30


def test_a_quiet_time_brings_the_first_window_back() -> None:
    book = DigestBook(60_000, 3_600_000)
    ended = feed(book, [0, 60_000, 180_000, 2_000_000, 2_100_000])
    assert [each.end_ms - each.begin_ms for each in (*ended, *book.end_all())] == [
        60_000,
        120_000,
        240_000,
        60_000,
        120_000,
    ]


def test_reading_the_log_again_gathers_the_same() -> None:
    times = [0, 10, 59_999, 60_000, 200_000, 200_001]
    first, second = DigestBook(60_000, 60_000), DigestBook(60_000, 60_000)
    assert [e.event_ids for e in feed(first, times)] == [e.event_ids for e in feed(second, times)]


def test_what_is_kept_of_a_window_is_bounded() -> None:
    book = DigestBook(60_000, 60_000)
    count = 3 * NAMES_MAX
    for number in range(count):
        book.add(breach(number, value=number), partition=0, offset=number, at_ms=0)
    assert book.gathered == count
    (each,) = book.end_all()
    assert len(each.samples) == SAMPLES_MAX
    assert len(each.clients) == NAMES_MAX
    assert len(each.event_ids) == count
    assert each.worst is not None
    assert each.worst.value == count - 1

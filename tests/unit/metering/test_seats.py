"""The book of seats against a naive one: a dictionary of ends."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from licmeter.metering.seats import RETAIN_MS, SeatBook

#: Some instants and lengths meet exactly, and some steps go beyond what is retained.
STEPS = st.sampled_from((0, 0, 1, 2, 5, 1_000, RETAIN_MS // 2, RETAIN_MS - 1, RETAIN_MS, 3 * RETAIN_MS))
BACK = st.sampled_from((0, 0, 0, 1, 2, 5, 1_000, RETAIN_MS // 2, RETAIN_MS - 1))
LENGTHS = st.sampled_from((-5, 0, 1, 2, 3, 1_000, RETAIN_MS, 2 * RETAIN_MS, 10 * RETAIN_MS))
OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(("contact", "contact", "contact", "count", "next_end", "reload")),
        STEPS,
        BACK,
        st.sampled_from("abcd"),
        LENGTHS,
        st.integers(1, 3),
    ),
    max_size=40,
)


@given(OPERATIONS)
@settings(max_examples=400)
def test_v3_v4_g1_a_book_answers_as_a_naive_one(operations: list[tuple[str, int, int, str, int, int]]) -> None:
    book, latest = SeatBook(), 10 * RETAIN_MS
    ends: dict[str, int] = {}
    instances: dict[str, int] = {}
    for kind, step, back, client, length, number in operations:
        latest += step
        at = latest - back
        if kind == "contact":
            live = ends.get(client, 0) > at
            assert book.contact(client, at, at + length, number) is not live
            ends[client] = max(ends.get(client, 0), at + length) if live else at + length
            instances[client] = max(instances[client], number) if live else number
        elif kind == "reload":
            stored = {name: replace(seat) for name, seat in book.seats.items()}
            book = SeatBook()
            for name, seat in stored.items():
                book.load(name, seat)
            book.loaded()
        elif kind == "next_end":
            later = [end for end in ends.values() if end > latest]
            found = book.next_end(latest)
            assert (found is None) == (not later)
            assert found is None or latest < found <= min(later)
        living = {name for name, end in ends.items() if end > at}
        assert book.count(at) == len(living)
        assert {name for name, _ in book.live_seats(at)} == living
        for name in "abcd":
            seat = book.live(name, at)
            assert (seat is not None) == (name in living)
            if seat is not None:
                assert (seat.expires_ms, seat.instances) == (ends[name], instances[name])


def test_v3_a_seat_is_live_before_its_end_and_not_at_it() -> None:
    book = SeatBook()
    book.contact("a", 0, 100)
    assert (book.count(99), book.count(100)) == (1, 0)
    assert book.live("a", 99) is not None
    assert book.live("a", 100) is None


def test_g1_a_contact_never_shortens_a_seat() -> None:
    book = SeatBook()
    book.contact("a", 50, 150)
    assert book.contact("a", 20, 120) is False  # came out of order
    assert (book.count(149), book.seats["a"].last_ms) == (1, 50)


def test_g1_asking_for_an_instant_in_the_past_is_exact() -> None:
    book = SeatBook()
    for number in range(5):
        book.contact(str(number), 0, 100 + number)
    assert [book.count(at) for at in (103, 99, 100, 102, 104, 103)] == [1, 5, 4, 2, 0, 1]


def test_g1_what_ended_long_ago_is_forgotten() -> None:
    book = SeatBook()
    book.contact("a", 0, 100)
    book.count(100 + RETAIN_MS - 1)
    assert "a" in book.seats
    book.count(100 + RETAIN_MS)
    assert "a" not in book.seats


def test_e23_a_seat_that_ended_begins_anew() -> None:
    book = SeatBook()
    book.contact("a", 0, 100)
    assert book.contact("a", 100, 200) is True
    assert (book.seats["a"].first_ms, book.count(150), len(book.seats)) == (100, 1, 1)

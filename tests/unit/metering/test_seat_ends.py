"""When seats end, to the last instant (domain, 6.2)."""

import pytest

from licmeter.metering.items import DAY_MS
from licmeter.metering.seats import RETAIN_MS, Seat, SeatBook


def test_v2_a_seat_is_of_one_instance_and_remembers_its_contacts() -> None:
    book = SeatBook()
    assert book.contact("A", 5, 10)
    assert not book.contact("A", 7, 9)
    assert book.seats["A"] == Seat(5, 7, 10, 1)
    assert not book.contact("A", 6, 12, 3)
    assert book.seats["A"] == Seat(5, 7, 12, 3)
    assert book.changed == {"A"}


def test_g1_a_loaded_book_answers_as_before() -> None:
    book = SeatBook()
    for client, end in (("C", 30), ("B", 20), ("A", 10)):
        book.load(client, Seat(0, 0, end))
    book.loaded()
    assert (book.next_end(0), book.next_end(10)) == (10, 20)
    assert [book.count(at) for at in (10, 20, 30, 9)] == [2, 1, 0, 3]
    assert book.changed == set()
    assert [client for client, _ in book.live_seats(10)] == ["C", "B"]


@pytest.mark.parametrize("asked", [True, False], ids=["asked in between", "not asked"])
def test_e23_a_new_seat_is_not_forgotten_with_the_old_one(asked: bool) -> None:
    book = SeatBook()
    book.contact("A", 0, 10)
    if asked:
        assert book.count(15) == 0
    assert book.contact("A", 20, 9 * RETAIN_MS)
    assert [book.count(at) for at in (20, 5, 10 + 2 * RETAIN_MS)] == [1, 1, 1]
    assert set(book.seats) == {"A"}


def test_g1_a_seat_prolonged_to_the_last_instant_asked_ended_there() -> None:
    book = SeatBook()
    book.contact("A", 0, 10)
    assert book.count(100) == 0
    assert not book.contact("A", 5, 100)
    assert book.contact("A", 100, 200)
    assert [book.count(at) for at in (100, 199, 200)] == [1, 1, 0]


def test_g1_no_live_seat_ends_before_next_end() -> None:
    book = SeatBook()
    assert book.next_end(0) is None
    book.contact("A", 0, 10)
    assert (book.next_end(0), book.next_end(9), book.next_end(10)) == (10, 10, None)


def test_g1_what_ended_is_kept_for_two_days() -> None:
    book = SeatBook()
    book.contact("A", 0, 10)
    assert RETAIN_MS == 2 * DAY_MS
    book.count(10 + RETAIN_MS - 1)
    assert (book.count(9), set(book.seats)) == (1, {"A"})
    book.count(10 + RETAIN_MS)
    assert book.seats == {}


def test_g1_a_seat_may_be_prolonged_in_the_past_of_what_was_asked() -> None:
    book = SeatBook()
    book.contact("A", 0, 10)
    assert book.count(100) == 0
    assert not book.contact("A", 5, 20)
    assert [book.count(at) for at in (15, 19, 20, 100)] == [1, 1, 0, 0]
    assert not book.contact("A", 6, 200)
    assert [book.count(at) for at in (15, 100, 199, 200)] == [1, 1, 1, 0]
    assert book.contact("A", 200, 300)
    assert book.count(200) == 1

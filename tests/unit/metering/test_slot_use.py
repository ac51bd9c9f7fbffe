"""Who holds a slot (domain, 6.3 and 6.4)."""

from licmeter.metering.slot_use import SlotUse


def test_i3_the_highest_number_of_a_slot_counts() -> None:
    use = SlotUse()
    assert [use.hold("A", seats) for seats in (3, 2, 3, 5)] == [3, 0, 0, 2]
    assert (use.total, use.holders, use.changed) == (5, {"A": 5}, {"A"})
    use.changed.clear()
    assert use.hold("A", 5) == 0
    assert use.changed == set()

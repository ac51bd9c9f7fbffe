import pytest

from licmeter.schemas.outcomes import BreachKind
from licmeter.sinks.notify.composing import alert_page, breach_page
from licmeter.sinks.notify.pages import as_html, as_text
from licmeter.sinks.notify.wording import ALERT_ADVICE, BREACHES, Words
from tests.unit.sinks.notify.samples import EXPIRY, RATIO, alert, breach, condition, gathered


def test_a_breach_states_its_numbers_whether_it_is_final_and_what_to_do() -> None:
    page = breach_page(gathered(breach()), None, "msg_1")
    text = as_text(page)
    assert page.title == "300417: item 41 has reached its quota: 2,010 of 2,000 (100.50 %)"
    for words in (
        "Value: 2,010 (100.50 %)",
        "Quota: 2,000",
        "Project: 300417-kiosk",
        "Late: no",
        "as of 2031-03-08 10:01:00 UTC",
        "may arrive for 30 days (until 2031-04-07 10:03:00 UTC)",
        "never go down",
        "- Buy more",
        "Reference msg_1",
    ):
        assert words in text


def test_t6_a_late_breach_says_that_earlier_statistics_changed() -> None:
    text = as_text(breach_page(gathered(breach(late=True)), None, "r"))
    assert "Late: yes" in text
    assert "after the slot had closed (6 minutes past its end)" in text


@pytest.mark.parametrize("kind", list(BreachKind))
def test_8_2_every_kind_has_words_for_one_and_for_many(kind: BreachKind) -> None:
    one = breach_page(gathered(breach(kind=kind)), None, "r")
    many = breach_page(gathered(breach(1, kind), breach(2, kind, value=3000), breach(3, kind, late=True)), None, "r")
    for page in (one, many):
        assert "$" not in as_text(page)
        assert page.advice
        assert ("The numbers are not" in page.settled[0]) is BREACHES[kind].figures
    assert " 3 " in f"{many.title} ".replace(",", " ")
    assert ("Late", "1") in many.facts
    assert any("3,000" in value for _, value in many.facts)


def test_many_show_the_first_and_count_the_others() -> None:
    page = breach_page(gathered(*(breach(number) for number in range(50))), None, "r")
    assert len(page.rows) == 20
    assert page.below == "These are the first 20 of 50."
    assert ("Clients", "50") in page.facts


def test_a_breach_without_numbers_says_none() -> None:
    bare = breach(kind=BreachKind.UNKNOWN_PROJECT, item_id=None, quota=None, limit=None, value=None, percent=None)
    text = as_text(breach_page(gathered(bare), None, "r"))
    assert "Value" not in text
    assert "None" not in text


def test_w2_all_conditions_of_a_check_are_in_one_message() -> None:
    page = alert_page(
        alert(condition(), RATIO, EXPIRY, condition(metric="active"), condition(metric="consumed")), None, "r"
    )
    text = as_text(page)
    assert page.title == "300417: item 41 at 80.50 % (1,610 of 2,000), and 4 more"
    assert len(page.rows) == 5
    assert len(page.advice) == len(ALERT_ADVICE)
    for words in (
        "- item 41: 1,610 of 2,000 units used (80.50 %); level 80 % (passed: 60 80); state active; projects 300417-ki",
        "- project 300417-kiosk: 9 of 40 authorizations refused in 60 min (22.50 %); level 20 %",
        "codes 120×7 111×2",
        "- item 41: 7 days left; level 7 days",
        "as of 2031-03-08 10:20:00 UTC",
        "Seats taken go down, too",
        "only go up",
    ):
        assert words in text
    assert "None" not in text


def test_an_organization_with_thousands_of_items_gets_a_message_that_can_be_read() -> None:
    conditions = [condition(item_id=str(n), project_ids=tuple(f"p{i}" for i in range(500))) for n in range(5_000)]
    page = alert_page(alert(*conditions), None, "r")
    assert len(page.rows) == 100
    assert "first 100 of 5,000" in page.below
    assert len(as_html(page)) < 100_000


def test_own_words_take_the_place_of_ours() -> None:
    words = Words(subject="$item: $value/$limit in $organization", advice="Call 555, say $percent. $$5")
    page = breach_page(gathered(breach()), words, "r")
    assert page.title == "300417: 41: 2,010/2,000 in 300417"
    assert list(page.advice) == ["Call 555, say 100.50. $5"]
    assert alert_page(alert(), words, "r").title == "300417: 41: 1,610/- in 300417"


@pytest.mark.parametrize("text", ["$nobody", "100 $", "${item"])
def test_own_words_that_name_what_there_is_not_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="there is no"):
        Words(subject=text)


def test_names_from_outside_are_short_in_a_title_and_escaped_in_html() -> None:
    name = "<b>" + "x" * 500 + "\n\r"
    page = breach_page(gathered(breach(kind=BreachKind.CLOCK_SKEW, client_uuid=name)), None, "r")
    assert len(page.title) < 150
    assert "\n" not in page.title
    assert "<b>" not in as_html(page)

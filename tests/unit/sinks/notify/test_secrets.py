import logging

import pytest

from licmeter.sinks.notify.secrets import Redactor, masked_url, quiet_libraries


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pw@example.org:8443/T0/secret?x=y", "https://example.org:8443/***"),
        ("https://example.org", "https://example.org/"),
        ("slack://TokenA/TokenB/TokenC/#general", "slack://***"),
        ("json://user:pw@host/path", "json://***"),
        ("nonsense", "?://***"),
        ("https://[broken", "***"),
    ],
)
def test_what_is_shown_of_a_url(url: str, shown: str) -> None:
    assert masked_url(url) == shown


@pytest.mark.parametrize(
    "text",
    [
        "POST https://hooks.example.org/services/T0000/VerySecret/XyZ123abc?token=alsoSecret failed",
        "Max retries exceeded with url: /services/T0000/VerySecret/XyZ123abc?token=alsoSecret",
        "unknown token XyZ123abc",
        "no such key alsoSecret",
        "user p%40ss%2Fword refused, or p@ss/word",
    ],
)
def test_no_part_of_a_url_is_left_in_a_text(text: str) -> None:
    url = "https://u:p%40ss%2Fword@hooks.example.org/services/T0000/VerySecret/XyZ123abc?token=alsoSecret"
    clean = Redactor(urls=[url])(text)
    for secret in ("VerySecret", "XyZ123abc", "alsoSecret", "p%40ss", "p@ss/word"):
        assert secret not in clean


def test_tokens_in_the_place_of_a_host_are_secret() -> None:
    clean = Redactor(urls=["slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"])("bad T1JJ3T3L2, A1BRTD4JD")
    assert clean == "bad ***, ***"


def test_a_text_is_one_line_of_a_bounded_length_and_is_cut_after_it_is_redacted() -> None:
    redact = Redactor(words=["secret-word"])
    assert redact("a\n  b\tsecret-word\r\n") == "a b ***"
    assert "secret" not in redact("x" * 295 + "secret-word")
    assert len(redact("x" * 1_000)) == 300


def test_libraries_say_nothing_while_we_deliver(caplog: pytest.LogCaptureFixture) -> None:
    names = ["httpx", "httpcore.connection", "urllib3.connectionpool", "apprise", "requests_oauthlib.oauth1_auth"]
    with caplog.at_level(1):
        with quiet_libraries():
            for name in names:
                logging.getLogger(name).error("secret")
        assert caplog.text == ""
        logging.getLogger("httpx").error("said again")
        assert "said again" in caplog.text

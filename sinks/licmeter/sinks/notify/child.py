"""The child process that hands one message to SMTP or to apprise: `python -m licmeter.sinks.notify.child`.

Both block and read as much as a server sends them. Here they have a time, after which the process ends itself also
when nobody is left to kill it, and a bound of memory. What they print or log stays here. The request comes on standard
input, so that no secret stands in an argument; the answer is one JSON document on standard output.
"""

import json
import logging
import resource
import signal
import smtplib
import ssl
import sys
from collections.abc import Callable
from email import message_from_string
from email.policy import SMTP
from typing import Any, Final

__all__ = ["READY", "main"]

#: Says that all is loaded and the receiver's time begins.
READY: Final = "ready\n"
#: A child whose parent was killed ends this long after the receiver's time.
ALONE_S: Final = 30

#: All plugins of apprise take some 150 MB; an answer that does not fit beside them is no answer.
MEMORY_BYTES_MAX: Final = 1024 * 1024 * 1024
#: What a server said, in an answer.
_TEXT_CHARS_MAX: Final = 200


def main() -> None:
    """Do one request and write what became of it; never raises."""
    given_out = sys.stdout
    sys.stdout = sys.stderr
    request = json.load(sys.stdin)
    signal.alarm(int(request["timeout_s"]) + ALONE_S)  # SIGALRM ends the process
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    prepare = {"smtp": _smtp, "apprise": _apprise}[request["do"]]
    try:
        send = prepare(request)
        given_out.write(READY)
        given_out.flush()
        answer = send()
    except MemoryError:
        answer = _failed("the answer is too large")
    except Exception as error:
        answer = _failed(f"{type(error).__name__}: {error}")
    given_out.write(json.dumps(answer) + "\n")
    given_out.flush()


def _failed(reason: str, **more: Any) -> dict[str, Any]:
    return {"outcome": "failed", "reason": reason[:_TEXT_CHARS_MAX]} | more


def _smtp(request: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    return lambda: _mail(request)


def _mail(request: dict[str, Any]) -> dict[str, Any]:
    message = message_from_string(request["message"], policy=SMTP)
    addresses = request["addresses"]
    try:
        with _connect(request) as server:
            if request["username"] is not None:
                server.login(request["username"], request["password"])
            refused = server.send_message(message, from_addr=request["from"], to_addrs=addresses)
    except smtplib.SMTPRecipientsRefused as error:
        refused = error.recipients
    except smtplib.SMTPSenderRefused as error:
        return _failed(f"sender refused: {_answer(error.smtp_code, error.smtp_error)}")
    except smtplib.SMTPAuthenticationError as error:
        # The answer may repeat what was sent.
        return _failed(f"login refused: {error.smtp_code}")
    except smtplib.SMTPDataError as error:
        outcome = "refused" if error.smtp_code >= 500 else "failed"
        return {"outcome": outcome, "reason": f"message refused: {_answer(error.smtp_code, error.smtp_error)}"}
    except smtplib.SMTPResponseException as error:
        return _failed(f"{type(error).__name__}: {_answer(error.smtp_code, error.smtp_error)}")
    return {
        "outcome": "done",
        "refused": {address: [code, _answer(code, text)] for address, (code, text) in refused.items()},
    }


def _answer(code: int, text: bytes | str) -> str:
    words = text.decode(errors="replace") if isinstance(text, bytes) else text
    return f"{code} {' '.join(words.split())}"[:_TEXT_CHARS_MAX]


def _connect(request: dict[str, Any]) -> smtplib.SMTP:
    host, port, timeout = request["host"], request["port"], request["timeout_s"]
    if request["security"] == "tls":
        return smtplib.SMTP_SSL(host, port, timeout=timeout, context=_context(request))
    server = smtplib.SMTP(host, port, timeout=timeout)
    if request["security"] == "starttls":
        server.starttls(context=_context(request))  # raises when the server has none: never in the clear instead
    return server


def _context(request: dict[str, Any]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=request["ca_file"])


class _Warnings(logging.Handler):
    """Keeps what apprise warns of: `notify` itself only says that it failed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        if len(self.lines) < 3:
            self.lines.append(record.getMessage())


def _apprise(request: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    import apprise

    warnings = _Warnings()
    logging.getLogger("apprise").addHandler(warnings)
    asset = apprise.AppriseAsset(storage_mode=apprise.PersistentStoreMode.MEMORY, secure_logging=True)
    asset.app_id, asset.app_desc, asset.app_url = "licmeter", "license metering", ""
    asset.http_redirects = False
    service = apprise.Apprise.instantiate(request["url"], asset=asset)
    if service is None:
        return lambda: {"outcome": "refused", "reason": "apprise does not understand the url"}
    if request["check_only"]:
        return lambda: {"outcome": "done", "service": str(service.service_name)}
    sender = apprise.Apprise(asset=asset)
    sender.add(service)

    def send() -> dict[str, Any]:
        done = sender.notify(
            title=request["title"],
            body=request["text"],
            notify_type=request["severity"],
            body_format=apprise.NotifyFormat.TEXT,
        )
        if done:
            return {"outcome": "done"}
        return _failed("; ".join(warnings.lines) or "apprise says no more than that it failed")

    return send


if __name__ == "__main__":
    main()

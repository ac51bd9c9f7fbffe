"""The mail of a notice. Pure, but for the time of its Date."""

from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import Final

from licmeter.sinks.notify.addresses import header_address, is_address
from licmeter.sinks.notify.config import EmailTarget
from licmeter.sinks.notify.notices import Notice

__all__ = ["mail_message"]

_SUBJECT_CHARS_MAX: Final = 200


def mail_message(target: EmailTarget, notice: Notice) -> tuple[EmailMessage, list[str], list[str]]:
    """Return the mail, the addresses that it goes to, and those that are none.

    Bcc is in no header: it is the envelope's alone. The Message-ID is the notice's key, so a repeat is the same mail to
    those who look, and one that only goes to some of the recipients is it, too.
    """
    good = [address for address in notice.addresses if is_address(address)]
    bad = [address for address in notice.addresses if address not in good]
    message = EmailMessage(policy=SMTP)
    name, address = parseaddr(target.sender)
    message["From"] = header_address(address, name)
    for header, addresses in (("To", notice.recipients.to), ("Cc", notice.recipients.cc)):
        shown = [header_address(each) for each in addresses if is_address(each)]
        if shown:
            message[header] = shown
    if "To" not in message:
        message["To"] = "undisclosed-recipients:;"
    message["Subject"] = " ".join(f"[licmeter] {notice.title}".split())[:_SUBJECT_CHARS_MAX]
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = f"<{notice.key}@{address.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answers from absence notes
    message["X-Licmeter-Organization"] = " ".join(notice.organization_id.split())
    message["X-Licmeter-Kind"] = notice.kind
    # Quoted-printable keeps lines short and the whole in ASCII, whatever names hold.
    message.set_content(notice.text, cte="quoted-printable")
    if notice.html:
        message.add_alternative(notice.html, subtype="html", cte="quoted-printable")
    return message, good, bad

"""Reads the text of `lmstat`: one or several outputs, of any version and language of dates, whole or in part.

Theory of operation: `reader` takes each line by what it is and the section it stands in, and collects; `assembly`
then finishes what needs the whole text, which is user names with blanks (a host known from another line divides
them) and dates (one date may show which order of month and day all of them share). Nothing raises: what is not
understood becomes a notice, and a check-out whose start or client is damaged is still a check-out.
"""

from datetime import datetime

from licmeter.producers.lmstat.assembly import assemble
from licmeter.producers.lmstat.reader import read_outputs
from licmeter.producers.lmstat.snapshot import Snapshot

__all__ = ["parse"]


def parse(text: str, *, reference: datetime | None = None) -> tuple[Snapshot, ...]:
    """Return one snapshot for each `lmstat` output in the text, in the order of the text; never fails.

    `reference` is a local time without a zone, used to find the year of a start where the output does not say
    when it was taken. A text without any line of meaning gives no snapshot, or one that has only notices.
    """
    return assemble(read_outputs(text), None if reference is None else reference.replace(tzinfo=None))

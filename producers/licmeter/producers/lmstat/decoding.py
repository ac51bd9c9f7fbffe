"""From the bytes of an lmstat output to text, whatever shell or server wrote them."""

import codecs
from typing import Final

__all__ = ["decode"]

_UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SAMPLE_BYTES: Final = 512  # enough to tell UTF-16, whose every second byte of English text is zero


def decode(data: bytes) -> str:
    """Return the text of `data`; never fails.

    PowerShell's `>` writes UTF-16, Windows servers write cp1252, the rest write UTF-8.
    """
    if data.startswith(_UTF16_MARKS):
        return data.decode("utf-16", errors="replace")
    sample = data[:_SAMPLE_BYTES]
    for encoding, zeros in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[0::2])):
        if zeros and zeros.count(0) * 2 > len(zeros):
            return data.decode(encoding, errors="replace")
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")

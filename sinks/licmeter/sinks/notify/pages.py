"""A message as people read it: built once, written as plain text and as HTML."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Page", "as_html", "as_text"]


@dataclass(frozen=True, slots=True)
class Page:
    """What a message says, in this order."""

    title: str
    lead: str
    facts: Sequence[tuple[str, str]]
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]  # of a table in HTML
    lines: Sequence[str]  # the same in plain text
    below: str  # what the table leaves out
    settled: Sequence[str]
    advice: Sequence[str]
    reference: str


def as_text(page: Page) -> str:
    """Write plain text; lines are as long as their sentences, since chat services break them on their own."""
    parts = [page.lead]
    if page.facts:
        parts.append("\n".join(f"{name}: {value}" for name, value in page.facts))
    if page.lines:
        parts.append("\n".join(f"- {line}" for line in page.lines))
    if page.below:
        parts.append(page.below)
    parts.append("Is it final?\n" + "\n".join(page.settled))
    parts.append("What to do\n" + "\n".join(f"- {line}" for line in page.advice))
    parts.append(f"Reference {page.reference}")
    return "\n\n".join(parts) + "\n"


def as_html(page: Page) -> str:
    """Write one HTML document, without anything to load; every value is escaped."""
    facts = "".join(
        f"<tr><th align=left>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in page.facts
    )
    used = [number for number in range(len(page.headers)) if any(row[number] for row in page.rows)]
    head = "".join(f"<th align=left>{escape(page.headers[number])}</th>" for number in used)
    rows = "".join("<tr>" + "".join(f"<td>{escape(row[n])}</td>" for n in used) + "</tr>" for row in page.rows)
    parts = [
        f"<h2>{escape(page.title)}</h2>",
        f"<p>{escape(page.lead)}</p>",
        f'<table cellpadding="4">{facts}</table>' if facts else "",
        f'<table cellpadding="4" border="1" style="border-collapse:collapse"><tr>{head}</tr>{rows}</table>'
        if rows
        else "",
        f"<p>{escape(page.below)}</p>" if page.below else "",
        "<h3>Is it final?</h3>",
        *(f"<p>{escape(line)}</p>" for line in page.settled),
        "<h3>What to do</h3>",
        "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in page.advice) + "</ul>",
        f"<p><small>Reference {escape(page.reference)}</small></p>",
    ]
    body = "".join(part for part in parts if part)
    return f'<!doctype html><html lang="en"><head><meta charset="utf-8"></head><body>{body}</body></html>'

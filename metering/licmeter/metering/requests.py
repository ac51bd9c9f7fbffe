"""Authorization requests of the last hour, by project, for the failure ratio (domain, W8)."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, Self

__all__ = ["CHECK_INTERVAL_MS", "WINDOW_MS", "RequestWindows"]

#: W1, W8. Windows begin and end at checks, so whole buckets of one check interval are exact.
CHECK_INTERVAL_MS: Final = 10 * 60 * 1000
WINDOW_MS: Final = 60 * 60 * 1000
#: Buckets older than this cannot be in the window of a check to come: `at` may be a day off, checks are not.
_KEPT: Final = 2 * WINDOW_MS // CHECK_INTERVAL_MS
#: The code of a request that was granted.
GRANTED: Final = ""
#: A recorded refusal that does not say why.
NO_CODE: Final = "0"


@dataclass(slots=True)
class RequestWindows:
    """Requests by project, bucket of ten minutes, and code number ("" = granted)."""

    projects: dict[str, dict[int, Counter[str]]] = field(default_factory=dict)

    def add(self, project_id: str, at_ms: int, code: str, now_ms: int) -> None:
        """Count one request; `now_ms` is its arrival, by which what is too old is forgotten."""
        oldest = now_ms // CHECK_INTERVAL_MS - _KEPT
        bucket = at_ms // CHECK_INTERVAL_MS
        buckets = self.projects.setdefault(project_id, {})
        if bucket >= oldest:
            buckets.setdefault(bucket, Counter())[code] += 1
        for old in [each for each in buckets if each < oldest]:
            del buckets[old]

    def window(self, project_id: str, check_ms: int) -> Counter[str]:
        """Return the requests of the hour that ends at a check, by code."""
        last = check_ms // CHECK_INTERVAL_MS
        found: Counter[str] = Counter()
        for bucket, codes in self.projects.get(project_id, {}).items():
            if last - WINDOW_MS // CHECK_INTERVAL_MS <= bucket < last:
                found.update(codes)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {project: buckets for project, buckets in self.projects.items() if buckets}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read plain values back."""
        return cls(
            {
                project: {int(bucket): Counter(codes) for bucket, codes in buckets.items()}
                for project, buckets in value.items()
            }
        )

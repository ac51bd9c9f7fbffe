"""How long answers took, in little memory however many there are."""

from collections import Counter
from math import ceil, log
from typing import Final

__all__ = ["Latencies"]

#: Width of a class: a quantile is right to 2 %.
_RATIO: Final = 1.02
_SHORTEST_S: Final = 1e-5


class Latencies:
    """A histogram with classes that grow by 2 %."""

    def __init__(self) -> None:
        self._classes: Counter[int] = Counter()
        self.count = 0
        self.longest_s = 0.0

    def add(self, seconds: float) -> None:
        """Note one."""
        self._classes[ceil(log(max(seconds, _SHORTEST_S) / _SHORTEST_S, _RATIO))] += 1
        self.count += 1
        self.longest_s = max(self.longest_s, seconds)

    def quantile(self, share: float) -> float:
        """Return what a share of the answers did not exceed; 0 without any."""
        wanted, seen = share * self.count, 0
        for number, count in sorted(self._classes.items()):
            seen += count
            if seen >= wanted:
                return min(_SHORTEST_S * _RATIO**number, self.longest_s)
        return 0.0

"""An independent reference of the metering rules: slow, plain, written from the domain text alone.

It keeps the whole history as lists and sums over it whenever a number is needed.
"""

from tests.support.reference.engine import meter
from tests.support.reference.history import Limits

__all__ = ["Limits", "meter"]

"""What comes out: ClickHouse, notifications, and alerts for your own program.

`async for alert in licmeter.sinks.alerts(…)` is loaded only when it is asked for, and needs nothing but the bare
package.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from licmeter.sinks.subscription import Alert, alerts

__all__ = ["Alert", "alerts"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.subscription"), name)

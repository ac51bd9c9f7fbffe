"""Who sends: the SDK for applications, the gateway, importers, and the simulator.

`from licmeter.producers import UsageClient` is what an application embeds; it is loaded only when it is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from licmeter.producers.client.answers import Authorization, AuthorizationUnavailable, ItemState
    from licmeter.producers.client.blocking import SyncUsageClient
    from licmeter.producers.client.client import UsageClient
    from licmeter.producers.client.options import OptionsError

__all__ = [
    "Authorization",
    "AuthorizationUnavailable",
    "ItemState",
    "OptionsError",
    "SyncUsageClient",
    "UsageClient",
]

_HOMES = {
    "Authorization": "answers",
    "AuthorizationUnavailable": "answers",
    "ItemState": "answers",
    "OptionsError": "options",
    "SyncUsageClient": "blocking",
    "UsageClient": "client",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.client.{_HOMES[name]}"), name)

"""Ports on loopback: the one that was asked for, or any free one."""

import errno
import socket

from licmeter.runtime.kafka.failure import failure

__all__ = ["HOST", "free_port", "is_free", "require_free"]

HOST = "127.0.0.1"  # the embedded broker has no passwords, so nothing but this machine may reach it


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def require_free(port: int) -> None:
    """Raise `ServiceError` that names the port and its setting when the broker could not listen there."""
    error = _cannot_listen(port)
    if error is None:
        return
    if error.errno == errno.EADDRINUSE:
        raise failure(
            f"port {port} on {HOST} is taken by another process",
            hint="LICMETER_KAFKA__PORT names another port (0 = any free one); if it is Kafka that listens there, use it"
            f" with LICMETER_KAFKA__BOOTSTRAP_SERVERS={HOST}:{port}",
        ) from error
    raise failure(
        f"cannot listen on port {port} of {HOST}: {error.strerror}", hint="LICMETER_KAFKA__PORT names another port"
    ) from error


def is_free(port: int) -> bool:
    """Whether the broker could listen on `port` at this moment."""
    return _cannot_listen(port) is None


def _cannot_listen(port: int) -> OSError | None:
    try:
        with socket.socket() as probe:
            # As Java does: connections that linger from an earlier broker do not make the port taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            probe.listen(1)
    except OSError as error:
        return error
    return None

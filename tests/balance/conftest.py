"""Fixtures from elsewhere: the file server on loopback."""

from tests.file_server import no_proxy, server

__all__ = ["no_proxy", "server"]

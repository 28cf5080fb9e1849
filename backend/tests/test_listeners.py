"""Ports: taken, switched off, given back."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from kai_tracing_backend.app import Backend
from kai_tracing_backend.listeners import PortError
from kai_tracing_backend.settings import BackendSettings

from tests.support.backend import settings_in

TCP = ("api_port", "otlp_http_port", "otlp_grpc_port", "zipkin_port", "jaeger_http_port", "sampling_port")
UDP = ("jaeger_compact_port", "jaeger_binary_port")


async def _make(settings: BackendSettings) -> Backend:
    return Backend(settings)


@pytest.mark.parametrize("name", [*TCP, *UDP])
def test_a_taken_port_names_its_setting(tmp_path: Path, name: str) -> None:
    """And its option, over TCP and UDP. Nothing is left open: with the port free it starts."""
    settings = settings_in(tmp_path)
    with socket.socket(type=socket.SOCK_DGRAM if name in UDP else socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", getattr(settings, name)))
        if name in TCP:
            taken.listen()
        with pytest.raises(PortError) as caught:
            asyncio.run(_make(settings))
    assert f"TRACING_BACKEND_{name.upper()} (--{name.replace('_', '-')})" in str(caught.value)
    backend = asyncio.run(_make(settings))
    assert {f"{listener.name}_port" for listener in backend.listeners} == {*TCP, *UDP}
    backend.close()
    backend.close()
    asyncio.run(_make(settings)).close()


@pytest.mark.parametrize("name", [*TCP, *UDP])
def test_a_port_can_be_switched_off(tmp_path: Path, name: str) -> None:
    """By 0, each alone."""
    backend = asyncio.run(_make(settings_in(tmp_path, **{name: 0})))
    assert {f"{listener.name}_port" for listener in backend.listeners} == {*TCP, *UDP} - {name}
    backend.close()

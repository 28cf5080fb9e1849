"""The backend's settings: `TRACING_BACKEND_*` in the environment, or the options of `kai-tracing serve`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["BackendSettings"]


class BackendSettings(BaseSettings):
    """What `kai-tracing serve` starts with. A port is the field's standard one; 0 switches its receiver off."""

    model_config = SettingsConfigDict(env_prefix="TRACING_BACKEND_", extra="forbid")

    data: Path = Field(Path("kai-tracing-data"), description="folder of the spans")
    host: str = Field("127.0.0.1", description="address to listen on")
    api_port: int = Field(16686, ge=0, le=65_535, description="port of the API, /healthz and /readyz")
    otlp_http_port: int = Field(4318, ge=0, le=65_535, description="port of OTLP over HTTP")
    zipkin_port: int = Field(9411, ge=0, le=65_535, description="port of Zipkin v2")
    memory_limit: str = Field("1GB", pattern=r"^\d+(\.\d+)?\s*[KMGT]i?B$", description="what the store may take")
    queue_bytes: int = Field(256 << 20, gt=0, description="bytes of spans that may wait to be written")

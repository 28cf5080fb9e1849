"""The backend's settings: from keywords (the options of `kai-tracing serve`), `TRACING_BACKEND_*` or a file.

The sources and their order are the core's: keyword, environment variable, `.env` in the working directory, the table
`[backend]` of `tracing.toml` or `[tool.kai_tracing.backend]` of `pyproject.toml` there, default.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from kai_tracing_backend.access.cors import check_origin
from kai_tracing_core.errors import ConfigurationError, did_you_mean
from kai_tracing_core.settings_model import Section, setting
from kai_tracing_core.settings_sources import Leaf, Leaves, Sources
from kai_tracing_core.settings_validation import build

__all__ = ["BackendSettings", "option", "variable"]

_PREFIXES = ("backend.", "backend_")  # a table's in the file, a variable's after TRACING_
_OF_COMMANDS = frozenset(("url", "token", "ca"))  # `cli.client` reads these variables


def _memory(value: str) -> str:
    if re.fullmatch(r"\d+(\.\d+)?\s*[KMGT]i?B", value) is None:
        raise ValueError("input should be an amount of memory, such as 1GB or 512MiB")
    return value


def _tenant(value: str | None) -> str | None:
    from kai_tracing_backend.tenants import TENANT_NAME  # with what stores spans, which takes long

    if value is not None and re.fullmatch(TENANT_NAME, value) is None:
        raise ValueError(f"{value!r} is no tenant's name: 1 to 63 of a-z, 0-9, - and _")
    return value


class BackendSettings(Section):
    """What `kai-tracing serve` starts with. Making one reads all sources; keywords go before them.

    A port is the field's standard one; 0 switches its receiver off.

    Raises:
        ConfigurationError: a value is not valid, or a name is not known.
    """

    data: Path = setting(default=Path("kai-tracing-data"), description="folder of the spans")
    host: str = setting(default="127.0.0.1", description="address to listen on")
    api_port: int = setting(
        default=16686, ge=0, le=65_535, title="API", description="port of the API, /healthz and /readyz"
    )
    otlp_http_port: int = setting(
        default=4318, ge=0, le=65_535, title="OTLP/HTTP", description="port of OTLP over HTTP"
    )
    otlp_grpc_port: int = setting(
        default=4317, ge=0, le=65_535, title="OTLP/gRPC", description="port of OTLP over gRPC"
    )
    zipkin_port: int = setting(default=9411, ge=0, le=65_535, title="Zipkin", description="port of Zipkin, v1 and v2")
    jaeger_http_port: int = setting(
        default=14268, ge=0, le=65_535, title="Jaeger/HTTP", description="port of Jaeger's collector"
    )
    jaeger_compact_port: int = setting(
        default=6831, ge=0, le=65_535, title="Jaeger/UDP compact", description="UDP port of Jaeger's agent, compact"
    )
    jaeger_binary_port: int = setting(
        default=6832, ge=0, le=65_535, title="Jaeger/UDP binary", description="UDP port of Jaeger's agent, binary"
    )
    memory_limit: str = setting(default="1GB", check=_memory, description="what the store may take")
    queries: int = setting(default=8, ge=1, le=64, description="queries that run at once; others wait for their turn")
    query_timeout: float = setting(default=30.0, gt=0, le=3_600, description="seconds that a query may take")
    query_rows: int = setting(default=5_000_000, ge=1, description="rows that a query may read")
    queue_bytes: int = setting(default=256 << 20, gt=0, description="bytes of spans that may wait to be written")
    disk_reserve: int = setting(
        default=128 << 20, ge=0, description="free bytes of the disk that senders do not get; 0 is none"
    )
    retention_file: Path | None = setting(default=None, description="policy (YAML): how long traces are kept")
    retention_interval: float = setting(
        default=3_600.0, ge=0, le=86_400, description="seconds between sweeps; 0 is none"
    )
    archive: Path | None = setting(
        default=None, description="folder of the archive; else `archive` in the folder of the spans"
    )

    access_file: Path | None = setting(
        default=None, description="file of the tokens; `tokens.json` in the folder of the spans unless set"
    )
    udp_tenant: str | None = setting(
        default=None,
        check=_tenant,
        description="whose the spans of packets over UDP are, which have no room for a token; unless set, packets are "
        "refused where there are tokens",
    )
    insecure: bool = setting(
        default=False, description="whether other machines may do everything while there is no token"
    )
    allowed_hosts: tuple[str, ...] = setting(
        default=(),
        description="names besides this machine's that a proxy or a web page may use where there is no token",
    )
    cors_origins: tuple[Annotated[str, check_origin], ...] = setting(
        default=(),
        description="origins of web pages that may send spans over OTLP/HTTP and to Zipkin's port; `*` is all",
    )
    tls_cert: Path | None = setting(
        default=None, description="certificate (PEM, with its chain) of all ports but UDP's"
    )
    tls_key: Path | None = setting(default=None, description="private key (PEM) of the certificate")
    tls_client_ca: Path | None = setting(
        default=None,
        description="certificates (PEM) that a client's certificate must be signed by; clients need none unless set",
    )
    log_format: Literal["text", "json"] = setting(
        default="text", description="`text` or `json`; the log goes to standard error"
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        default="warning", description="least level that is logged"
    )
    self_tracing: bool = setting(
        default=False, description="whether the backend's own requests are traced, into its own store"
    )
    sampling_port: int = setting(
        default=5778, ge=0, le=65_535, title="Sampling", description="port of sampling strategies"
    )
    sampling_strategies: Path | None = setting(
        default=None, description="file of sampling strategies, in Jaeger's format"
    )
    sampling_target: float | None = setting(
        default=None, gt=0, description="traces per second of each operation to ask for"
    )
    tail_sampling: str = setting(
        default="", description="which traces to keep: policies, or a TOML, YAML or JSON file of them"
    )

    def __init__(self, **keywords: Any) -> None:
        leaves = _leaves(Sources({"backend": keywords}))
        for name, (leaf, *_) in leaves.items():
            if name not in type(self).declared:
                hint = did_you_mean(variable(name), map(variable, type(self).declared))
                raise ConfigurationError(f"{leaf.source} is not a setting that there is.{hint} Correct or remove it.")
        build(self, leaves, "backend")

    @property
    def token_file(self) -> Path:
        """Where the tokens are."""
        return self.access_file or self.data / "tokens.json"

    @property
    def used_file(self) -> Path:
        """Where the days are on which tokens were used."""
        return self.data / "tokens-used.json"

    @classmethod
    def ports(cls) -> list[str]:
        """The settings that are ports to listen on."""
        return [name for name in cls.declared if name.endswith("_port")]


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"TRACING_BACKEND_{name.upper()}"


def option(name: str) -> str:
    """The option of `kai-tracing serve` for a setting."""
    return f"--{name.replace('_', '-')}"


def _leaves(sources: Sources) -> Leaves:
    """What the sources say of the backend, by field."""
    found: Leaves = {}
    for place, leaves in sources.leaves({}).items():
        name = next((place[len(prefix) :] for prefix in _PREFIXES if place.startswith(prefix)), "")
        if name and name not in _OF_COMMANDS:
            found.setdefault(name, []).extend(_named(leaf, name) for leaf in leaves)
    for several in found.values():
        several.sort(key=lambda leaf: leaf.rank)
    return found


def _named(leaf: Leaf, name: str) -> Leaf:
    """The leaf with a source that says how it is written."""
    if leaf.source == "keyword":
        return leaf._replace(source=f"{option(name)}, {variable(name)}")
    return leaf if leaf.is_variable else leaf._replace(source=f"{name} in {leaf.source}")

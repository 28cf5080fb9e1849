"""TLS for every port: one certificate, and the clients' if they must have one."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kai_tracing_core.errors import ConfigurationError

if TYPE_CHECKING:
    import grpc

__all__ = ["Tls"]


@dataclass(frozen=True)
class Tls:
    """A certificate with its key, and whose certificates clients must have; files in PEM.

    Raises:
        ConfigurationError: one of them is missing or cannot be used; the message names its setting.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None

    def __post_init__(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.cert, self.key, password=_no_password)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"TRACING_BACKEND_TLS_CERT (--tls-cert) {self.cert} and TRACING_BACKEND_TLS_KEY (--tls-key) {self.key} "
                f"are no certificate with its key: {_reason(error)}"
            ) from error
        if self.client_ca is not None:
            try:
                context.load_verify_locations(self.client_ca)
            except OSError as error:
                raise ConfigurationError(
                    f"TRACING_BACKEND_TLS_CLIENT_CA (--tls-client-ca) {self.client_ca} has no certificates: "
                    f"{_reason(error)}"
                ) from error

    @classmethod
    def of(cls, cert: Path | None, key: Path | None, client_ca: Path | None) -> Tls | None:
        """What the settings say; None where nothing is encrypted.

        Raises:
            ConfigurationError: they say one without the other, or as above.
        """
        if cert is not None and key is not None:
            return cls(cert, key, client_ca)
        if cert is None and key is None and client_ca is None:
            return None
        raise ConfigurationError(
            "TRACING_BACKEND_TLS_CERT (--tls-cert) and TRACING_BACKEND_TLS_KEY (--tls-key) go together, and "
            "TRACING_BACKEND_TLS_CLIENT_CA (--tls-client-ca) needs both"
        )

    def uvicorn(self) -> dict[str, Any]:
        """The same as uvicorn wants it."""
        options: dict[str, Any] = {"ssl_certfile": str(self.cert), "ssl_keyfile": str(self.key)}
        if self.client_ca is not None:
            options.update(ssl_ca_certs=str(self.client_ca), ssl_cert_reqs=ssl.CERT_REQUIRED)
        return options

    def grpc(self) -> grpc.ServerCredentials:
        """The same as gRPC wants it."""
        import grpc

        return grpc.ssl_server_credentials(
            [(self.key.read_bytes(), self.cert.read_bytes())],
            root_certificates=self.client_ca.read_bytes() if self.client_ca is not None else None,
            require_client_auth=self.client_ca is not None,
        )


def _no_password() -> str:
    raise ValueError("the key wants a password, which nobody is there to say")


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)

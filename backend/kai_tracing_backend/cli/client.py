"""How commands reach the backend: over its API, since a running one has its files to itself."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import click

if TYPE_CHECKING:
    import httpx
    from typing_extensions import Self

__all__ = ["ApiClient", "ApiError", "trust_options", "with_client"]

F = TypeVar("F", bound=Callable[..., Any])

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class ApiError(click.ClickException):
    """What the backend says is wrong. `document` is all that it says."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        candidates = document.get("candidates")
        super().__init__("\n  ".join([document["error"], *(candidates if isinstance(candidates, list) else [])]))
        self.document = document


def trust_options(command: F) -> F:
    """`--token` and `--ca`: what to ask with, and whom to trust."""
    token = click.option("--token", envvar="TRACING_BACKEND_TOKEN", show_envvar=True, help="The token to ask with.")
    authorities = click.option(
        "--ca",
        envvar="TRACING_BACKEND_CA",
        show_envvar=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="File with the certificates (PEM) to trust, instead of the system's.",
    )
    return token(authorities(command))


def with_client(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say where the backend is; the command gets an `ApiClient` as its parameter `client`."""

    @click.option(
        "--url",
        envvar="TRACING_BACKEND_URL",
        default="http://127.0.0.1:16686",
        show_default=True,
        show_envvar=True,
        help="Where the backend's API is.",
    )
    @trust_options
    @click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=30.0,
        show_default=True,
        help="Seconds that an answer may take.",
    )
    @functools.wraps(command)
    def run(*, url: str, token: str | None, ca: Path | None, timeout: float, **arguments: Any) -> Any:
        with ApiClient(url, token, ca=ca, timeout=timeout) as client:
            return command(client=client, **arguments)

    return run


class ApiClient:
    """Asks the backend at `url`; for `with`. `ca` is a PEM file to trust, `timeout` seconds for connect, read, write.

    Every method raises `click.ClickException` with what to do: where nothing answers, where the token is wrong, where
    something else than a backend answers.
    """

    def __init__(self, url: str, token: str | None = None, *, ca: Path | None = None, timeout: float = 30.0) -> None:
        import httpx

        self.url = url.rstrip("/")
        self._timeout = timeout
        split = urlsplit(self.url)
        if split.scheme not in ("http", "https") or not split.hostname:
            raise click.ClickException(
                f"{url!r} is no address of a backend: --url (TRACING_BACKEND_URL) is such as http://127.0.0.1:16686"
            )
        try:
            trusted: ssl.SSLContext | bool = ssl.create_default_context(cafile=str(ca)) if ca else True
        except (ssl.SSLError, OSError) as error:
            raise click.ClickException(
                f"--ca (TRACING_BACKEND_CA) {ca}: there is no certificate (PEM) in it"
            ) from error
        if token is not None and not token.isascii():
            raise click.ClickException("--token (TRACING_BACKEND_TOKEN) is no token: it has other letters than ASCII's")
        self._httpx = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token.strip()}"} if token else {},
            timeout=timeout,
            verify=trusted,
            trust_env=split.hostname not in _LOOPBACK,  # a proxy does not know this machine
        )

    def get(self, path: str, **parameters: Any) -> Any:
        """The JSON that `GET path` answers; a parameter that is None is left out."""
        return self._decoded(self.request("GET", path, parameters))

    def post(self, path: str, document: Any = None) -> Any:
        """The JSON that is answered to a posted document; None to an empty answer."""
        return self._decoded(self.request("POST", path, json=document))

    def delete(self, path: str) -> Any:
        """Delete what is at `path`; the JSON that is answered, if any."""
        return self._decoded(self.request("DELETE", path))

    def request(
        self, method: str, path: str, parameters: Mapping[str, Any] | None = None, **content: Any
    ) -> httpx.Response:
        """The whole answer, whatever it is of. `content` is httpx's: `json`, `content`, `headers`."""
        with self._explaining():
            response = self._httpx.request(method, path, params=_given(parameters), **content)
        self._check(response, path)
        return response

    @contextmanager
    def stream(
        self, method: str, path: str, parameters: Mapping[str, Any] | None = None, **content: Any
    ) -> Iterator[Any]:
        """The answer to be read piece by piece, an `httpx.Response`, for what may be large."""
        with self._explaining(), self._httpx.stream(method, path, params=_given(parameters), **content) as response:
            if response.is_error:
                response.read()
            self._check(response, path)
            yield response

    def close(self) -> None:
        """Close the connections."""
        self._httpx.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _decoded(self, response: httpx.Response) -> Any:
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise self._another(response.request.url.path) from error

    def _check(self, response: httpx.Response, path: str) -> None:
        if response.is_success:
            return
        status = response.status_code
        document = _error(response)
        message = document["error"] if document is not None else None
        if status == HTTPStatus.UNAUTHORIZED:
            raise click.ClickException(
                f"{self.url} wants a token: {message or 'none that is valid was given'}. "
                "Say it with --token or TRACING_BACKEND_TOKEN; `kai-tracing tokens create` makes one."
            )
        if document is None or (status == HTTPStatus.NOT_FOUND and message == HTTPStatus.NOT_FOUND.phrase):
            raise self._another(path, status)
        raise ApiError(document)

    def _another(self, path: str, status: int | None = None) -> click.ClickException:
        answered = "what answers is no JSON" if status is None else f"the answer is {status}"
        return click.ClickException(
            f"{self.url} does not know {path}: {answered}. Is it the API's port (16686 unless set otherwise) of a "
            "backend that is as new as this kai-tracing?"
        )

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        import httpx

        try:
            yield
        except httpx.TimeoutException as error:
            raise click.ClickException(
                f"{self.url} did not answer within {self._timeout:g} s; --timeout gives it longer."
            ) from error
        except httpx.ConnectError as error:
            if "WRONG_VERSION_NUMBER" in str(error) or "RECORD_LAYER_FAILURE" in str(error):
                raise click.ClickException(
                    f"{self.url} cannot be trusted: it does not speak TLS. Is it http:// instead of https://?"
                ) from error
            if "CERTIFICATE" in str(error) or "SSL" in str(error):
                raise click.ClickException(
                    f"{self.url} cannot be trusted: {error}. --ca (TRACING_BACKEND_CA) names the certificates to trust."
                ) from error
            raise click.ClickException(
                f"nothing answers at {self.url} ({error}). Start the backend with `kai-tracing serve`, or say where "
                "it is with --url or TRACING_BACKEND_URL."
            ) from error
        except httpx.RemoteProtocolError as error:
            raise click.ClickException(
                f"what answers at {self.url} does not speak HTTP ({error}). Is it https://, or another port?"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise click.ClickException(f"{self.url}: {error or type(error).__name__}") from error


def _given(parameters: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (parameters or {}).items() if value is not None}


def _error(response: httpx.Response) -> Mapping[str, Any] | None:
    """What a backend says of an error; None where it is none that answers."""
    try:
        document = response.json()
    except ValueError:
        return None
    return document if isinstance(document, Mapping) and isinstance(document.get("error"), str) else None

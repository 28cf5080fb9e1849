"""The tenant's tokens: which there are, a new one, one less."""

from __future__ import annotations

from datetime import datetime, timezone
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from kai_tracing_backend.access.guard import DeniedError, Grant
from kai_tracing_backend.access.issuing import Issuer
from kai_tracing_backend.access.middleware import grant_of
from kai_tracing_backend.access.tokens import (
    Limits,
    Scope,
    Token,
    TokenFileError,
    TokenNameError,
    UnknownTokenError,
)
from kai_tracing_backend.api.errors import NotFoundError
from kai_tracing_backend.api.paging import page
from kai_tracing_backend.api.parameters import ParameterError
from kai_tracing_backend.api.v1.asking import PageCursor, PageLimit, router_of
from kai_tracing_backend.api.v1.models import Cursor, Failure
from kai_tracing_backend.storage.contract import StoreError

__all__ = ["router"]

ScopeName = Literal["ingest", "query", "admin", "metrics"]

router: APIRouter = router_of("tokens", limited=False)


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")


class TokenLimits(_Model):
    """How much a token may do; without a number as much as it likes. Bytes are those on the wire."""

    requests_per_second: Annotated[float, Field(gt=0, le=1e9)] | None = None
    bytes_per_second: Annotated[int, Field(gt=0, le=1 << 53)] | None = None
    max_body: Annotated[int, Field(gt=0, le=1 << 53)] | None = None


class NewToken(_Model):
    """A token to make; it holds before `expires`, for ever without."""

    name: Annotated[str, Field(min_length=1, max_length=100, examples=["shop"])]
    scopes: Annotated[list[ScopeName], Field(min_length=1, max_length=20, description="What it is for.")]
    expires: Annotated[AwareDatetime | None, Field(description="RFC 3339.")] = None
    limits: TokenLimits = TokenLimits()


class TokenDocument(_Model):
    """A token without its text. Times are RFC 3339, `lastUsed` is a day."""

    id: Annotated[str, Field(pattern="^[0-9a-f]{8}$")]
    name: str
    tenant: str
    scopes: list[ScopeName]
    created: datetime
    expires: datetime | None
    limits: TokenLimits
    last_used: str | None


class TokensAnswer(_Model):
    """Tokens by name."""

    tokens: list[TokenDocument]
    cursor: Cursor


class MadeToken(TokenDocument):
    """A new token with its text, which is shown this once."""

    token: str


class RevokedToken(_Model):
    """The token that holds no longer."""

    revoked: str


def _issuer(request: Request) -> Issuer:
    found: Issuer = request.app.state.issuer
    return found


Issuing = Annotated[Issuer, Depends(_issuer)]
Granted = Annotated[Grant, Depends(grant_of)]
_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": Failure, "description": "The tenant has no such token."}}
_REFUSED: dict[int | str, dict[str, Any]] = {
    403: {"model": Failure, "description": "There is no token yet, or more is wanted than one's own token may."},
    409: {"model": Failure, "description": "There is a token of this name."},
}


@router.get("/tokens")
def tokens(issuer: Issuing, grant: Granted, limit: PageLimit = 100, cursor: PageCursor = None) -> TokensAnswer:
    """The tenant's tokens, without their text."""
    try:
        found = issuer.tokens(grant)
    except TokenFileError as error:
        raise StoreError(str(error)) from error
    listed, following = page(found, lambda one: (one[0].name, one[0].id), limit, cursor)
    return TokensAnswer(tokens=[TokenDocument(**_fields(*one)) for one in listed], cursor=following)


@router.post("/tokens", status_code=HTTPStatus.CREATED, responses=_REFUSED, response_model=MadeToken)
def create(issuer: Issuing, grant: Granted, body: NewToken, response: Response) -> MadeToken | JSONResponse:
    """Make a token of one's own tenant; its text is in this answer and nowhere else."""
    if body.expires is not None and body.expires <= datetime.now(timezone.utc):
        raise ParameterError("expires", "is over already")
    try:
        made, text = issuer.create(
            grant,
            body.name,
            list(map(Scope, body.scopes)),
            body.expires,
            Limits(**body.limits.model_dump(by_alias=False)),
        )
    except DeniedError as error:
        return JSONResponse({"error": error.message}, error.status)
    except TokenNameError as error:
        return JSONResponse({"error": str(error), "parameter": "name"}, HTTPStatus.CONFLICT)
    except TokenFileError as error:
        raise StoreError(str(error)) from error
    response.headers["Cache-Control"] = "no-store"
    return MadeToken(**_fields(made, None), token=text)


@router.delete("/tokens/{token}", responses=_UNKNOWN)
def revoke(
    issuer: Issuing,
    grant: Granted,
    token: Annotated[str, Path(description="Its id or name.", min_length=1, max_length=100)],
) -> RevokedToken:
    """Take a token away; it is refused at once."""
    try:
        return RevokedToken(revoked=issuer.revoke(grant, token).id)
    except UnknownTokenError as error:
        raise NotFoundError(f"there is no token {token!r}") from error
    except TokenFileError as error:
        raise StoreError(str(error)) from error


def _fields(token: Token, used: str | None) -> dict[str, Any]:
    fields = token.model_dump(exclude={"hash", "scopes"})
    return {**fields, "scopes": sorted(scope.value for scope in token.scopes), "last_used": used}

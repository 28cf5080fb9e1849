"""What a sender is told when nothing of its request is taken."""

from __future__ import annotations

from http import HTTPStatus

from google.rpc import code_pb2, error_details_pb2  # type: ignore[import-untyped]  # have no types
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # as above

__all__ = ["RefusedError", "rpc_status"]

_CODES = {
    HTTPStatus.UNAUTHORIZED: code_pb2.UNAUTHENTICATED,
    HTTPStatus.REQUEST_TIMEOUT: code_pb2.CANCELLED,
    HTTPStatus.FORBIDDEN: code_pb2.PERMISSION_DENIED,
    HTTPStatus.TOO_MANY_REQUESTS: code_pb2.RESOURCE_EXHAUSTED,
    HTTPStatus.SERVICE_UNAVAILABLE: code_pb2.UNAVAILABLE,
}


class RefusedError(Exception):
    """The request gets this status and message; `retry_after`, in seconds, where it may come again."""

    def __init__(self, status: HTTPStatus, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after


def rpc_status(error: RefusedError) -> Status:
    """The refusal as OTLP says it, over gRPC and in the body of an HTTP answer ("Failures"): with `RetryInfo`."""
    status = Status(code=_CODES.get(error.status, code_pb2.INVALID_ARGUMENT), message=error.message)
    if error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromSeconds(error.retry_after)
        status.details.add().Pack(retry)
    return status

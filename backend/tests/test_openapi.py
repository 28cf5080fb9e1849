"""The OpenAPI document of `/api/v1`, held against the running server by schemathesis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from kai_tracing_backend.api.app import api_app
from kai_tracing_backend.app import Backend
from kai_tracing_backend.testing.store_contract import NOON, batch, span
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.support.backend import ask, running

MINUTE = 60_000_000_000

_DOCUMENT = api_app().openapi()
_OPERATIONS = [found.ok() for found in schemathesis.openapi.from_dict(_DOCUMENT).get_all_operations()]


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """A running backend with a few traces."""
    with running(tmp_path_factory.mktemp("openapi")) as made:
        made.tenants.get().store.write(
            batch(
                *(
                    span(n, n, at=NOON + n * MINUTE, service=f"s{n}", name="op", attributes={"n": n, "x": [1.5, "a"]})
                    for n in range(1, 6)
                ),
                span(1, 7, 1, at=NOON + MINUTE, service="s2", kind=2, status=2),
            )
        )
        yield made


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", _OPERATIONS, ids=lambda operation: operation.label)
def test_the_server_answers_as_its_document_says(operation: Any, mode: GenerationMode, backend: Backend) -> None:
    """Whatever is asked, well or badly formed: the status, the type and the shape of the answer are documented."""
    address = f"http://127.0.0.1:{backend.settings.api_port}"

    @settings(
        max_examples=10,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def check(case: schemathesis.Case) -> None:
        # What a query, a time or a cursor may say is more than a schema says: such may be refused although they fit.
        case.call_and_validate(base_url=address, timeout=60, excluded_checks=[positive_data_acceptance])

    try:
        check()
    except Unsatisfiable:
        pytest.skip("nothing of this operation can be badly formed")


def test_every_operation_is_described(backend: Backend) -> None:
    """Each has a summary, and each of its parameters a description."""
    document = ask(backend.settings.api_port, "/api/v1/openapi.json").json
    assert document == _DOCUMENT
    assert len(document["paths"]) > 8
    assert all(
        status.isdecimal() for one in document["paths"].values() for way in one.values() for status in way["responses"]
    )
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation.get("description"), f"{method} {path}"
            for parameter in operation.get("parameters", ()):
                assert parameter.get("description"), f"{method} {path} {parameter['name']}"

"""The contract of a tracing provider, as a test class that any provider can run.

    import pytest
    from kai_tracing_core.testing.contract import ProviderContract

    class TestMyProvider(ProviderContract):
        @pytest.fixture
        def provider(self):
            return MyProvider(endpoint="http://127.0.0.1:9")

The suite shuts the provider down after each test. Needs pytest, which core does not depend on.
"""

from __future__ import annotations

from kai_tracing_core.testing._context import ContextContract
from kai_tracing_core.testing._delivery import DeliveryContract
from kai_tracing_core.testing._recording import RecordingContract
from kai_tracing_core.testing.suite import needs

__all__ = ["ProviderContract", "needs"]


class ProviderContract(RecordingContract, ContextContract, DeliveryContract, contract=True):
    """Everything that holds for every provider.

    Override the fixture `provider`. Where finished spans cannot be read through `RecordingProvider.pipeline`,
    override `finished`, too. What the provider cannot do by its nature is denied by a class attribute: `records`,
    `w3c`. A contract test that is overridden fails `test_no_contract_test_is_silenced`.
    """

"""What a store's test class may leave out of its contracts: what it declares that it cannot do, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from kai_tracing_backend.storage.contract import SpanStore
from kai_tracing_backend.storage.duckdb.store import DuckDBStore
from kai_tracing_backend.testing.retention_contract import RetentionContract
from kai_tracing_backend.testing.search_contract import SearchContract
from kai_tracing_backend.testing.store_contract import OpenedStore, SpanStoreContract


class _Opening(OpenedStore, contract=True):
    def open(self, folder: Path) -> SpanStore:
        return DuckDBStore(folder, memory_limit="500MB")


class _Plain(_Opening, SpanStoreContract, SearchContract, RetentionContract):
    """Denies nothing."""


class _Simple(_Opening, SearchContract, RetentionContract):
    """Cannot interrupt, and gives nothing away."""

    interruptible = False
    archiving = False


class _Overridden(_Opening, SpanStoreContract):
    def test_a_closed_store_says_so(self, store: SpanStore) -> None:
        """Pretends."""


class _Deleted(_Opening, SearchContract):
    test_a_cursor_of_somebody_else_is_refused = None  # type: ignore[assignment]  # what nobody should do


class _Skipped(_Opening, RetentionContract):
    pytestmark = pytest.mark.skip  # what nobody should do


class _Inherited(_Overridden):
    """Silences nothing itself, but its base does."""


class _InMemory(_Opening, SpanStoreContract):
    durable = False


@pytest.mark.parametrize("silenced", [_Overridden, _Deleted, _Skipped])
def test_silencing_a_test_without_a_declaration_is_found(silenced: type[OpenedStore]) -> None:
    """Overridden, deleted or skipped: the contract fails and says which test it is."""
    with pytest.raises(AssertionError, match="contract tests"):
        silenced().test_no_contract_test_is_silenced()


def test_an_overridden_test_comes_back_in_a_subclass() -> None:
    """Hiding the override one class further up does not help: the contract's own test is collected there."""
    assert _Inherited.test_a_closed_store_says_so is SpanStoreContract.test_a_closed_store_says_so


def test_what_is_denied_leaves_out_exactly_its_tests() -> None:
    """Those that need it are not collected, all others are, and the guard is content."""

    def tests(cls: type) -> set[str]:
        return {name for name in dir(cls) if name.startswith("test_") and callable(getattr(cls, name))}

    both = tests(SearchContract) | tests(RetentionContract)
    assert both - tests(_Simple) == {
        "test_reads_have_a_time_and_can_be_cancelled",
        "test_what_goes_is_given_away_first_where_the_rule_says_so",
    }
    assert tests(_Plain) == both | tests(SpanStoreContract)
    for content in (_Simple, _Plain):
        content().test_no_contract_test_is_silenced()


def test_a_store_that_keeps_nothing_is_not_opened_again(tmp_path: Path) -> None:
    """Its tests go on with the same store, and none is left out."""
    contract = _InMemory()
    store = contract.open(tmp_path / "data")
    try:
        assert contract.reopened(store, tmp_path) is store
    finally:
        store.close()
    contract.test_no_contract_test_is_silenced()
    again = _Plain().reopened(_Plain().open(tmp_path / "data"), tmp_path)
    again.close()

"""What makes a test class a contract: tests that a subclass cannot silence, but for what it declares that it cannot do.

    class StackContract(ContractSuite, contract=True):
        bounded: ClassVar[bool] = True

        @needs("bounded")
        def test_a_full_stack_refuses(self, stack): ...

A subclass of it that says `bounded = False` has every test but this one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

__all__ = ["ContractSuite", "needs"]

F = TypeVar("F", bound=Callable[..., Any])


def needs(capability: str, value: bool = True) -> Callable[[F], F]:
    """Mark a contract test that holds only where the class attribute `capability` is `value`."""

    def mark(test: F) -> F:
        vars(test).setdefault("needs", {})[capability] = value
        return test

    return mark


class ContractSuite:
    """The base of contracts. The classes that make one up say `contract=True`; those that keep it do not.

    Of these, exactly the tests are collected whose `needs` are met. A test that is overridden, deleted, skipped or
    expected to fail makes `test_no_contract_test_is_silenced` fail.
    """

    _contracts: ClassVar[set[type]] = set()

    def __init_subclass__(cls, *, contract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if contract:
            ContractSuite._contracts.add(cls)
            return
        for name, test in _contract_tests(cls).items():
            if name not in vars(cls):
                setattr(cls, name, test if _wanted(cls, test) else None)

    def test_no_contract_test_is_silenced(self) -> None:
        """Every test of the contract is there as it was written: not overridden, deleted, skipped or made to fail."""
        silenced = [
            name
            for name, test in _contract_tests(type(self)).items()
            if _wanted(type(self), test) and inspect.getattr_static(self, name, None) is not test
        ]
        assert not silenced, f"these contract tests are overridden; deny a capability instead: {silenced}"
        marks = getattr(type(self), "pytestmark", ())
        names = {mark.name for mark in (marks if isinstance(marks, (list, tuple)) else (marks,))}
        assert not names & {"skip", "skipif", "xfail"}, "contract tests may be neither skipped nor expected to fail"


def _contract_tests(cls: type) -> dict[str, Any]:
    """The tests of the contracts that a class keeps, by name."""
    return {
        name: value
        for base in reversed(cls.__mro__)
        if base is ContractSuite or base in ContractSuite._contracts
        for name, value in vars(base).items()
        if name.startswith("test_")
    }


def _wanted(cls: type, test: Any) -> bool:
    return all(getattr(cls, capability) is value for capability, value in vars(test).get("needs", {}).items())

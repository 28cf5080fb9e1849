"""Every Python example in the documentation runs, and prints what the page says it prints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pytest_examples import CodeExample, EvalExample, find_examples

from kai_tracing_core import TracingService, plugins, tracing

_ROOT = Path(__file__).parents[2]
_PAGES = ["README.md", *sorted(str(path.relative_to(_ROOT)) for path in (_ROOT / "docs").rglob("*.md"))]


def _examples() -> dict[str, list[CodeExample]]:
    pages: dict[str, list[CodeExample]] = defaultdict(list)
    for example in find_examples(*(_ROOT / page for page in _PAGES)):
        if example.prefix.split()[:1] == ["python"]:
            pages[str(example.path.relative_to(_ROOT))].append(example)
    return pages


_EXAMPLES = _examples()


@pytest.fixture
def _fresh_service() -> Iterator[None]:
    """The default service, and the plugins, as a new process finds them."""
    before, registered = dict(vars(tracing)), dict(plugins._registered)
    vars(tracing).clear()
    vars(tracing).update(vars(TracingService()))
    yield
    tracing.shutdown()
    vars(tracing).clear()
    vars(tracing).update(before)
    plugins._registered.clear()
    plugins._registered.update(registered)


class _Request:
    """What the README's request stands for."""

    headers: ClassVar = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


@pytest.mark.usefixtures("_fresh_service")
@pytest.mark.parametrize("page", sorted(_EXAMPLES))
def test_page(page: str, eval_example: EvalExample) -> None:
    """The examples of one page run from top to bottom, as a reader would type them."""
    names: dict[str, Any] = {"request": _Request()} if page == "README.md" else {}
    for example in _EXAMPLES[page]:
        if example.prefix_tags() & {"no-run"}:
            continue
        names.update(eval_example.run_print_check(example, module_globals=names))

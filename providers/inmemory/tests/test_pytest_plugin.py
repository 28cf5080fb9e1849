"""The pytest plugin in real pytest runs: isolation, markers, reports, saved traces, other plugins."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from kai_tracing_inmemory.pytest_plugin import _file_name

from kai_tracing_core.processing.otlp import _messages
from kai_tracing_core.sampling.recording import read_recording

pytest_plugins = ["pytester"]

# What other plugins of the environment print or time is not this plugin's.
QUIET = ("-pno:cacheprovider", "-pno:timeout", "-pno:hypothesispytest")
ALONE = (*QUIET, "-pno:xdist", "-pno:anyio")

FAILING = """
    from kai_tracing_core import tracing, SpanKind

    def test_checkout(tracing_spans):
        with tracing.span("checkout", kind=SpanKind.SERVER, attributes={"cart.items": 3}) as span:
            span.add_event("paid", {"card": "visa"})
            with tracing.span("load cart", links=[span.trace_context]):
                pass
        tracing.start_span("audit")
        assert 1 == 2
"""


@pytest.fixture(autouse=True)
def configuration(pytester: pytest.Pytester) -> None:
    """One of their own for the inner runs, so that no directory above is looked at."""
    pytester.makeini("[pytest]")


def sections(output: str) -> list[str]:
    """The lines of the report's section "trace", their times replaced."""
    found = re.search(r"^-+ trace -+\n(.*?)^[=_-]{5}", output, re.DOTALL | re.MULTILINE)
    return re.sub(r"\d+\.\d+ ms", "0.00 ms", found.group(1)).splitlines() if found else []


def test_each_test_has_its_own_spans(pytester: pytest.Pytester) -> None:
    """Spans of one test are not seen by the next one, nor a span that was left current; without the fixture nothing."""
    pytester.makepyfile("""
        from kai_tracing_core import tracing

        before = tracing.provider

        def test_first(tracing_spans):
            tracing.start_span("left open")
            with tracing.span("first"):
                pass
            assert tracing_spans.names == ["first"]

        def test_second(tracing_spans):
            with tracing.span("second"):
                pass
            assert tracing_spans.names == ["second"]
            tracing_spans.assert_span("second", parent=None)

        def test_third():
            assert tracing.provider is before
    """)
    pytester.runpytest(*ALONE).assert_outcomes(passed=3)


def test_importing_it_is_cheap(pytester: pytest.Pytester) -> None:
    """A run of pytest that does not use it loads nothing of tracing but the plugin's own module."""
    pytester.makepyfile("""
        import sys

        def test_modules():
            loaded = sorted(name for name in sys.modules if name.startswith("kai_tracing"))
            assert loaded == ["kai_tracing_inmemory", "kai_tracing_inmemory.pytest_plugin"]
    """)
    pytester.runpytest_subprocess(*ALONE).assert_outcomes(passed=1)


def test_it_can_be_switched_off(pytester: pytest.Pytester) -> None:
    """By pytest's own means."""
    pytester.makepyfile("def test_spans(tracing_spans): pass")
    result = pytester.runpytest_subprocess(*ALONE, "-p", "no:kai_tracing")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'tracing_spans' not found"])


def test_markers(pytester: pytest.Pytester) -> None:
    """Fixed ids and clock, and settings; the marker nearest to the test has the last word."""
    pytester.makepyfile("""
        import pytest
        from kai_tracing_core import tracing

        pytestmark = pytest.mark.tracing(service_name="shop", sampler="always_off")

        def test_module(tracing_spans):
            tracing.span("operation").end()
            assert not tracing_spans.spans

        @pytest.mark.tracing(fixed=True, sampler="always_on")
        def test_function(tracing_spans):
            tracing.span("operation").end()
            span = tracing_spans.get("operation")
            assert (span.trace_id, span.span_id, span.duration) == (f"{1:032x}", f"{1:016x}", 0.001)
            assert span.resource["service.name"] == "shop"

        @pytest.mark.tracing("fixed")
        def test_positional(tracing_spans): pass

        @pytest.mark.tracing(smapler="always_on")
        def test_typo(tracing_spans): pass
    """)
    result = pytester.runpytest(*ALONE, "--strict-markers")
    result.assert_outcomes(passed=2, errors=2)
    result.stdout.fnmatch_lines(
        [
            "@pytest.mark.tracing takes keywords only, such as fixed=True",
            "@pytest.mark.tracing: smapler (keyword) is not a setting that there is. Did you mean sampler?*",
        ]
    )


def test_the_trace_of_what_fails(pytester: pytest.Pytester) -> None:
    """As a tree in the report, with what has not ended; nothing of what passes, nor of what is expected to fail."""
    pytester.makepyfile(
        FAILING
        + """
    def test_passes(tracing_spans):
        tracing.span("invisible").end()

    import pytest

    @pytest.mark.xfail
    def test_expected(tracing_spans):
        tracing.span("invisible").end()
        assert 1 == 2
    """
    )
    result = pytester.runpytest(*ALONE)
    result.assert_outcomes(failed=1, passed=1, xfailed=1)
    output = result.stdout.str()
    assert sections(output) == ["checkout  SERVER  0.00 ms", "└─ load cart  0.00 ms", "still running: audit"]
    assert "invisible" not in output


def test_a_failing_teardown(pytester: pytest.Pytester) -> None:
    """A fixture that fails afterwards has the trace, too; one without spans says so."""
    pytester.makepyfile("""
        import pytest

        @pytest.fixture
        def after(tracing_spans):
            yield
            raise RuntimeError

        def test_it(after): pass
    """)
    result = pytester.runpytest(*ALONE)
    result.assert_outcomes(passed=1, errors=1)
    assert sections(result.stdout.str()) == ["no spans have ended"]


def test_a_long_trace_is_cut(pytester: pytest.Pytester) -> None:
    """The report of a test with thousands of spans can still be read."""
    pytester.makepyfile("""
        from kai_tracing_core import tracing

        def test_long(tracing_spans):
            for number in range(300):
                tracing.span("operation").end()
            assert False
    """)
    lines = sections(pytester.runpytest(*ALONE).stdout.str())
    assert (len(lines), lines[-1]) == (201, "... and 100 lines more")


def test_saving(pytester: pytest.Pytester) -> None:
    """As text with everything that is known, and as OTLP JSON that can be read back; the report says where."""
    pytester.makepyfile(test_shop=FAILING)
    result = pytester.runpytest(*ALONE, "--tracing-save-dir", "traces")
    text = pytester.path / "traces" / "test_shop.py.test_checkout.txt"
    recording = text.with_suffix(".jsonl")
    assert sections(result.stdout.str())[-2:] == [f"saved: {text}", f"saved: {recording}"]
    lines = [
        re.sub(r"[0-9a-f]{16,32}|start \d+|\d+\.\d+", "#", line)
        for line in text.read_text(encoding="utf-8").splitlines()
    ]
    assert lines == [
        "checkout  SERVER  # ms",
        "    trace # span # parent none #",
        "    cart.items = 3",
        "    event paid at # ms",
        "        card = 'visa'",
        "  load cart  # ms",
        "      trace # span # parent # #",
        "      link # # {}",
    ]
    assert sorted(span.name for span in read_recording(recording)) == ["checkout", "load cart"]


def test_saving_without_protobuf(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where opentelemetry-proto is not installed there is the text alone."""
    monkeypatch.setitem(sys.modules, "opentelemetry.proto.collector.trace.v1", None)
    _messages.cache_clear()
    pytester.makepyfile(test_shop=FAILING)
    pytester.runpytest(*ALONE, "--tracing-save-dir", "traces")
    assert [path.name for path in (pytester.path / "traces").iterdir()] == ["test_shop.py.test_checkout.txt"]


def test_saving_as_configured(pytester: pytest.Pytester) -> None:
    """The ini option is relative to the root directory; where nothing can be written the report says so."""
    pytester.makeini("[pytest]\ntracing_save_dir = traces/failed")
    pytester.makepyfile(test_shop=FAILING)
    pytester.runpytest(*ALONE)
    directory = pytester.path / "traces" / "failed"
    assert {path.suffix for path in directory.iterdir()} == {".txt", ".jsonl"}
    (pytester.path / "file").touch()
    result = pytester.runpytest(*ALONE, "--tracing-save-dir", "file/below")
    result.assert_outcomes(failed=1)
    assert sections(result.stdout.str())[-1].startswith("not saved: ")


def test_file_names() -> None:
    """Plain test ids are file names as they are; others are made fit, and stay different."""
    assert _file_name("tests/shop/test_cart.py::TestCart::test_add") == "tests.shop.test_cart.py.TestCart.test_add"
    names = {
        _file_name(f"test_a.py::test[{value}]") for value in ("a/b", "a:b", "a b", "../" * 99, "é" * 300, "\udc00")
    }
    assert len(names) == 6
    assert all(len(name) < 140 and re.fullmatch(r"[\w.-]+", name) and Path(name).name == name for name in names)


def test_trace_tree(pytester: pytest.Pytester) -> None:
    """The text that `assert_tree` takes, for libraries of snapshots."""
    pytester.makepyfile("""
        from kai_tracing_core import tracing

        def test_tree(trace_tree, tracing_spans):
            with tracing.span("checkout", attributes={"cart.items": 3, "user.id": "u1"}):
                tracing.span("load cart").end()
            assert trace_tree() == "checkout\\n  load cart"
            assert trace_tree("user.id") == "checkout {'user.id': 'u1'}\\n  load cart"
            tracing_spans.assert_tree(trace_tree("*"))
    """)
    pytester.runpytest(*ALONE).assert_outcomes(passed=1)


def test_unittest(pytester: pytest.Pytester) -> None:
    """Methods of `unittest.TestCase` get the spans by an autouse fixture, or do without pytest by `capture_spans`."""
    pytester.makepyfile("""
        import unittest
        import pytest
        from kai_tracing_core import tracing
        from kai_tracing_inmemory import capture_spans

        @pytest.mark.tracing(fixed=True)
        class TestShop(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def _spans(self, tracing_spans):
                self.spans = tracing_spans

            def test_fixture(self):
                tracing.span("checkout").end()
                self.assertEqual(self.spans.assert_span("checkout").span_id, f"{1:016x}")

            def test_fails(self):
                tracing.span("pay").end()
                self.spans.assert_span("checkout")

        class TestPlain(unittest.TestCase):
            def setUp(self):
                context = capture_spans()
                self.spans = context.__enter__()
                self.addCleanup(context.__exit__, None, None, None)

            def test_plain(self):
                tracing.span("checkout").end()
                self.spans.assert_tree("checkout")
    """)
    result = pytester.runpytest(*ALONE)
    result.assert_outcomes(passed=2, failed=1)
    assert sections(result.stdout.str()) == ["pay  0.00 ms"]


ASYNC = """
    import asyncio
    import pytest
    from kai_tracing_core import tracing

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    async def work(name):
        with tracing.span(name):
            await asyncio.sleep(0)

    @pytest.fixture
    async def prepared(tracing_spans):
        await work("fixture")

    async def test_tasks(tracing_spans, prepared):
        with tracing.span("gather"):
            await asyncio.gather(work("a"), work("b"))
            background = asyncio.create_task(work("background"))
        await background
        tracing_spans.assert_tree("fixture\\ngather\\n  a\\n  b\\n  background")

    async def test_leaves_a_span_open(tracing_spans):
        tracing.start_span("left open")

    async def test_has_no_parent(tracing_spans):
        await work("alone")
        tracing_spans.assert_span("alone", parent=None)
"""


def test_async_tests(pytester: pytest.Pytester) -> None:
    """Coroutine tests and fixtures, and the tasks they start."""
    pytester.makepyfile(ASYNC)
    pytester.runpytest(*ALONE[:-1]).assert_outcomes(passed=3)


def test_several_processes(pytester: pytest.Pytester) -> None:
    """With pytest-xdist every worker has its own spans, and the traces of what fails arrive in the one report."""
    pytester.makepyfile("""
        import pytest
        from kai_tracing_core import tracing

        @pytest.mark.parametrize("number", range(8))
        def test_parallel(tracing_spans, number):
            with tracing.span(f"operation {number}"):
                pass
            tracing_spans.assert_tree(f"operation {number}")
            assert number != 5
    """)
    result = pytester.runpytest_subprocess(*QUIET, "-n", "2", "--tracing-save-dir", "traces")
    result.assert_outcomes(passed=7, failed=1)
    first, *saved = sections(result.stdout.str())
    assert first == "operation 5  0.00 ms"
    assert [Path(line.removeprefix("saved: ")).exists() for line in saved] == [True, True]


def test_spans_of_opentelemetry(pytester: pytest.Pytester) -> None:
    """The fixture can be extended by the bridge: then OpenTelemetry's instrumentations are captured, too."""
    pytester.makeconftest("""
        import pytest
        from kai_tracing_core import tracing
        from kai_tracing_opentelemetry import bridge

        @pytest.fixture
        def tracing_spans(tracing_spans):
            bridge.install(tracing)
            yield tracing_spans
            bridge.uninstall()
    """)
    pytester.makepyfile("""
        import pytest
        from opentelemetry import trace
        from kai_tracing_core import tracing

        tracer = trace.get_tracer("library")

        @pytest.mark.parametrize("run", range(2))
        def test_both(tracing_spans, run):
            with tracing.span("ours"), tracer.start_as_current_span("theirs"), tracing.span("ours again"):
                pass
            tracing_spans.assert_tree("ours\\n  theirs\\n    ours again")
            tracing_spans.assert_span("ours", parent=None)
            tracing.start_span("left open")
    """)
    pytester.runpytest_subprocess(*ALONE).assert_outcomes(passed=2)


def test_where_an_assertion_fails(pytester: pytest.Pytester) -> None:
    """An assertion of the kit points at the line of the test, not into the kit."""
    pytester.makepyfile(
        test_where="""
        from kai_tracing_core import tracing

        def test_it(tracing_spans):
            tracing.span("checkout").end()
            tracing_spans.assert_tree("check out")
    """
    )
    lines = pytester.runpytest(*ALONE, "--tb=short").stdout.str().splitlines()
    at = lines.index("test_where.py:5: in test_it")
    assert lines[at + 1 : at + 7] == [
        '    tracing_spans.assert_tree("check out")',
        "E   AssertionError: the traces are not as expected",
        "E   --- expected",
        "E   +++ recorded",
        "E   -check out",
        "E   +checkout",
    ]
    assert lines[at + 7].strip("-") == " trace "

"""The spool as a user turns it on: by settings, with every provider whose batches can wait on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from kai_tracing_core import TracingService, initialize_tracing

_NOWHERE = "http://127.0.0.1:9/"


@pytest.mark.parametrize(
    ("kind", "section"),
    [
        ("zipkin", {"endpoint": _NOWHERE}),
        ("jaeger", {"endpoint": _NOWHERE}),
        ("opentelemetry", {"endpoint": _NOWHERE}),
    ],
)
def test_batches_wait_on_disk(kind: str, section: dict[str, str], tmp_path: Path) -> None:
    """With `TRACING_SPOOL__DIRECTORY` set, spans that cannot be sent are on disk after a flush, and none is lost."""
    service = initialize_tracing(
        service=TracingService(auto=False), type=kind, spool={"directory": str(tmp_path / "spool")}, **{kind: section}
    )
    with service.span("waits"):
        pass
    assert service.flush(10)
    stats = service.stats()
    assert service.shutdown(5)
    assert (stats.spooled, stats.exported, dict(stats.dropped)) == (1, 0, {})
    files = list((tmp_path / "spool").iterdir())
    assert [file.name.startswith(f"{kind}-") and file.name.endswith("-1.batch") for file in files] == [True]


def test_provider_that_cannot(tmp_path: Path) -> None:
    """A provider whose transport has no answers refuses a spool at start-up and says which setting to change."""
    with pytest.raises(ValueError, match="TRACING_SPOOL__DIRECTORY"):
        initialize_tracing(
            service=TracingService(auto=False),
            type="jaeger",
            jaeger={"protocol": "agent"},
            spool={"directory": str(tmp_path)},
        )


def test_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """A spool directory that cannot be made is an error at start-up that names it and the setting."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"file/spool.*TRACING_SPOOL__DIRECTORY"):
        initialize_tracing(
            service=TracingService(auto=False), type="zipkin", spool={"directory": str(tmp_path / "file" / "spool")}
        )

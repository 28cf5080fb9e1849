"""A book shop as its team would have it: FastAPI on a real server, SQLAlchemy on SQLite, the traced HTTP client."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from fastapi import FastAPI, HTTPException
from kai_tracing_inmemory import CapturedSpans
from kai_tracing_opentelemetry.tracer import TracerProvider
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from sqlalchemy import ForeignKey, StaticPool, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, joinedload, mapped_column, relationship

from kai_tracing_core import tracing
from kai_tracing_core.http import ApiClient, TracingMiddleware, create_api_client


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    books: Mapped[list[Book]] = relationship(back_populates="author")


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id"))
    author: Mapped[Author] = relationship(back_populates="books")


def make_app(session: Session) -> FastAPI:
    """The shop's service."""
    app = FastAPI()
    app.add_middleware(TracingMiddleware)

    @app.get("/books")
    def books(careful: bool = False) -> list[str]:
        query = select(Book).order_by(Book.id)
        if careful:
            query = query.options(joinedload(Book.author))
        return [f"{book.author.name}: {book.title}" for book in session.scalars(query)]

    @app.get("/books/{book_id}")
    def book(book_id: int) -> str:
        found = session.get(Book, book_id)
        if found is None:
            raise HTTPException(404)
        with tracing.span("price", attributes={"book.id": book_id}) as span:
            if found.title == "Emma":
                raise RuntimeError("no price for Emma")
            span.add_event("priced")
        return found.title

    return app


@pytest.fixture
def shop(tracing_spans: CapturedSpans) -> Iterator[ApiClient]:
    """A client of the running shop, in which there are three books by three authors; nothing is recorded yet."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(
            Author(name=name, books=[Book(title=title)])
            for name, title in [("Austen", "Emma"), ("Eliot", "Middlemarch"), ("Woolf", "Orlando")]
        )
        session.commit()
        session.expunge_all()
        instrumentor = SQLAlchemyInstrumentor()
        instrumentor.instrument(engine=engine, tracer_provider=TracerProvider(tracing.provider))
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(make_app(session), log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        with create_api_client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", retry=None) as client:
            yield client
        server.should_exit = True
        thread.join()
        listener.close()
        instrumentor.uninstrument()
    engine.dispose()

"""Tokens and what they are good for: the file, the guard, the limits, and which addresses need any."""

from __future__ import annotations

import base64
import json
import logging
import multiprocessing
import os
import stat
import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from click.testing import CliRunner
from kai_tracing_backend.access.binding import check_address, check_names, is_local
from kai_tracing_backend.access.guard import DeniedError, Guard, read_used
from kai_tracing_backend.access.limits import Bucket
from kai_tracing_backend.access.tokens import Limits, Scope, TokenFile, TokenFileError
from kai_tracing_backend.cli.tokens import tokens as command

from kai_tracing_core.errors import ConfigurationError

QUERY = {Scope.QUERY}


@pytest.fixture
def file(tmp_path: Path) -> TokenFile:
    """Where tokens may be; there are none."""
    return TokenFile(tmp_path / "tokens.json")


def guard_of(file: TokenFile) -> Guard:
    """A guard that looks at the file's times at every request."""
    return Guard(file, file.path.with_name("used.json"), look_again=0.0)


def bearer(text: str) -> str:
    """The header for a token."""
    return f"Bearer {text}"


def denied(guard: Guard, authorization: str | None, scope: Scope = Scope.QUERY) -> DeniedError:
    """The refusal of a request that must be refused."""
    with pytest.raises(DeniedError) as caught:
        guard.admit(authorization, scope)
    return caught.value


def test_the_text_of_a_token_is_kept_nowhere(file: TokenFile) -> None:
    """The file has its hash, is readable for its owner alone, and two tokens have nothing in common."""
    token, text = file.create("shop", QUERY, tenant="acme")
    _, other = file.create("other", QUERY)
    secret = text[len("kt_01234567_") :]
    assert len(base64.urlsafe_b64decode(secret + "=")) * 8 == 256
    assert secret != other[-len(secret) :]
    assert secret not in file.path.read_text()
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert file.read()[0] == token
    assert token.is_of(text)
    assert not token.is_of(other)


def test_names_are_taken_once_a_tenant(file: TokenFile) -> None:
    """A second token of a name is refused, and revoking by a name that two tenants use asks for the id."""
    file.create("shop", QUERY)
    with pytest.raises(TokenFileError, match="already"):
        file.create("shop", QUERY)
    other, _ = file.create("shop", QUERY, tenant="acme")
    with pytest.raises(TokenFileError, match="say its id"):
        file.revoke("shop")
    with pytest.raises(TokenFileError, match="no token 'shop'"):
        file.revoke("shop", tenant="nobody")
    assert file.revoke(other.id) == other
    assert file.revoke("shop", tenant="default").name == "shop"
    with pytest.raises(TokenFileError, match="no tenant's name"):
        file.create("x", QUERY, tenant="../up")


def _create_many(path: Path, name: str) -> None:
    for number in range(20):
        TokenFile(path).create(f"{name}{number}", QUERY)


def test_processes_that_change_the_file_at_once_lose_nothing(file: TokenFile) -> None:
    """Every token of three processes is there, and who reads meanwhile always sees a whole file."""
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_create_many, args=(file.path, name)) for name in "abc"]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        file.read()
        time.sleep(0.005)
    for process in processes:
        process.join()
    assert len({token.id for token in file.read()}) == 60


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no file of tokens"),
        ('{"version": 2, "tokens": []}', "version"),
        ('{"version": 1, "tokens": [{"id": "1"}]}', "tokens.0.id"),
        ('{"version": 1, "tokens": [], "more": 1}', "more"),
    ],
)
def test_a_file_that_is_none_says_where(file: TokenFile, text: str, message: str) -> None:
    """And what to do."""
    file.path.write_text(text)
    with pytest.raises(TokenFileError, match=message) as caught:
        Guard(file, file.path.with_name("used.json"))
    assert "kai-tracing tokens create" in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such permissions")
def test_a_file_that_anybody_may_write_is_refused(file: TokenFile) -> None:
    """Else anybody on the machine could let himself in."""
    file.create("shop", QUERY)
    file.path.chmod(0o666)
    with pytest.raises(TokenFileError, match="chmod 600"):
        file.read()


def test_without_a_file_everything_is_allowed_and_with_one_nothing(file: TokenFile) -> None:
    """Once a token has been there, its revocation or the file's loss opens nothing."""
    guard = guard_of(file)
    assert guard.admit(None, Scope.ADMIN).tenant == "default"
    file.create("shop", QUERY)
    assert denied(guard, None).status == 401
    file.revoke("shop")
    assert denied(guard, None).status == 401
    file.path.unlink()
    assert denied(guard, None).status == 401


def test_a_token_is_good_for_its_tenant_and_scopes(file: TokenFile) -> None:
    """Whatever scope it lacks is named; none contains another."""
    guard = guard_of(file)
    for scope in Scope:
        _, text = file.create(scope.value, {scope}, tenant=f"of-{scope.value}")
        grant = guard.admit(bearer(text), scope)
        assert (grant.tenant, grant.scopes) == (f"of-{scope.value}", {scope})
        for other in set(Scope) - {scope}:
            error = denied(guard, bearer(text), other)
            assert error.status == 403
            assert f"the scope {other.value}" in error.message
            assert f'error="insufficient_scope", scope="{other.value}"' in error.headers["WWW-Authenticate"]


def test_ways_to_say_a_token(file: TokenFile) -> None:
    """`Bearer` in any case, and `Basic` with it as the password or as the user, as URLs have it."""
    _, text = file.create("shop", QUERY)
    guard = guard_of(file)
    basic = [base64.b64encode(said.encode()).decode() for said in (f"any:{text}", f"{text}:", text)]
    for header in (f"bearer  {text} ", f"BEARER {text}", *(f"Basic {said}" for said in basic)):
        assert guard.admit(header, Scope.QUERY).token is not None


@pytest.mark.parametrize("kind", ["", "Bearer", "Bearer ", "Basic !", "Basic /w==", "Digest x", "Bearer kt_1_2", "kt_"])
def test_what_is_no_token_is_refused(file: TokenFile, kind: str) -> None:
    """With a challenge (RFC 6750, section 3), whatever it is."""
    file.create("shop", QUERY)
    error = denied(guard_of(file), kind)
    assert error.status == 401
    assert error.headers["WWW-Authenticate"].startswith('Bearer realm="kai-tracing"')


def test_a_wrong_letter_is_refused(file: TokenFile) -> None:
    """The id alone lets nobody in, whichever letter of the rest is wrong."""
    _, text = file.create("shop", QUERY)
    guard = guard_of(file)
    for place in range(len("kt_"), len(text)):
        if text[place] != "_" or place > 11:
            wrong = text[:place] + ("a" if text[place] != "a" else "b") + text[place + 1 :]
            assert denied(guard, bearer(wrong)).status == 401


def test_tokens_expire(file: TokenFile) -> None:
    """The message says when it did."""
    now = datetime.now(timezone.utc)
    _, over = file.create("over", QUERY, expires=now - timedelta(seconds=1))
    _, good = file.create("good", QUERY, expires=now + timedelta(days=1))
    guard = guard_of(file)
    assert f"expired on {now - timedelta(seconds=1):%Y-%m-%d}" in denied(guard, bearer(over)).message
    guard.admit(bearer(good), Scope.QUERY)


def test_a_change_that_cannot_be_read_changes_nothing(file: TokenFile, caplog: pytest.LogCaptureFixture) -> None:
    """The tokens that were there stay good, and the log says why."""
    _, text = file.create("shop", QUERY)
    guard = guard_of(file)
    file.path.write_text("{")
    with caplog.at_level(logging.ERROR):
        assert guard.admit(bearer(text), Scope.QUERY)
    assert "the tokens stay as they were" in caplog.text


def test_the_day_of_the_last_use_is_kept(file: TokenFile) -> None:
    """Over a restart, in a file of its own; a lost or broken one is no harm."""
    token, text = file.create("shop", QUERY)
    guard_of(file).admit(bearer(text), Scope.QUERY)
    used = file.path.with_name("used.json")
    assert read_used(used) == {token.id: f"{datetime.now(timezone.utc):%Y-%m-%d}"}
    used.write_text("{")
    guard_of(file).admit(bearer(text), Scope.QUERY)


def test_requests_and_bytes_a_second(file: TokenFile) -> None:
    """Past either limit it is 429 with the seconds to wait; other tokens do not mind; a reload gives nothing back."""
    limits = Limits(requests_per_second=2, bytes_per_second=100, max_body=1_000)
    _, text = file.create("limited", QUERY, limits=limits)
    _, free = file.create("free", QUERY)
    guard = guard_of(file)
    grant = guard.admit(bearer(text), Scope.QUERY)
    assert grant.bytes is not None
    grant.bytes.spend(100_100)
    error = denied(guard, bearer(text))
    assert error.status == 429
    assert 900 < (error.retry_after or 0) <= 1_001
    assert "bytes a second" in error.message
    guard.admit(bearer(free), Scope.QUERY)
    file.revoke("free")
    assert denied(guard, bearer(text)).status == 429
    with pytest.raises(DeniedError, match="may have 1000 bytes"):
        grant.check_size(1_001)
    grant.check_size(1_000)


def test_a_bucket_lets_its_rate_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second's worth at once, then as it fills; a large cost is paid off before the next one begins."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    bucket = Bucket(2.0)
    for _ in range(2):
        assert bucket.wait() == 0
        bucket.spend(1)
    assert bucket.wait() == 1
    now += 0.5
    assert bucket.wait() == 0
    bucket.spend(21)
    assert bucket.wait() == 11
    now += 10
    assert bucket.wait() == 1
    now += 0.5
    assert bucket.wait() == 0
    now += 1_000
    bucket.spend(2)
    assert bucket.wait() == 1
    slow = Bucket(0.1)
    slow.spend(1)
    assert slow.wait() == 1
    slow.spend(1)
    assert slow.wait() == 11


def test_a_bucket_is_spent_exactly_by_many_threads() -> None:
    """No spending is lost between threads."""
    bucket = Bucket(1_000.0)
    threads = [threading.Thread(target=lambda: [bucket.spend(1_000) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1_900 < bucket.wait() <= 2_000


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LOCALHOST.", "a.localhost"])
def test_addresses_of_this_machine(host: str) -> None:
    """They may be listened on without a token."""
    assert is_local(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "example.com", "localhost.example.com", "1", "::2"])
def test_addresses_of_others(file: TokenFile, host: str, caplog: pytest.LogCaptureFixture) -> None:
    """They may not, unless it is wished; the message says both ways out."""
    assert not is_local(host)
    with pytest.raises(ConfigurationError, match=r"tokens create.*--insecure"):
        check_address(host, guard_of(file), insecure=False, encrypted=True)
    check_address(host, guard_of(file), insecure=True, encrypted=False)
    assert "EVERYBODY" in caplog.text
    caplog.clear()
    file.create("shop", QUERY)
    check_address(host, guard_of(file), insecure=False, encrypted=True)
    assert not caplog.text
    check_address(host, guard_of(file), insecure=False, encrypted=False)
    assert "--tls-cert" in caplog.text


@pytest.mark.parametrize(
    ("method", "host", "origin", "fine"),
    [
        ("GET", "127.0.0.1:16686", None, True),
        ("GET", "localhost", None, True),
        ("GET", "[::1]:80", None, True),
        ("GET", None, None, True),
        ("GET", "traces.example.com", None, True),
        ("GET", "TRACES.example.com:443", "https://evil.example", True),
        ("POST", "localhost:4318", "http://localhost:3000", True),
        ("POST", "localhost:4318", "https://traces.example.com", True),
        ("GET", "evil.example:16686", None, False),
        ("GET", "127.0.0.1.evil.example", None, False),
        ("GET", "localhost@evil.example", None, False),
        ("GET", "0.0.0.0:16686", None, False),
        ("GET", "[::1", None, True),
        ("POST", "localhost:4318", "https://evil.example", False),
        ("DELETE", "localhost:4318", "null", False),
        ("POST", "localhost:4318", "http://[::1", False),
    ],
)
def test_what_pages_in_a_browser_may_ask(method: str, host: str | None, origin: str | None, fine: bool) -> None:
    """Not by a name that somebody has pointed here, and nothing that changes anything from a page of others."""
    allowed = {"traces.example.com"}
    if fine:
        check_names(method, host, origin, allowed)
    else:
        with pytest.raises(DeniedError, match="TRACING_BACKEND_ALLOWED_HOSTS") as caught:
            check_names(method, host, origin, allowed)
        assert caught.value.status == 403


def test_the_commands(tmp_path: Path) -> None:
    """Create shows the token once; list shows all but that; revoke takes it away; errors are one line."""
    runner = CliRunner()

    def run(*arguments: str) -> str:
        done = runner.invoke(command, ["--data", str(tmp_path), *arguments])
        return done.output if done.exit_code == 0 else f"{done.exit_code}: {done.output}"

    text = run("create", "shop", "--scope", "ingest", "--scope", "query", "--expires", "90d").split()[0]
    assert text.startswith("kt_")
    made = json.loads(run("create", "a\x1b[31m", "--scope", "query", "--max-body", "9", "--json"))
    assert made["limits"] == {"max_body": 9}
    Guard(TokenFile(tmp_path / "tokens.json"), tmp_path / "tokens-used.json").admit(bearer(text), Scope.INGEST)
    shown = run("list")
    assert "ingest, query" in shown
    assert text not in shown
    assert "\x1b" not in shown
    listed = [json.loads(line) for line in run("list", "--json").splitlines()]
    assert [entry["name"] for entry in listed] == ["shop", "a\x1b[31m"]
    assert listed[0]["last_used"] == f"{datetime.now(timezone.utc):%Y-%m-%d}"
    assert not {"hash", "token"} & set(listed[0])
    assert run("create", "shop", "--scope", "query").startswith("1: Error: there is a token 'shop' already")
    assert run("create", "late", "--scope", "query", "--expires", "soon").startswith("2: ")
    assert "holds no longer" in run("revoke", "shop")
    assert run("revoke", "shop").startswith("1: Error: there is no token")

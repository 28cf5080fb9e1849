"""Try the installed wheels as the README tells a user to: `python smoke.py core|zipkin|backend|all README.md`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

PROVIDERS = {
    "core": {"noop"},
    "zipkin": {"noop", "zipkin"},
    "backend": {"noop", "opentelemetry"},
    "all": {"noop", "zipkin", "opentelemetry", "jaeger", "inmemory", "jsonlines"},
}
BIN = Path(sys.executable).parent
NOWHERE = {
    "TRACING_ZIPKIN__ENDPOINT": "http://127.0.0.1:9/api/v2/spans",
    "TRACING_JAEGER__ENDPOINT": "http://127.0.0.1:9/v1/traces",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
    "TRACING_BATCH__EXIT_TIMEOUT": "1",
}


def run(*command: str, expect: int = 0, **variables: str) -> str:
    """Run a command and give all that it says; it must end with `expect`."""
    chosen = [f"TRACING_TYPE={variables['TRACING_TYPE']}"] if "TRACING_TYPE" in variables else []
    shown = " ".join([*chosen, Path(command[0]).name, *command[1:]])
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TRACING_", "OTEL_"))}
    done = subprocess.run(
        command,
        env={**inherited, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    print(f"  {shown}: {done.returncode}", flush=True)
    if done.returncode != expect:
        sys.exit(f"{shown}: ended with {done.returncode}, not {expect}\n{done.stdout}")
    return done.stdout


def need(text: str, output: str) -> None:
    """End here unless the output contains the text."""
    if text not in output:
        sys.exit(f"{text!r} is not in the output:\n{output}")


def backend(command: str) -> None:
    """Serve, send and search, as the README says."""
    url = "http://127.0.0.1:26686"
    ports = [f"--{name}-port=0" for name in ("otlp-grpc", "zipkin", "jaeger-http", "jaeger-compact", "jaeger-binary")]
    options = ["--api-port=26686", "--otlp-http-port=24318", "--sampling-port=0", *ports]
    with subprocess.Popen([command, "serve", "--data=data", *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None or "listens on" not in process.stdout.readline():
                sys.exit("kai-tracing serve does not begin")
            sending = {"TRACING_TYPE": "opentelemetry", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:24318"}
            run(sys.executable, "shop.py", TRACING_SERVICE_NAME="smoke", **sending)
            query = '{ resource.service.name = "smoke" }'
            found = json.loads(run(command, "search", query, "--json", "--limit", "1", "--url", url))
            need("└ ", run(command, "trace", found["traceId"], "--url", url))
            need("smoke", run(command, "services", "--url", url))
            need("stored", run(command, "stats", "--url", url))
        finally:
            process.terminate()
    if process.returncode:
        sys.exit(f"kai-tracing serve ended with {process.returncode}")


def main(environment: str, readme: Path) -> None:
    """Everything the README promises of this set of packages."""
    where = run(sys.executable, "-c", "import kai_tracing_core; print(kai_tracing_core.__file__)")
    need("site-packages", where)
    program = re.search(r"```python\n(.*?)```", readme.read_text("utf-8"), re.DOTALL)
    if program is None:
        sys.exit("the README shows no Python")
    Path("shop.py").write_text(program[1], "utf-8")
    command = str(BIN / "kai-tracing")

    run(sys.executable, "shop.py")
    listed = run(command, "providers")
    for provider in sorted(PROVIDERS[environment]):
        need(provider, listed)
        output = run(sys.executable, "shop.py", TRACING_TYPE=provider, TRACING_SERVICE_NAME="shop", **NOWHERE)
        if "Traceback" in output:
            sys.exit(output)
    need("TRACING_TYPE", run(command, "settings", TRACING_TYPE="noop"))
    run(command, "doctor", TRACING_TYPE="noop")
    for name in ("samplers", "propagators", "--version", "--help"):
        run(command, name)

    if environment == "core":
        need('pip install "kai-tracing-core[zipkin]"', run(sys.executable, "shop.py", TRACING_TYPE="zipkin", expect=1))
        need("kai-tracing-core[zipkin]", run(command, "demo", expect=1))
        return
    need("no span was lost", run(command, "demo", CI="true"))
    if environment == "backend":
        backend(command)
        return
    run(command, "doctor", expect=1, TRACING_TYPE="zipkin", **NOWHERE)
    if environment == "all":
        run(command, "doctor", TRACING_TYPE="inmemory")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

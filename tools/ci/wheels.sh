#!/usr/bin/env bash
# Build every wheel into dist/, install them into an empty environment (not editable), and try them there.
set -euo pipefail
cd "$(dirname "$0")/../.."
uv="$PWD/.venv/bin/uv"

rm -rf dist
for project in . providers/*/ backend/ examples/*/; do
    [ -f "$project/pyproject.toml" ] || continue
    echo "building $project"
    "$uv" build --quiet --wheel --out-dir dist "$project"
done
ls dist

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

# uv knows a wheel of a directory by its name and version and would install the one that an earlier run left in its cache.
fresh=()
for wheel in dist/*.whl; do
    name=$(basename "${wheel%%-*}")
    fresh+=(--refresh-package "${name//_/-}")
done

core="file://$(echo "$PWD"/dist/kai_tracing_core-*.whl)"
install() { # ENVIRONMENT REQUIREMENT...
    "$uv" venv --quiet --python .venv/bin/python "$place/$1"
    "$uv" pip install --quiet --python "$place/$1/bin/python" "${fresh[@]}" --find-links dist "${@:2}"
}
install core "kai-tracing-core @ $core"
install zipkin "kai-tracing-core[zipkin] @ $core"
install backend "kai-tracing-core[opentelemetry,backend] @ $core"
install all "kai-tracing-core[all] @ $core" dist/kai_tracing_backend-*.whl dist/kai_tracing_jsonlines-*.whl

cp tools/ci/smoke.py README.md "$place"
for environment in core zipkin backend all; do
    echo "trying the wheels in an environment with: $environment"
    (cd "$place" && "$environment/bin/python" smoke.py "$environment" README.md)
done

echo "trying the examples of every page with what the page says to install"
.venv/bin/python tools/ci/pages.py "$uv" dist

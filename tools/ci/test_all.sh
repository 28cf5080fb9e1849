#!/usr/bin/env bash
# The tests on every supported Python that is installed here, and with the lowest versions of what we depend on.
# One after the other, each in an environment of its own under build/.
set -euo pipefail
cd "$(dirname "$0")/../.."
uv="$PWD/.venv/bin/uv"
projects=(-e . $(printf -- '-e %s ' providers/*/ backend/))

find_python() { # VERSION
    local candidate
    for candidate in "python$1" $(ls -d "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python 2>/dev/null || true); do
        # A shim may be there without the Python behind it.
        "$candidate" -c "import sys; assert '%d.%d' % sys.version_info[:2] == '$1'" 2>/dev/null || continue
        "$candidate" -c 'import sys; print(sys.executable)'
        return
    done
    return 1
}

try() { # NAME PYTHON RESOLUTION
    local environment="build/environments/$1"
    rm -rf "$environment"
    "$uv" venv --quiet --python "$2" "$environment"
    "$uv" pip install --quiet --python "$environment/bin/python" --resolution "$3" "${projects[@]}"
    # What is there already stays as it is.
    "$uv" pip install --quiet --python "$environment/bin/python" --group dev
    [ "$3" = highest ] || "$uv" pip list --python "$environment/bin/python"
    # Nothing here uses anyio's plugin, and an old one does not know a new pytest.
    PATH="$PATH:$PWD/.venv/bin" "$environment/bin/python" -m pytest -n auto --dist loadfile \
        -p no:cacheprovider -p no:anyio
}

mkdir -p build/environments
failed=0
start() { # NAME PYTHON RESOLUTION
    local log="build/environments/$1.log"
    echo "testing on $1 ($2)"
    if try "$@" >"$log" 2>&1; then
        echo "$1: $(grep -E '^=+ .* (passed|failed)' "$log" | tail -n 1)"
    else
        failed=1
        echo "$1: FAILED"
        tail -n 100 "$log"
    fi
}

lowest=""
for version in 3.10 3.11 3.12 3.13; do
    if python=$(find_python "$version"); then
        : "${lowest:=$python}"
        # `make test` has tried that one.
        [ "$version" = "$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')" ] ||
            start "python$version" "$python" highest
    else
        echo "NOT RUN: there is no Python $version here"
    fi
done
start lowest-dependencies "$lowest" lowest-direct
exit $failed

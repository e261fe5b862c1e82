# Sourced by the scripts beside it: makes .venv with the wanted extra of this project, once for each pyproject.toml.
# Not a program of its own.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1
# Some machines tell Python to keep no compiled files; every start of a program would then compile all of it again, which
# is more than a third of what a start costs, and the tests start hundreds.
unset PYTHONDONTWRITEBYTECODE

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "gpio-bridge needs Python 3.11 or newer; set PYTHON to its path." >&2
    return 1
}

# Debian splits ensurepip off into python3-venv; ask for it only where it is missing.
install_venv_package() {
    local become=()
    [ "$(id -u)" = 0 ] || become=(sudo -n)
    if command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; then
        echo "Installing python3-venv ..." >&2
        "${become[@]}" apt-get update -qq && "${become[@]}" apt-get install -y -qq python3-venv >/dev/null
    else
        echo "Python's venv module is not complete; install it first: sudo apt-get install python3-venv" >&2
        return 1
    fi
}

# ensure_venv EXTRA: .venv holds this checkout with its extra (laptop or dev), as pyproject.toml says now.
ensure_venv() {
    local extra=$1 python stamp
    stamp=$(cksum <pyproject.toml | tr -d ' ')
    if [ -x .venv/bin/python ] && { [ -e ".venv/installed-$extra-$stamp" ] || [ -e ".venv/installed-dev-$stamp" ]; }; then
        return
    fi
    python=$(find_python) || return 1
    if [ ! -x .venv/bin/pip ]; then
        "$python" -c 'import ensurepip, venv' 2>/dev/null || install_venv_package || return 1
        "$python" -m venv .venv || return 1
    fi
    echo "Installing gpio-bridge[$extra] into .venv (once) ..." >&2
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[$extra]" || return 1
    rm -f .venv/installed-*
    touch ".venv/installed-$extra-$stamp"
}

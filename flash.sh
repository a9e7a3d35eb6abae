#!/bin/sh
# A board becomes a bracelet: see `./flash.sh --help` and board_configs/README.md. From a fresh clone it makes its own Python
# environment in your cache, once. TOCSIN_PYTHON names one that you have.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${TOCSIN_PYTHON:-}
if [ -z "$python" ]; then
    case ${XDG_CACHE_HOME:-} in
        /*) cache=$XDG_CACHE_HOME/tocsin ;;
        *) cache=$HOME/.cache/tocsin ;;
    esac
    # One for each clone, because the installation points to it.
    venv=$cache/flash-$(printf %s "$here" | cksum | cut -d' ' -f1)
    python=$venv/bin/python
    if ! [ "$venv/ready" -nt "$here/pyproject.toml" ]; then
        echo "flash.sh: making a Python environment in $venv, once" >&2
        python3 -m venv "$venv" || { echo "flash.sh: python3 has no venv; on Debian: sudo apt-get install python3-venv" >&2; exit 1; }
        "$python" -m pip install -q --disable-pip-version-check -e "$here[flash]" ||
            { echo "flash.sh: the packages could not be installed: is there a network? Run this again" >&2; exit 1; }
        touch "$venv/ready"
    fi
fi
if [ "${1:-}" = harden ]; then
    shift
    exec "$python" -m hwsim.workshop.harden "$@"
fi
exec "$python" -m hwsim.workshop "$@"

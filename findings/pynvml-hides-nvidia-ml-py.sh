#!/usr/bin/env bash
# With pynvml 11 beside nvidia-ml-py, `import pynvml` is the old binding, whichever was installed last.
#
# NVIDIA's binding of NVML is the project nvidia-ml-py, a single module pynvml.py. The project pynvml up to 11.5 is another binding
# of the same import name, a folder pynvml/. Python prefers the folder, so nvidia-ml-py is installed, current and never imported.
# The two own no file in common: both install without a word, `pip check` is content, and installing nvidia-ml-py again does not help.
#
# Seen: 2026-12-01, pynvml 11.5.3 and 13.0.1, nvidia-ml-py 13.615.71, Linux x86_64.
# Matters: one dependency with an old pin takes functions and constants of new drivers away from everything else in the environment,
# and the version that pip shows for nvidia-ml-py proves nothing.
# Instead: uninstall pynvml, or take pynvml 13, which leaves the module to nvidia-ml-py (pynvml 12 does so too, but wants nvidia-ml-py 12).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

expect() { # WHAT SEEN EXPECTED
  echo "$1: $2"
  [ "$2" = "$3" ] || { echo "changed: $1: \"$2\"; expected \"$3\" as seen on 2026-12-01" >&2 && exit 1; }
}

"${PYTHON:-python3}" -m venv "$work/venv"
python=$work/venv/bin/python
pip() { "$python" -m pip --disable-pip-version-check --quiet "$@"; }
imported() {
  "$python" -c 'import pathlib, pynvml
print(pathlib.Path(pynvml.__file__).relative_to(pathlib.Path(pynvml.__file__).parents[1]) if pynvml.__package__ else "pynvml.py",
      pynvml.NVML_BRAND_COUNT, hasattr(pynvml, "nvmlSystemGetDriverBranch"))'
}

pip install nvidia-ml-py==13.615.71
expect "module, number of brands, knows driver branches" "$(imported)" "pynvml.py 20 True"
pip install pynvml==11.5.3
expect "the same with pynvml 11.5.3" "$(imported)" "pynvml/__init__.py 17 False"
pip install --force-reinstall nvidia-ml-py==13.615.71
expect "the same with nvidia-ml-py installed again" "$(imported)" "pynvml/__init__.py 17 False"
expect "pip check" "$("$python" -m pip check)" "No broken requirements found."

pip install pynvml==13.0.1
expect "the same with pynvml 13.0.1" "$(imported)" "pynvml.py 20 True"

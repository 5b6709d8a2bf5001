#!/bin/sh
# Makes projects as people have them, each with its own manager's real command. PyTorch comes from PyPI, whose build is for another CUDA than the
# one that is wanted here: the swap is there from the start.
set -eu
export UV_DEFAULT_INDEX=http://mirror/pypi/ UV_PYTHON_DOWNLOADS=never POETRY_VIRTUALENVS_IN_PROJECT=false POETRY_NO_INTERACTION=1

python3 -m venv /opt/managers
/opt/managers/bin/pip install --quiet uv
/opt/managers/bin/uv pip install --quiet --python /opt/managers/bin/python poetry pip-tools
ln -sf /opt/managers/bin/poetry /opt/managers/bin/uv /usr/local/bin/

# uv, PyTorch and torchvision among its own dependencies
mkdir -p /srv/assistant
cd /srv/assistant
cat >pyproject.toml <<'END'
# The assistant.
[project]
name = "assistant"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = [
    "torch>=2.9,<2.11",  # not the newest
    'torchvision',
]

[[tool.uv.index]]
url = "http://mirror/pypi/"
default = true
END
uv sync --quiet --python /usr/bin/python3 &

# Poetry, its environment in Poetry's own folder; PyTorch comes through torchvision alone
mkdir -p /srv/trainer
(
  cd /srv/trainer
  cat >pyproject.toml <<'END'
[tool.poetry]
name = "trainer"
version = "0.1.0"
description = "Trains."
authors = []
package-mode = false

[tool.poetry.dependencies]
python = ">=3.11,<3.14"
torchvision = "~0.24"   # brings torch

[[tool.poetry.source]]
name = "mirror"
url = "http://mirror/pypi/"
priority = "primary"
END
  poetry install --quiet
) &

# pip, from a file with one pin
mkdir -p /srv/notebook
(
  cd /srv/notebook
  echo torch==2.10.0 >requirements.txt
  python3 -m venv .venv
  .venv/bin/pip install --quiet -r requirements.txt
) &

# pip-tools
mkdir -p /srv/service
(
  cd /srv/service
  echo 'torch<2.12' >requirements.in
  uv venv --quiet --seed .venv
  uv pip install --quiet --python .venv/bin/python pip-tools
  .venv/bin/pip-compile --quiet --strip-extras requirements.in
  .venv/bin/pip-sync --quiet
) &

# uv, PyTorch kept out of the lock file and installed beside it
mkdir -p /srv/chatbot
(
  cd /srv/chatbot
  printf '[project]\nname = "chatbot"\nversion = "0.1.0"\nrequires-python = ">=3.11"\ndependencies = []\n' >pyproject.toml
  uv sync --quiet --python /usr/bin/python3
  uv pip install --quiet torch==2.11.0
) &

# Two managers at once
mkdir -p /srv/torn
touch /srv/torn/poetry.lock /srv/torn/uv.lock
printf '[project]\nname = "torn"\nversion = "0.1.0"\n' >/srv/torn/pyproject.toml

wait

#!/bin/sh
# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
# Serves a mirror that build.py filled: http on port 80, git on port 9418. Usage: serve.sh [FOLDER]
set -eu
folder=${1:-/srv/mirror}

# The repository may belong to another user than the one that serves it.
git -c safe.directory='*' daemon --base-path="$folder" --export-all --reuseaddr --detach
exec python3 -m http.server --directory "$folder" 80

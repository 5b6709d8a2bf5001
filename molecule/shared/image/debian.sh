#!/bin/sh
# Prints the root file system of a Debian with all packages of the pods as a tar archive. Usage: debian.sh SUITE.
# The archive is the one of this machine's own apt sources, where they name one.
set -eu
cd "$(dirname "$0")"

# shellcheck disable=SC2016 # apt-get fills the format in
archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -m 1 '/debian/*$' || :)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
mmdebstrap --quiet --variant=minbase --include="$(paste -sd , packages)" \
  --aptopt='Acquire::Languages "none"' --dpkgopt=force-unsafe-io \
  --dpkgopt=path-exclude='/usr/share/doc/*' --dpkgopt=path-exclude='/usr/share/man/*' --dpkgopt=path-exclude='/usr/share/locale/*' \
  "$1" - "deb [signed-by=$keyring] ${archive:-http://deb.debian.org/debian} $1 main"

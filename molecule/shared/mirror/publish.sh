#!/bin/sh
# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
# Packs what build.py staged, in a container of the pods' image. Usage: publish.sh WORK KEY SHARED
#   WORK    stage/ and mirror/, of one file system
#   stage   packages/<tree>/, compat (a line each: tree, folder, version, CUDA, branches, brands), repositories (a line each:
#           NVIDIA's folder), cutlass/include, cutlass.tags (a line each: tag, then the three numbers of the version),
#           project and kernels: a CUDA extension and its submodule
#   mirror  gets cuda/repos/, cutlass.git/, podsmith-kernels.git/, podsmith-kernels-cuda.git/ and fingerprint
#   KEY     GnuPG's folder with the key that signs; made where it is empty
#   SHARED  the folder that holds simulated_driver
set -eu
stage=$1/stage mirror=$1/mirror key=$2 shared=$3
export HOME="$stage" GNUPGHOME="$key" GIT_CONFIG_NOSYSTEM=1

pool=$stage/pool
mkdir -p "$pool" "$stage/keyrings"
while read -r tree folder version cuda branches brands; do
  "$shared/simulated_driver/build.sh" compat "$stage/packages/$tree/$folder" "$version" "$cuda" "$branches" "$brands"
done <"$stage/compat"
find "$stage/packages" -mindepth 1 -maxdepth 1 -print0 |
  xargs -0 -P "$(nproc)" -I '{}' dpkg-deb --root-owner-group -Znone --build '{}' "$pool" >/dev/null

if ! gpg --batch --quiet --list-secret-keys mirror@example.invalid >/dev/null 2>&1; then
  gpg --batch --quiet --passphrase '' --quick-generate-key 'Simulated mirror <mirror@example.invalid>' ed25519 sign never
fi
gpg --batch --with-colons --list-keys mirror@example.invalid | awk -F: '$1 == "fpr" { print $10; exit }' >"$mirror/fingerprint"

# One repository, under the names of all: the packages are hard links, the indexes copies.
cd "$pool"
apt-ftparchive -o APT::FTPArchive::MD5=false -o APT::FTPArchive::SHA1=false -o APT::FTPArchive::SHA512=false packages . >"$stage/Packages"
gzip -1 -k "$stage/Packages"
cp "$stage/Packages" "$stage/Packages.gz" "$pool"
apt-ftparchive -o APT::FTPArchive::Release::Origin=NVIDIA -o APT::FTPArchive::Release::Label='NVIDIA CUDA' release . >"$stage/Release"
gpg --batch --quiet --armor --detach-sign --output "$stage/Release.gpg" "$stage/Release"
gpg --batch --quiet --clear-sign --output "$stage/InRelease" "$stage/Release"
mv "$stage/Release" "$stage/Release.gpg" "$stage/InRelease" "$pool"
gpg --batch --quiet --armor --export mirror@example.invalid >"$pool/3bf863cc.pub"

while read -r repository; do
  place=$mirror/cuda/repos/$repository/x86_64
  mkdir -p "${place%/*}"
  cp -al "$pool" "$place"
  # NVIDIA's keyring package brings the key and the source that names it.
  tree=$stage/keyrings/$repository
  install -d "$tree/DEBIAN" "$tree/usr/share/keyrings" "$tree/etc/apt/sources.list.d"
  gpg --batch --quiet --export mirror@example.invalid >"$tree/usr/share/keyrings/cuda-archive-keyring.gpg"
  echo "deb [signed-by=/usr/share/keyrings/cuda-archive-keyring.gpg] http://mirror/cuda/repos/$repository/x86_64/ /" \
    >"$tree/etc/apt/sources.list.d/cuda-$repository-x86_64.list"
  cat >"$tree/DEBIAN/control" <<'EOF'
Package: cuda-keyring
Version: 1.1-1
Architecture: all
Maintainer: Podsmith developers <podsmith@example.invalid>
Description: Key and source of the simulated pods' mirror
EOF
  dpkg-deb --root-owner-group -Znone --build "$tree" "$place/cuda-keyring_1.1-1_all.deb" >/dev/null
done <"$stage/repositories"
gpgconf --kill gpg-agent

# CUTLASS: one commit and one tag a release. The headers are those of the wheel, but for the version that they tell.
export GIT_AUTHOR_DATE='2026-01-01T00:00:00Z' GIT_COMMITTER_DATE='2026-01-01T00:00:00Z'
begin() {
  cd "$1"
  git init --quiet
  git config user.name 'Simulated mirror'
  git config user.email mirror@example.invalid
  git config gc.auto 0
}
begin "$stage/cutlass"
while read -r tag major minor patch; do
  sed -i -E "s/^(#define CUTLASS_MAJOR).*/\1 $major/; s/^(#define CUTLASS_MINOR).*/\1 $minor/; s/^(#define CUTLASS_PATCH).*/\1 $patch/" \
    include/cutlass/version.h
  git add --all
  git commit --quiet --message "CUTLASS $major.$minor.$patch"
  git tag "$tag"
done <"$stage/cutlass.tags"
git clone --quiet --bare "$stage/cutlass" "$mirror/cutlass.git"

# A CUDA extension whose kernels are a submodule; 1.1 does not compile.
begin "$stage/kernels"
git add --all
git commit --quiet --message 'Kernels'
git clone --quiet --bare "$stage/kernels" "$mirror/podsmith-kernels-cuda.git"
begin "$stage/project"
git -c protocol.file.allow=always submodule --quiet add "$mirror/podsmith-kernels-cuda.git" kernels
git config --file .gitmodules submodule.kernels.url ../podsmith-kernels-cuda.git
git add --all
git commit --quiet --message 'Release 1.0'
git tag v1.0
sed -i 's/version="1.0"/version="1.1"/' setup.py
sed -i '1i #include "not_there.hpp"' src/module.cpp
git commit --quiet --all --message 'Release 1.1'
git tag v1.1
git clone --quiet --bare "$stage/project" "$mirror/podsmith-kernels.git"

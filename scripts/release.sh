#!/usr/bin/env bash
# Makes a release: changelog, tarball, commit and tag, all local. Usage: scripts/release.sh VERSION, such as 1.2.0.
# The tarball is installed into an empty folder and plans a recorded host from there before anything is committed. Where that
# fails, the checkout is put back as it was. Nothing is pushed or published: the two commands that do so are printed.
set -euo pipefail
cd -P "$(dirname "$0")/.."

version=${1:-}
field() { sed -n "s/^$1: *//p" galaxy.yml; }

fail() {
  echo "release: $*" >&2
  exit 2
}

[[ $version =~ ^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)$ ]] ||
  fail "the version is '$version'; expected one such as 1.2.0: scripts/release.sh VERSION"
branch=$(git symbolic-ref --quiet --short HEAD || true)
[ "$branch" = main ] || fail "the branch is '${branch:-a detached HEAD}'; releases are made from main: git switch main"
changed=$(git status --porcelain)
[ -z "$changed" ] || fail "the working tree is not clean; commit or remove these first:"$'\n'"$changed"
! git rev-parse --quiet --verify "refs/tags/$version" >/dev/null ||
  fail "the tag $version exists already; a published version is never made again: choose a newer one"
# A release must be newer than every tag, and not older than galaxy.yml, whose version may still be unreleased.
newest=$(git tag --list '[0-9]*.[0-9]*.[0-9]*' | sort -V | tail -n 1)
[ -z "$newest" ] || [ "$(printf '%s\n' "$newest" "$version" | sort -V | tail -n 1)" = "$version" ] ||
  fail "the version is $version and the newest tag is $newest; choose a newer version"
current=$(field version)
[ "$(printf '%s\n' "$current" "$version" | sort -V | tail -n 1)" = "$version" ] ||
  fail "the version is $version and galaxy.yml has $current; choose a newer version"

scripts/prepare.sh dev
export PATH="$PWD/.venv/bin:$PATH" ANSIBLE_LOCALHOST_WARNING=False
namespace=$(field namespace)
name=$(field name)
tarball=$namespace-$name-$version.tar.gz
work=$(mktemp -d)
done=
finish() {
  rm -rf "$work"
  if [ -z "$done" ]; then
    git reset --quiet --hard HEAD # the tree was clean, so only this script's own edits are lost
    rm -f "$tarball"
    echo "release: $version was not made; the checkout is as it was." >&2
  fi
}
trap finish EXIT

sed -i "s/^version: .*/version: $version/" galaxy.yml
antsibull-changelog release
git add --all

# From what will be committed: ignored files of the checkout must not get in.
mkdir "$work/tree"
git archive "$(git write-tree)" | tar -x -C "$work/tree"
ansible-galaxy collection build --output-path "$work" "$work/tree"
(
  cd "$work" # away from the checkout's ansible.cfg
  export ANSIBLE_COLLECTIONS_PATH=$work/collections
  ansible-galaxy collection install --offline --collections-path "$work/collections" "$work/$tarball"
  recording=$work/collections/ansible_collections/$namespace/$name/tests/fixtures/h200-driver-580
  ansible-playbook --inventory h200, -e "stack_plan_recording=$recording" "$namespace.$name.plan"
)
mv "$work/$tarball" .

git commit --quiet --message "Release $version"
done=yes
git tag --annotate --message "$namespace.$name $version" "$version"
cat <<END
Made $tarball, the commit 'Release $version' and the tag $version. Review them, then publish:
  git push --follow-tags origin main
  ansible-galaxy collection publish $tarball
END

#!/usr/bin/env bash
# Makes the images of the pods where they are missing or were made from something else than what stands here, and the key that opens them:
# podsmith-pod:debian12 and :debian13; podsmith-pod:vendor instead of the first where NVIDIA's image can be had. Usage: build.sh
# PODSMITH_POD_BASE names another image than NVIDIA's; an empty one makes pods of Debian alone.
set -euo pipefail
cd -P "$(dirname "$0")/../../.."

base=${PODSMITH_POD_BASE-nvidia/cuda:13.0.2-base-ubuntu24.04}
image=molecule/shared/image
driver=molecule/shared/simulated_driver
work=.cache/molecule
logs=$work/logs
docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0 # an engine's own builder

fail() {
  echo "build.sh: $*" >&2
  exit 1
}

digest() { find "$@" -type f ! -name '*.md' -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16; }
key_of() { docker image inspect --format '{{index .Config.Labels "podsmith.key"}}' "$1" 2>/dev/null || :; }

# layer TAG BASE KEY: the pod on top of a base image.
layer() {
  local before after
  before=$(docker image ls --quiet "podsmith-pod:$1")
  tar -C molecule/shared -c image simulated_driver |
    docker build --quiet --file image/Dockerfile --build-arg "base=$2" --build-arg "public_key=$(<$work/key.pub)" --label "podsmith.key=$3" \
      --tag "podsmith-pod:$1" -
  after=$(docker image ls --quiet "podsmith-pod:$1")
  [ -z "$before" ] || [ "$before" = "$after" ] || docker image rm "$before" 2>/dev/null || : # unless a pod runs it
}

debian() { # VERSION SUITE KEY
  local root
  root=$(digest "$image/debian.sh" "$image/packages")
  if [ "$(key_of "podsmith-root:debian$1")" != "$root" ]; then
    "$image/debian.sh" "$2" | docker import --change "LABEL podsmith.key=$root" - "podsmith-root:debian$1"
  fi
  layer "debian$1" "podsmith-root:debian$1" "$3"
}

need_mmdebstrap() {
  if command -v mmdebstrap >/dev/null && [ -e /usr/share/keyrings/debian-archive-keyring.gpg ]; then return; fi
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    fail "found no mmdebstrap with Debian's keyring, wanted it to make the pods' images;" \
      "install the packages mmdebstrap and debian-archive-keyring, or make ${base:-a CUDA image} reachable."
  fi
  echo "Installing mmdebstrap, which makes the pods' images"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends mmdebstrap debian-archive-keyring >"$logs/mmdebstrap.log" 2>&1 ||
    fail "could not install mmdebstrap: $(tail -n 3 "$logs/mmdebstrap.log")"
}

mkdir -p "$logs"
if [ ! -e $work/key ]; then ssh-keygen -q -t ed25519 -N '' -C podsmith-pod -f $work/key; fi
key=$(digest "$image" "$driver" $work/key.pub)

stale=()
[ "$(key_of podsmith-pod:debian13)" = "$key" ] || stale+=(debian13)
if [ "$(key_of podsmith-pod:vendor)" != "$key-$base" ] && [ "$(key_of podsmith-pod:debian12)" != "$key" ]; then
  if [ -n "$base" ] && { docker image inspect "$base" || timeout 4 docker manifest inspect "$base"; } >/dev/null 2>&1; then
    stale+=(vendor)
  else
    stale+=(debian12)
    docker image rm podsmith-pod:vendor >/dev/null 2>&1 || : # of an earlier definition
  fi
fi
[ ${#stale[@]} -gt 0 ] || exit 0

echo "Making the image of the pods: ${stale[*]}"
if [[ ${stale[*]} == *debian* ]]; then need_mmdebstrap; fi
begin=$SECONDS
declare -A builds
for name in "${stale[@]}"; do
  case $name in
    debian12) debian 12 bookworm "$key" ;;
    debian13) debian 13 trixie "$key" ;;
    vendor) layer vendor "$base" "$key-$base" ;;
  esac >"$logs/image-$name.log" 2>&1 &
  builds[$name]=$!
done
failed=()
for name in "${!builds[@]}"; do wait "${builds[$name]}" || failed+=("$name"); done
for name in "${failed[@]}"; do sed "s/^/$name: /" "$logs/image-$name.log" >&2; done
[ ${#failed[@]} = 0 ] || fail "could not make the image ${failed[*]}; its output stands above and in $logs."
echo "Made in $((SECONDS - begin)) s."

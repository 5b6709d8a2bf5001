#!/bin/sh
# Turns the base image into a pod, inside the build. Usage: setup.sh PUBLIC_KEY
set -eu
cd "$(dirname "$0")"
export DEBIAN_FRONTEND=noninteractive

# A vendor's image has few of them; a Debian made for the pods has them all.
if ! xargs dpkg --status <packages >/dev/null 2>&1; then
  apt-get update -qq
  xargs apt-get install -qq -y --no-install-recommends <packages
fi

# From here on the pod knows the mirror alone, which the tests configure.
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/* /var/cache/apt/*.bin

id ubuntu >/dev/null 2>&1 && userdel --remove ubuntu 2>/dev/null # so that dev has the first user's id everywhere
useradd --create-home --shell /bin/bash dev
for user in root dev; do
  home=$(getent passwd "$user" | cut -d: -f6)
  install -d -m 700 -o "$user" -g "$user" "$home/.ssh"
  echo "$1" >"$home/.ssh/authorized_keys"
  chown "$user:$user" "$home/.ssh/authorized_keys"
done

install -m 644 sshd.conf /etc/ssh/sshd_config.d/pod.conf
install -m 644 pip.conf /etc/pip.conf
install -m 755 pod /usr/local/sbin/pod
../simulated_driver/build.sh install /usr/local
rm -rf /opt/pod

# shellcheck shell=sh disable=SC2154  # home and prefix stand above, in the file that is made of this one
# The first process of a container: starts sshd, checks this host's driver, then runs the command that was given.
# PUBLIC_KEY      keys that may log in as root, as RunPod sets it
# PODSMITH_START  check (default), prove: then also the whole bootstrap with its proof on this GPU, off: neither
mode=${PODSMITH_START:-check}

say() { echo "podsmith: $*"; }

enter() {
    [ -n "${PUBLIC_KEY-}" ] || [ -s /root/.ssh/authorized_keys ] || { say "no PUBLIC_KEY: nobody can log in, so sshd is not started." && return 1; }
    mkdir -p /run/sshd /root/.ssh
    chmod 700 /root/.ssh
    touch /root/.ssh/authorized_keys
    chmod 600 /root/.ssh/authorized_keys
    printf '%s\n' "${PUBLIC_KEY-}" | while IFS= read -r key; do
        [ -z "$key" ] || grep -qxF -e "$key" /root/.ssh/authorized_keys || printf '%s\n' "$key" >>/root/.ssh/authorized_keys
    done
    ssh-keygen -A >/dev/null
}

check() {
    (
        # shellcheck disable=SC1091 # is there in the image
        . "$prefix/activate.sh"
        exec timeout 60 python3 "$home/check.py" "$home/image.json" /run/podsmith-start.json
    ) || say "this image does not run on this host; the line above says why. The container keeps running so that you can inspect it."
}

prove() {
    cd "$home" || return
    if ANSIBLE_COLLECTIONS_PATH=$home/collections ANSIBLE_NOCOLOR=1 "$home/controller/bin/ansible-playbook" podsmith.gpu.bootstrap \
        --inventory image, --connection local --extra-vars ansible_python_interpreter=/usr/bin/python3 \
        --extra-vars @variables.json >/var/log/podsmith-start.log 2>&1; then
        say "proved on this host; the evidence is in $prefix/state/verdict.json."
    else
        say "the proof failed; see /var/log/podsmith-start.log."
    fi
}

case $mode in
    check | prove | off) ;;
    *) say "PODSMITH_START is $mode; expected check, prove or off; using check." && mode=check ;;
esac
entered=
if enter; then entered=1; fi
if [ "$mode" != off ]; then check; fi
if [ "$mode" = prove ]; then prove & fi

if [ $# -gt 0 ]; then
    if [ -n "$entered" ]; then /usr/sbin/sshd -o PasswordAuthentication=no; fi
    exec "$@"
fi
if [ -n "$entered" ]; then exec /usr/sbin/sshd -D -e -o PasswordAuthentication=no; fi
trap 'exit 0' TERM INT
while :; do sleep 3600 & wait $!; done

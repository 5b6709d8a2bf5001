# shellcheck shell=sh disable=SC2154  # home and packages stand above, in the file that is made of this one
# Installs the decision by the very play that installs it on hosts, then takes away what only the build needs.
export DEBIAN_FRONTEND=noninteractive PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 ANSIBLE_NOCOLOR=1 ANSIBLE_PIPELINING=1 ANSIBLE_STDOUT_CALLBACK=podsmith.gpu.terminal

fail() {
    echo "build.sh: $*" >&2
    exit 1
}

# Nothing that the loader reads, whatever the driver is, may name a compat library: on a newer driver CUDA would fail (803).
check_loader() {
    case ${LD_LIBRARY_PATH-} in
        */compat*) fail "the base image sets LD_LIBRARY_PATH=$LD_LIBRARY_PATH, wanted none with a compat library; take another base." ;;
    esac
    found=$(grep -rls '^[^#]*/compat' /etc/ld.so.conf /etc/ld.so.conf.d /etc/ld.so.preload /etc/environment 2>/dev/null || :)
    [ -z "$found" ] || fail "$found names a compat library for every driver, wanted none; take another base, or remove that line in it."
}

missing=
for package in $packages; do
    case $(dpkg-query --show --showformat '${Status}' "$package" 2>/dev/null) in
        *' installed') ;;
        *) missing="$missing $package" ;;
    esac
done
if [ -n "$missing" ]; then
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of names
    apt-get install -qq -y --no-install-recommends $missing
fi

check_loader
python3 -m venv "$home/controller"
"$home/controller/bin/python" -m pip install --quiet --no-cache-dir --require-hashes --requirement "$home/controller.txt"
cd "$home" || exit
ANSIBLE_COLLECTIONS_PATH=$home/collections "$home/controller/bin/ansible-playbook" podsmith.gpu.bootstrap \
    --inventory image, --connection local --extra-vars ansible_python_interpreter=/usr/bin/python3 \
    --extra-vars @variables.json --extra-vars @target.json
check_loader

# Each container makes host keys of its own.
rm -rf "$prefix/cache" /root/.ansible/* /root/.cache /var/lib/apt/lists/* /var/cache/apt/* /etc/ssh/ssh_host_*
mkdir -p /root/.ansible/tmp # with which Ansible begins on a host
chmod 700 /root/.ansible/tmp

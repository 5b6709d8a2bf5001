#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Record what podsmith.gpu reads on this host, for a plan, a bug report or a test, without anything that identifies a person or host.
#
#   sh record.sh [FOLDER | FILE.tar.gz]        by default ./recording
#
# FOLDER/root is a file system in which podsmith.gpu.gpu_facts (sysroot) finds what it finds on this host; the texts beside it are the
# output of NVIDIA's tools. Nothing is copied whole: only known keys and values of a known form are kept, so that serial numbers,
# UUIDs, addresses, names and the values of other variables never get in. At the end everything is searched for the names of this host
# and its users; if one is found, the recording is deleted.
#
# RECORD_ROOT=/path records the host whose files are there. Needs a POSIX shell and the usual tools; uses nvidia-smi and python3 if present.
set -eu
LC_ALL=C
export LC_ALL
umask 077

host=${RECORD_ROOT:-}
target=${1:-recording}
case $target in -h | --help) sed -n '3,/^set /{/^# \{0,1\}/s///p;}' "$0"; exit 0 ;; esac
for taken in "$target" "${target%.tar.gz}"; do
    [ ! -e "$taken" ] || { echo "$taken already exists; name another folder or file." >&2; exit 2; }
done
out=${target%.tar.gz}
root=$out/root
mkdir -p "$root"
if [ -z "$host" ]; then home=${HOME:-/root}; elif [ -d "$host/root" ]; then home=/root; else home=/home/user; fi
if [ -z "$host" ] && [ "$(id -u)" != 0 ]; then kept_home=/home/user; else kept_home=/root; fi
zero=GPU-00000000-0000-0000-0000-000000000000

# --- shapes ---

# Keep of a colon-separated list the references to variables and the folders of systems and images, else say that there was one.
clean_paths() {
    awk -v home="$home" -v kept="$kept_home" '{
        gsub(/["\047]/, ""); count = split($0, parts, ":"); line = ""
        for (i = 1; i <= count; i++) {
            part = parts[i]
            if (index(part, home "/") == 1) part = kept substr(part, length(home) + 1)
            if (part !~ /^(\$\{?[A-Z_]+(:[-+][^}]*)?\}?|\/(usr|lib|lib64|opt\/(conda|nvidia|cuda[-.0-9]*|podsmith|venv|torch|cutlass[-.0-9]*)|bin|sbin|root\/\.[a-z]+|workspace\/\.?venv)(\/[A-Za-z0-9._+-]+)*\/?)?$/) part = "/elsewhere"
            line = line (i > 1 ? ":" : "") part
        }
        print line
    }'
}

put() { # PATH: standard input becomes this file of the recorded system
    mkdir -p "$root$(dirname "$1")"
    cat >"$root$1"
}
stand_in() { # PATH: an empty file for one that is there
    put "$1" </dev/null
}
folder() { # PATH: a folder that is there; git keeps it for the file in it
    [ ! -d "$host$1" ] || stand_in "$1/.recorded"
}
program() { # PATH: an executable that is none, for one that is there
    [ -x "$host$1" ] || return 0
    printf '\177ELF' | put "$1"
    chmod 755 "$root$1"
}
mapped() { # PATH: what it is called in the recording
    case $1 in "$home"/*) echo "$kept_home${1#"$home"}" ;; *) echo "$1" ;; esac
}
matches() { # PATTERN: the paths of the host that match it
    for found in "$host"$1; do
        [ ! -e "$found" ] && [ ! -L "$found" ] || echo "${found#"$host"}"
    done
}
link() { # PATH: a symbolic link within the system's folders, made relative
    aim=$(readlink "$host$1" | sed -nE '/^(\/(usr|etc|lib|lib64|opt)\/|(\.\.\/)+)?[A-Za-z0-9._+-]+(\/[A-Za-z0-9._+-]+)*$/p')
    [ -n "$aim" ] || return 0
    mkdir -p "$root$(dirname "$1")"
    case $aim in /*) aim=$(dirname "$1" | sed 's:/[^/]*:../:g')${aim#/} ;; esac
    ln -sf "$aim" "$root$1"
}
read_file() { # PATH: its text, without a word where there is none
    cat "$host$1" 2>/dev/null || true
}
ask() { # COMMAND...: its standard output, without waiting for a hung driver
    if command -v timeout >/dev/null 2>&1; then timeout 20 "$@" 2>/dev/null || true; else "$@" 2>/dev/null || true; fi
}
little() { # NUMBER BYTES: the number as a file has it
    number=$1 bytes=$2
    while [ "$bytes" -gt 0 ]; do
        # shellcheck disable=SC2059 # the format is made on purpose
        printf "\\$(printf %03o $((number & 255)))"
        number=$((number >> 8)) bytes=$((bytes - 1))
    done
}
library() { # NOTE: an ELF file that holds nothing but the compatibility note
    note=$1
    after=$(((124 + ${#note} + 7) / 8 * 8)) # where the table of sections begins
    printf '\177ELF\002\001\001' && little 0 9 && little 3 2 && little 62 2 && little 1 4 && little 0 16 && little "$after" 8
    little 0 4 && little 64 2 && little 0 4 && little 64 2 && little 3 2 && little 1 2
    printf '\000.shstrtab\000.note.cuda.fwd_compatibility\000'
    little 8 4 && little "${#note}" 4 && little 1 4 && printf 'NVIDIA\000\000%s' "$note" && little 0 $((after - 124 - ${#note}))
    little 0 64
    little 1 4 && little 3 4 && little 0 16 && little 64 8 && little 40 8 && little 0 24
    little 11 4 && little 7 4 && little 0 16 && little 104 8 && little $((20 + ${#note})) 8 && little 0 24
}

# --- the driver ---

smi=
for found in "$host/usr/bin/nvidia-smi" "$host/usr/lib/wsl/lib/nvidia-smi" "$host/usr/local/nvidia/bin/nvidia-smi" "$host/opt/bin/nvidia-smi"; do
    [ -n "$smi" ] || [ ! -x "$found" ] || smi=$found
done
[ -n "$smi" ] || [ -n "$host" ] || smi=$(command -v nvidia-smi || true)

record_smi() {
    [ -n "$smi" ] || { echo "nvidia-smi was not found: the recording has no GPU." >&2; return 0; }
    ask "$smi" | sed -n '/Processes:/,$d; /^[+|]/p' | clean_words >"$out/nvidia-smi.txt"
    fields=index,name,uuid,driver_version,memory.total,pci.bus_id,ecc.mode.current,mig.mode.current,compute_cap
    ask "$smi" "--query-gpu=$fields" --format=csv,noheader | sed "s/GPU-[0-9A-Fa-f-]*/$zero/" | clean_words >"$out/nvidia-smi-query.csv"
    # A value is kept where it is a reading: a short number with its unit, a word of state, or one of the elements named.
    ask "$smi" -q -x | awk -v zero="$zero" '
        BEGIN {
            count = split("product_name product_brand product_architecture driver_version cuda_version vbios_version " \
                "gsp_firmware_version img_version oem_object ecc_object pwr_object pci_bus_id pci_device_id " \
                "pci_sub_system_id pci_bus pci_device pci_domain", names, " ")
            for (i = 1; i <= count; i++) known[names[i]] = 1
            count = split("Enabled Disabled N/A None Active Default Yes No On Off Supported Completed P0 P1 P2 P3 P5 P8 P12 " \
                "Pass-Through VGPU Virtualized Degraded", words, " ")
            for (i = 1; i <= count; i++) state[words[i]] = 1
            state["Not Active"] = state["In Progress"] = state["Not Started"] = state["Not Supported"] = 1
            state["GPU Reset"] = state["Node Reboot"] = state["Drain P2P"] = state["Drain and Reset"] = 1
        }
        /<processes>|<accounted_processes>|<supported_clocks>/ { if (!/<\/(processes|accounted_processes|supported_clocks)>/) hidden = 1; next }
        /<\/(processes|accounted_processes|supported_clocks)>/ { hidden = 0; next }
        hidden { next }
        /^<\?xml|^<!DOCTYPE|^<nvidia_smi_log>|^<\/nvidia_smi_log>/ { print; next }
        /^[ \t]*<[A-Za-z_0-9]+>[^<]*<\/[A-Za-z_0-9]+>[ \t]*$/ {
            before = $0; sub(/<.*/, "", before)
            tag = $0; sub(/^[ \t]*</, "", tag); sub(/>.*/, "", tag)
            value = $0; sub(/^[^>]*>/, "", value); sub(/<.*/, "", value)
            unit = "( (MHz|MiB|W|C|%|KB\\/s|ms|bank\\(s\\)))?"
            if (tag == "uuid") value = zero
            else if (tag ~ /serial|part_number|pdi|guid|[uU]uid|board_id|_id$|cliqueId|tray|slot|module_id|minor/ && !(tag in known)) value = "N/A"
            else if (!(tag in known ? value ~ /^[A-Za-z0-9 ._:()\/+-]+$/ : value in state || value ~ ("^-?[0-9]?[0-9]?[0-9]?[0-9]?[0-9]?[0-9](\\.[0-9]+)?" unit "$") || value ~ /^[0-9]+ us$/ || value ~ /^[0-9][0-9]?x$/)) value = "N/A"
            print before "<" tag ">" value "</" tag ">"; next
        }
        /^[ \t]*<gpu id="[0-9A-Fa-f:.]+">[ \t]*$/ || /^[ \t]*<\/?[A-Za-z_0-9]+>[ \t]*$/ { print }
    ' >"$out/nvidia-smi-q.xml"
    # shellcheck disable=SC2043 # an empty answer is none
    for text in nvidia-smi.txt nvidia-smi-query.csv nvidia-smi-q.xml; do [ -s "$out/$text" ] || rm "$out/$text"; done
}
clean_words() { # of a table: letters, digits and the signs of tables
    sed 's/[^][A-Za-z0-9 .,:;|+=_()%/<>-]//g'
}

record_driver() {
    version=$(read_file /proc/driver/nvidia/version | sed -nE 's/^(NVRM version: NVIDIA UNIX [A-Za-z0-9_ ]* [0-9]{3,}(\.[0-9]+){1,2})[[:space:]].*/\1  Release Build/p')
    if [ -n "$version" ]; then
        echo "$version" | put /proc/driver/nvidia/version
        echo "$version" >"$out/proc-driver-nvidia.txt"
    fi
    module=$(read_file /sys/module/nvidia/version | sed -nE 's/^([0-9]{3,}(\.[0-9]+){1,2})[[:space:]]*$/\1/p')
    [ -z "$module" ] || echo "$module" | put /sys/module/nvidia/version
    matches '/proc/driver/nvidia/gpus/*' | while read -r gpu; do
        read_file "$gpu/information" | sed -nE '/^(Model|IRQ|Video BIOS|Bus Type|DMA Size|DMA Mask|Bus Location|Device Minor|GPU Firmware|GPU Excluded):/p' |
            clean_words >"$out/information"
        printf 'GPU UUID: \t %s\n' "$zero" >>"$out/information"
        put "$(printf %s "$gpu" | tr : -)/information" <"$out/information" # a colon is no letter of a file's name everywhere
        cat "$out/information" >>"$out/proc-driver-nvidia.txt"
        rm "$out/information"
    done
    for node in $(matches '/dev/nvidia[0-9]*') $(matches /dev/dxg) $(matches '/dev/nvhost*-gpu') $(matches '/dev/nvgpu/igpu0'); do stand_in "$node"; done
    for folder in /usr/lib/x86_64-linux-gnu /usr/lib/aarch64-linux-gnu /usr/lib64 /usr/lib/x86_64-linux-gnu/nvidia/current /usr/lib/wsl/lib \
        /usr/local/nvidia/lib64 /usr/local/nvidia/lib /usr/local/lib /lib64 /usr/lib/aarch64-linux-gnu/nvidia /usr/lib/aarch64-linux-gnu/tegra \
        /run/opengl-driver/lib /.singularity.d/libs /home/kubernetes/bin/nvidia/lib64 /var/lib/nvidia/lib64; do
        [ ! -L "$host$folder" ] || continue
        record_libraries "$folder"
    done
}
record_libraries() { # FOLDER: the copies and links of libcuda and libnvidia-ml in it
    for path in $(matches "$1/libcuda.so*") $(matches "$1/libnvidia-ml.so*"); do
        if [ -L "$host$path" ]; then
            link "$path"
        else
            note=$(grep -a -o '{"format":[^}]*}' "$host$path" 2>/dev/null | sed -n '1{/^[]["A-Za-z0-9_:,. {}]*$/p;}' || true)
            if [ -n "$note" ]; then library "$note" | put "$path"; else stand_in "$path"; fi
        fi
    done
}
# --- the system ---

record_system() {
    read_file /etc/os-release | sed -nE '/^(NAME|PRETTY_NAME|ID|ID_LIKE|VERSION_ID|VERSION_CODENAME|UBUNTU_CODENAME)="?[A-Za-z0-9 ._()\/-]*"?$/p' | put /etc/os-release
    release=$(read_file /proc/sys/kernel/osrelease | sed -nE 's/^([0-9]+(\.[0-9]+)*).*(microsoft-standard-WSL2|microsoft|tegra|gvisor|l4t-r[0-9]+(\.[0-9]+)+).*/\1-\3/p; t; s/^([0-9]+(\.[0-9]+)*).*/\1/p')
    echo "$release" | put /proc/sys/kernel/osrelease
    echo "Linux version $release" | put /proc/version
    read_file /proc/meminfo | sed -nE '/^MemTotal: +[0-9]+ kB$/p' | put /proc/meminfo
    read_file /proc/cpuinfo | awk '/^processor[ \t]*:/ { printf "processor\t: %d\n", count++ } /^flags.* hypervisor/ { virtual = 1 }
        END { if (virtual) print "flags\t\t: hypervisor" }' | put /proc/cpuinfo
    read_file /proc/1/cgroup | grep -oE 'docker|kubepods|containerd|libpod|lxc' | sort -u | sed 's/^/0::\//' | put /proc/1/cgroup || true
    for path in /.dockerenv /run/.containerenv /etc/rp_environment /etc/.vast_containerlabel /root/.vast_containerlabel; do
        [ ! -e "$host$path" ] || stand_in "$path"
    done
    for path in /lib/ld-musl-x86_64.so.1 /lib/ld-musl-aarch64.so.1; do [ ! -e "$host$path" ] || stand_in "$path"; done
    read_file /etc/nv_tegra_release | sed -nE '1s/^(# R[0-9]+ \(release\), REVISION: [0-9.]+).*/\1/p' | put /etc/nv_tegra_release || true
    read_file /proc/device-tree/model | tr -d '\000' | grep -E '^NVIDIA [A-Za-z0-9 ()-]+$' | put /proc/device-tree/model || true
    read_file /run/systemd/container | grep -E '^[a-z-]+$' | put /run/systemd/container || true
    for path in /dev/lxd /dev/incus /.singularity.d /var/run/secrets/kubernetes.io; do folder "$path"; done
    for path in /run/systemd/system /etc/vast_boot.d /lambda/nfs /workspace /runpod-volume /data; do folder "$path"; done
    read_file /proc/self/mountinfo | awk '{
        split($0, halves, " - "); split(halves[1], fields, " "); split(halves[2], kind, " ")
        point = fields[5]; mode = fields[6] ~ /(^|,)ro(,|$)/ ? "ro" : "rw"
        if (point ~ /^(\/|\/workspace|\/runpod-volume|\/data|\/dev\/shm|\/usr\/local\/nvidia(\/lib64)?|\/run\/opengl-driver|(\/[a-z0-9_.-]+)*\/lib(cuda|nvidia-ml)\.so\.[0-9.]+)$/ && kind[1] ~ /^[a-z0-9._]+$/)
            print "1 1 0:1 / " point " " mode " - " kind[1] " none " mode
    }' | put /proc/self/mountinfo
    for name in sys_vendor product_name; do
        read_file "/sys/class/dmi/id/$name" | grep -oE 'QEMU|KVM|VMware|VirtualBox|Xen|Virtual Machine|Google Compute|Amazon EC2|Bochs' |
            put "/sys/class/dmi/id/$name" || true
    done
}
record_variables() { # what the first process was started with, which is what the image sets; else this one
    read_file /proc/1/environ | tr '\000' '\n' >"$out/variables"
    [ -n "$host" ] || grep -q '^CUDA_VERSION=' "$out/variables" || env >>"$out/variables"
    for name in PATH LD_LIBRARY_PATH LIBRARY_PATH CUDA_HOME CUDA_PATH; do
        value=$(sed -n "s/^$name=//p" "$out/variables" | sed -n 1p | clean_paths)
        [ -z "$value" ] || printf '%s=%s\000' "$name" "$value"
    done >"$out/kept"
    sed -nE '/^(CUDA_VERSION|NV_CUDA_[A-Z_]*VERSION|NV_CUDNN_VERSION)=[0-9.+-]+$/p; /^NVIDIA_DRIVER_CAPABILITIES=[a-z,]+$/p
        /^NVIDIA_VISIBLE_DEVICES=(all|none|void|[0-9,]+)$/p; s/^NVIDIA_VISIBLE_DEVICES=[^a-z0-9].*|^NVIDIA_VISIBLE_DEVICES=GPU-.*/NVIDIA_VISIBLE_DEVICES=scrubbed/p
        /^NVIDIA_REQUIRE_CUDA=([a-z]+[<>=]+[a-z0-9.]+[ ,]?)+$/p; s/^(RUNPOD_POD_ID|VAST_CONTAINERLABEL)=.*/\1=scrubbed/p
        /^container=(docker|podman|lxc|systemd-nspawn|oci|wsl)$/p' "$out/variables" | tr '\n' '\000' >>"$out/kept"
    put /proc/1/environ <"$out/kept"
    rm "$out/variables" "$out/kept"
}
record_start_up() { # the lines that set what CUDA reads, at the numbers where they stand
    for file in /etc/environment /etc/profile /etc/bash.bashrc /etc/bashrc /etc/zsh/zshenv $(matches '/etc/profile.d/*.sh') \
        "$home/.bashrc" "$home/.profile" "$home/.bash_profile" "$home/.zshrc"; do
        [ -r "$host$file" ] || continue
        name=$(mapped "$file")
        case $name in /etc/profile.d/*) echo "${name##*/}" | grep -qE '^(cuda|nvidia|podsmith|conda|modules)[a-z0-9_.-]*\.sh$' || name=/etc/profile.d/other-$(matches '/etc/profile.d/*.sh' | grep -nxF "$file" | cut -d: -f1).sh ;; esac
        awk '{
            if (match($0, /^[ \t]*(export[ \t]+|declare[ \t]+-x[ \t]+)?(LD_LIBRARY_PATH|CUDA_HOME|CUDA_PATH|CUDA_VISIBLE_DEVICES)=("[^"]*"|\047[^\047]*\047|[^ \t;&|]*)/)) print substr($0, 1, RLENGTH)
            else if ($0 ~ /^# (BEGIN|END) podsmith\.gpu$/) print
            else if (match($0, /^(export[ \t]+)?(RUNPOD_POD_ID|VAST_CONTAINERLABEL)=/)) print substr($0, 1, RLENGTH) "scrubbed"
            else print ""
        }' "$host$file" | while IFS= read -r line; do
            case $line in
                *CUDA_VISIBLE_DEVICES=*) echo "$line" | sed -nE '/=["\047]?(-1|NoDevFiles|[0-9,]*)["\047]?$/p; t; s/=.*/=scrubbed/p' ;;
                *_PATH=* | *CUDA_HOME=*) printf '%s=%s\n' "${line%%=*}" "$(echo "${line#*=}" | clean_paths)" ;;
                *) echo "$line" ;;
            esac
        done >"$out/lines"
        ! grep -q . "$out/lines" || put "$name" <"$out/lines"
        rm "$out/lines"
    done
}
record_loader() {
    for file in /etc/ld.so.conf $(matches '/etc/ld.so.conf.d/*.conf'); do
        kept=$(read_file "$file" | grep '^/' | clean_paths | grep -v '^/elsewhere$' || true)
        name=$file
        case $name in /etc/ld.so.conf.d/*) echo "${name##*/}" | grep -qE '^([0-9]+[_-])?(cuda|nvidia|libc|x86_64|aarch64|wsl|ld\.wsl|podsmith|gds)[A-Za-z0-9_.-]*$' || continue ;; esac
        [ -z "$kept" ] || echo "$kept" | put "$name"
    done
    if [ -z "$host" ]; then
        ask "$(command -v ldconfig || echo /sbin/ldconfig)" -p | sed -nE '/^[[:space:]]*lib(cuda|nvidia-ml|nvidia-ptxjitcompiler|cudart)[A-Za-z0-9._-]* \([A-Za-z0-9_, .:-]*\) => \/(usr|lib)[A-Za-z0-9._+\/-]*$/p' >"$out/ldconfig.txt"
    fi
}

# --- what is installed ---

record_toolkits() {
    for folder in $(matches '/usr/local/cuda*') $(matches '/opt/cuda*') $(matches /etc/alternatives/cuda); do
        echo "$folder" | grep -qE '^(/usr/local|/opt|/etc/alternatives)/cuda(-[0-9.]+)?$' || continue
        if [ -L "$host$folder" ]; then
            link "$folder"
            continue
        fi
        folder "$folder"
        program "$folder/bin/nvcc"
        versions=$(read_file "$folder/version.json" | tr -d '\n' | grep -oE '"(cuda|cuda_nvcc|cuda_cudart)" *: *\{[^}]*"version" *: *"[0-9.]+"' | sed -nE 's/^"([a-z_]+)".*"version" *: *"([0-9.]+)"$/"\1": {"version": "\2"}/p' || true)
        [ -z "$versions" ] || echo "$versions" | awk '{ line = line (NR > 1 ? ", " : "") $0 } END { print "{" line "}" }' | put "$folder/version.json"
        for include in "$folder/include" $(matches "$folder/targets/*/include"); do
            read_file "$include/cuda.h" | sed -nE '/^#define[[:space:]]+CUDA_VERSION[[:space:]]+[0-9]+[[:space:]]*$/p' >"$out/header"
            [ ! -s "$out/header" ] || put "$include/cuda.h" <"$out/header"
            rm "$out/header"
            for header in cuda_runtime_api nvrtc thrust/version cccl/thrust/version cublas_v2 cufft curand cusolverDn cusparse cupti \
                nvtx3/nvToolsExt cuda_profiler_api nvml; do # those by which the plan knows a toolkit's components
                [ ! -e "$host$include/$header.h" ] || stand_in "$include/$header.h"
            done
        done
        for path in $(matches "$folder/lib64/libcudart*") $(matches "$folder/lib/libcudart*"); do stand_in "$path"; done
        if [ -d "$host$folder/compat" ]; then record_libraries "$folder/compat"; fi
        if [ -d "$host$folder/lib64/stubs" ]; then stand_in "$folder/lib64/stubs/libcuda.so"; fi
    done
    for folder in $(matches /usr/local/cutlass) $(matches '/opt/cutlass*') /usr/local /usr; do
        [ -e "$host$folder/include/cutlass/version.h" ] || continue
        read_file "$folder/include/cutlass/version.h" | sed -nE '/^#define[[:space:]]+CUTLASS_(MAJOR|MINOR|PATCH)[[:space:]]+[0-9]+[[:space:]]*$/p' | put "$folder/include/cutlass/version.h"
        for header in cutlass/cutlass.h cute/tensor.hpp; do
            [ ! -e "$host$folder/include/$header" ] || stand_in "$folder/include/$header"
        done
    done
}
record_packages() {
    read_file /var/lib/dpkg/status | awk '
        /^Package: / { name = $2; state = version = "" }
        /^Status: / { state = $0 }
        /^Version: / { version = $2 }
        /^$/ { flush() }
        END { flush() }
        function flush() {
            if (name ~ /^(cuda|libnvidia|nvidia|libcud|libnccl|libcublas|libcutlass)[a-z0-9.+-]*$/ && version ~ /^[A-Za-z0-9.+~:-]+$/ && state ~ /^Status: [a-z]+ [a-z]+ [a-z-]+$/)
                printf "Package: %s\n%s\nVersion: %s\n\n", name, state, version
            name = ""
        }' >"$out/status"
    [ -s "$out/status" ] || { rm "$out/status"; return 0; }
    put /var/lib/dpkg/status <"$out/status"
    sed -n 's/^Package: //p' "$out/status" | while read -r name; do
        [ ! -e "$host/var/lib/dpkg/info/$name.list" ] || stand_in "/var/lib/dpkg/info/$name.list"
    done
    rm "$out/status"
}
record_python() {
    for folder in /usr/local/bin /usr/bin /opt/conda/bin /opt/venv/bin; do
        for path in $(matches "$folder/python3.[0-9]*"); do
            echo "${path##*/}" | grep -qE '^python3\.[0-9]+$' || continue
            [ "$(head -c 4 "$host$path" 2>/dev/null | tr -d '\177')" = ELF ] || continue
            base=${folder%/bin} minor=${path##*/python}
            program "$path"
            [ ! -e "$host$base/include/python$minor/Python.h" ] || stand_in "$base/include/python$minor/Python.h"
            for site in "$base/lib/python$minor/site-packages" /usr/lib/python3/dist-packages "/usr/local/lib/python$minor/dist-packages"; do
                [ ! -e "$host$site/pip/__main__.py" ] || stand_in "$site/pip/__main__.py"
            done
        done
    done
    for name in g++ c++ git uv ninja apt-get; do
        for folder in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin; do program "$folder/$name"; done
    done
    for site in $(matches '/opt/*/lib/python3.*/site-packages') $(matches '/opt/*/.venv/lib/python3.*/site-packages') \
        $(matches '/opt/conda/envs/*/lib/python3.*/site-packages') $(matches '/venv/*/lib/python3.*/site-packages') \
        $(matches '/workspace/*venv*/lib/python3.*/site-packages') $(matches "$home/.venv/lib/python3.*/site-packages") \
        $(matches "$home/.local/lib/python3.*/site-packages") $(matches '/usr/local/lib/python3.*/*-packages') $(matches '/usr/lib/python3/dist-packages'); do
        record_site "$site"
    done
}
record_site() { # FOLDER: its torch, if it has one; the names of what is beside it only where they are known
    version=$(read_file "$1/torch/version.py" | sed -nE "/^(__version__|cuda)(: [][A-Za-z]+)? = ('[0-9][0-9a-z.+]*'|None)\$/p")
    [ -n "$version" ] || return 0
    torches=$((torches + 1))
    name=$(mapped "$1")
    case $name in
        /opt/conda/envs/*) name=/opt/conda/envs/torch-$torches/${name#/opt/conda/envs/*/} ;;
        /opt/conda/* | /opt/venv/* | /opt/torch/*) ;;
        /opt/* | /venv/*) name=/${name#/} && top=${name#/*/} && name=${name%%/"$top"}/torch-$torches/${top#*/} ;;
        /workspace/*) name=/workspace/venv-$torches/${name#/workspace/*/} ;;
    esac
    echo "$version" | put "$name/torch/version.py"
    for info in $(matches "$1/*.dist-info"); do
        info=${info##*/}
        echo "$info" | grep -qE '^(torch|torchvision|torchaudio|triton|xformers|vllm|flash_attn|bitsandbytes|numpy|pip|setuptools|wheel|ninja|nvidia_[a-z0-9_]+|cuda_[a-z0-9_]+|fbgemm_gpu)-[0-9][0-9A-Za-z.+_]*\.dist-info$' || continue
        echo 'torch/version.py,,' | put "$name/$info/RECORD" # a list that nothing is missing of
    done
    architectures=$(tr '\000' '\n' <"$host$1/torch/lib/libtorch_python.so" 2>/dev/null | grep -aE '^(sm|compute)_[0-9]+[af]?( (sm|compute)_[0-9]+[af]?)*$' | sed -n 1p || true)
    [ -z "$architectures" ] || printf '\000%s\000' "$architectures" | put "$name/torch/lib/libtorch_python.so"
    [ ! -e "$host${1%/lib/python3*}/bin/python" ] || stand_in "${name%/lib/python3*}/bin/python"
}

# --- what is no file ---

record_host() {
    echo "format 1"
    echo "gpu $([ -s "$out/nvidia-smi-q.xml" ] && echo yes || echo no)"
    [ -z "$host" ] || return 0
    echo "root $([ "$(id -u)" = 0 ] && echo yes || echo no)"
    echo "arch $(uname -m | tr -cd 'a-z0-9_')"
    (getconf GNU_LIBC_VERSION 2>/dev/null || true) | sed -nE 's/^glibc ([0-9.]+)$/glibc \1/p'
    (g++ -dumpfullversion -dumpversion 2>/dev/null || true) | sed -nE 's/^([0-9.]+)$/compiler \1/p'
    df -Pk / 2>/dev/null | awk 'NR == 2 && $4 ~ /^[0-9]+$/ { print "free_kib " $4 }'
    python=$(command -v python3 || true)
    [ -z "$python" ] || ask "$python" -c '
import ctypes, re
try:
    cuda = ctypes.CDLL("libcuda.so.1")
except OSError:
    raise SystemExit
number = ctypes.c_int()
path = re.search(r"(/\S*/libcuda\.so\S*)", open("/proc/self/maps").read())
if path and re.fullmatch(r"/(usr|lib|lib64|opt)/[\w./+-]+", path.group(1)):
    print("libcuda", path.group(1))
if cuda.cuDriverGetVersion(ctypes.byref(number)) == 0:
    print("driver_api", number.value)
code = cuda.cuInit(0)
print("cuinit", code)
if code == 0 and cuda.cuDeviceGetCount(ctypes.byref(number)) == 0:
    print("cuda_devices", number.value)
'
}

# --- the last look ---

names() { # what this host and its users are called, one a line
    { read_file /etc/hostname; read_file /etc/passwd | awk -F: '$3 >= 1000 && $3 < 60000 { print $1; print $5 }'
        [ -n "$host" ] || { uname -n; id -un; echo "${SUDO_USER:-}"; echo "${LOGNAME:-}"; }
        basename "$home"; } | tr ',' '\n' |
        awk 'length($0) > 3 && tolower($0) !~ /^(root|user|ubuntu|debian|linux|nobody|nvidia|cuda|conda|python|docker|localhost|workspace|runner|torch|default|admin)$/' | sort -u
}
bare='[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}|([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}'
bare="$bare|[A-Za-z0-9._-]+@[A-Za-z0-9-]+\.[a-z]|[0-9A-Fa-f]{1,4}::[0-9A-Fa-f]|([0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]"
dotted='(^|[^0-9A-Za-z.])([0-9]{1,3}\.){3}[0-9]{1,3}([^0-9.]|$)' # as packages' versions are, too
check() {
    names >"$out/names"
    find "$out" >"$out/paths.txt"
    find "$out" -type f ! -name "names*" | while read -r file; do
        if [ -s "$out/names" ] && grep -qawFf "$out/names" "$file"; then echo "$file: the name of this host or of one of its users"; fi
        if grep -av "$zero" "$file" | grep -qaE "$bare"; then echo "$file: a UUID, a hardware, IP or e-mail address"; fi
        case $file in */dpkg/status | "$out/paths.txt") continue ;; esac
        if tr '\000' '\n' <"$file" | grep -avE '^(CUDA|NV_[A-Z_]+)_VERSION=' | grep -qaE "$dotted"; then echo "$file: an IP address"; fi
    done >"$out/names.found"
    found=$(cat "$out/names.found")
    rm "$out/names" "$out/paths.txt" "$out/names.found"
    [ -z "$found" ] && return 0
    rm -r "$out"
    printf 'The recording was deleted because it still contained private data:\n%s\n' "$found" >&2
    exit 1
}

torches=0
record_smi
record_driver
record_system
record_variables
record_start_up
record_loader
record_toolkits
record_packages
record_python
record_host >"$out/host.txt"
find "$root" -type l ! -exec test -e {} \; -exec rm {} \; # links to what was not kept
check
chmod -R u=rwX,go=rX "$out"
case $target in
    *.tar.gz)
        tar -czf "$target" -C "$(dirname "$out")" "$(basename "$out")"
        rm -r "$out"
        ;;
esac
echo "Recorded in $target. Review it before you share it."

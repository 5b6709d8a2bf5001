# shellcheck shell=sh disable=SC2154,SC3013  # the settings stand above, in the file made of this one; all our shells have -ef
# true where version $1 is older than $2, by three numbers; what is no version is never older
_podsmith_older() {
    case $1.$2 in
        .* | *. | *..* | *[!0-9.]* | *[0-9][0-9][0-9][0-9][0-9][0-9][0-9]*) return 1 ;;
    esac
    set -- "$1.0.0" "$2.0.0"
    for _podsmith_field in 1 2 3; do
        _podsmith_left=${1%%.*} _podsmith_right=${2%%.*}
        _podsmith_left=${_podsmith_left#0} _podsmith_right=${_podsmith_right#0}
        [ "${_podsmith_left:-0}" -lt "${_podsmith_right:-0}" ] && return 0
        [ "${_podsmith_left:-0}" -gt "${_podsmith_right:-0}" ] && return 1
        set -- "${1#*.}" "${2#*.}"
    done
    return 1
}

# _podsmith_found: the version which the libcuda in directory $1 carries in its file name
_podsmith_library() {
    _podsmith_found=
    [ -e "$1/libcuda.so.1" ] || return 0
    for _podsmith_file in "$1"/libcuda.so.*; do
        case ${_podsmith_file##*/libcuda.so.} in
            *.*) _podsmith_found=${_podsmith_file##*/libcuda.so.} ;;
        esac
    done
}

# true where the compat library may be used: the driver is of a listed branch, and no GPU is a GeForce or Titan (error 804), for
# one libcuda serves all GPUs of a process. A GPU whose device file is not beside those of others was not given to this container.
_podsmith_allowed() {
    case " ${_podsmith_branches:-${_podsmith_driver%%.*}} " in
        *" ${_podsmith_driver%%.*} "*) ;;
        *) return 1 ;;
    esac
    [ -d "$_podsmith_gpus" ] || return 0
    [ -z "${ZSH_VERSION-}" ] || setopt local_options null_glob
    _podsmith_front=
    for _podsmith_file in "$_podsmith_root"/dev/nvidia[0-9]*; do
        [ ! -e "$_podsmith_file" ] || _podsmith_front=$_podsmith_root/dev/nvidia
    done
    for _podsmith_file in "$_podsmith_gpus"/*/information; do
        [ -r "$_podsmith_file" ] || continue
        _podsmith_found=
        while IFS= read -r _podsmith_entry; do
            case $_podsmith_entry in
                Model:*GeForce* | Model:*TITAN* | Model:*Titan*) _podsmith_found=1 ;;
                'Device Minor:'*)
                    _podsmith_entry=${_podsmith_entry##*[!0-9]}
                    [ -z "$_podsmith_front" ] || [ -e "$_podsmith_front$_podsmith_entry" ] || _podsmith_found=
                    ;;
            esac
        done 2>/dev/null <"$_podsmith_file"
        [ -z "$_podsmith_found" ] || return 1
    done
}

# true where entry $1 of a search path is ours, of this or an earlier generation, or a compat directory that this driver must not get
_podsmith_ours() {
    case $1 in
        '') return 1 ;;
        "$_podsmith_prefix"/environments/* | "$_podsmith_prefix"/toolkits/*) return 0 ;;
        "$_podsmith_prefix"/cutlass/* | "$_podsmith_prefix"/compat/*) return 0 ;;
    esac
    case :$_podsmith_entries: in
        *":$1:"*) return 0 ;;
    esac
    case $1 in
        */compat | */compat/) _podsmith_library "$1" ;;
        */stubs | */stubs/)
            # linkers may find a stub, programs must not
            [ -n "$_podsmith_loading" ] && [ -e "$1/libcuda.so.1" ]
            return
            ;;
        *) return 1 ;;
    esac
    [ -n "$_podsmith_windows" ] && [ -n "$_podsmith_found" ] && return 0
    _podsmith_older "$_podsmith_found" "$_podsmith_driver"
}

# _podsmith_list: list $2, parted by $1, with $3 in the place of what is ours in it; at its start where nothing is
_podsmith_place() {
    _podsmith_rest=${2:+$2$1} _podsmith_own=${3:+$1$3} _podsmith_list=
    while [ -n "$_podsmith_rest" ]; do
        _podsmith_entry=${_podsmith_rest%%"$1"*}
        _podsmith_rest=${_podsmith_rest#*"$1"}
        if _podsmith_ours "$_podsmith_entry"; then
            _podsmith_list=$_podsmith_list$_podsmith_own _podsmith_own=
        else
            _podsmith_list=$_podsmith_list$1$_podsmith_entry
        fi
    done
    _podsmith_list=$_podsmith_own$_podsmith_list
    _podsmith_list=${_podsmith_list#"$1"}
}

# true where file $1 is the driver's own libcuda, or by its name a copy of it
_podsmith_native() {
    [ "$1" -ef "$_podsmith_native/libcuda.so.$_podsmith_version" ] && return 0
    [ -z "$_podsmith_windows" ] && [ "$1" -ef "${1%/*}/libcuda.so.$_podsmith_version" ]
}

# true where the loader's configuration puts another libcuda before the driver's or does not know the driver's folder, or
# where it is newer than the loader's cache, which no shell can read: what is in there is not known then. In a folder of
# the driver's own nothing stands before somebody else's library, so that one is always named.
_podsmith_astray() {
    [ -z "$_podsmith_alone" ] || return 0
    [ -z "${ZSH_VERSION-}" ] || setopt local_options null_glob
    _podsmith_found=$_podsmith_root/etc/ld.so.cache
    if [ -e "$_podsmith_found" ]; then
        [ "$_podsmith_root/etc/ld.so.conf.d" -nt "$_podsmith_found" ] && return 0
        [ "$_podsmith_root/etc/ld.so.conf" -nt "$_podsmith_found" ] && return 0
        for _podsmith_file in "$_podsmith_root/etc/ld.so.conf.d"/*.conf "$_podsmith_root/etc/ld.so.conf"; do
            [ -r "$_podsmith_file" ] || continue
            [ "$_podsmith_file" -nt "$_podsmith_found" ] && return 0
            while IFS=' 	:,' read -r _podsmith_entry _podsmith_rest || [ -n "$_podsmith_entry" ]; do
                case $_podsmith_entry in
                    /*) ;;
                    *) continue ;;
                esac
                _podsmith_entry=$_podsmith_root$_podsmith_entry/libcuda.so.1
                [ -e "$_podsmith_entry" ] || continue
                ! _podsmith_native "$_podsmith_entry"
                return
            done <"$_podsmith_file"
        done
    fi
    case $_podsmith_native in
        */lib64) [ ! -e "$_podsmith_native/libc.so.6" ] ;;
        *) return 1 ;;
    esac
}

# _podsmith_list: list $1 with the driver's folder before the first that has another libcuda; at its end where none has
# one, and the loader does not find the driver's
_podsmith_drive() {
    _podsmith_list=$1 _podsmith_rest=${1:+$1:} _podsmith_front=
    while [ -n "$_podsmith_rest" ]; do
        _podsmith_entry=${_podsmith_rest%%:*}
        if [ -e "${_podsmith_entry:-.}/libcuda.so.1" ]; then
            _podsmith_native "${_podsmith_entry:-.}/libcuda.so.1" && return
            _podsmith_list=$_podsmith_front$_podsmith_native:${_podsmith_rest%:} _podsmith_added=$_podsmith_native
            return
        fi
        _podsmith_front=$_podsmith_front$_podsmith_entry:
        _podsmith_rest=${_podsmith_rest#*:}
    done
    _podsmith_astray || return 0
    _podsmith_list=${1:+$1:}$_podsmith_native _podsmith_added=$_podsmith_native
}

# LD_PRELOAD without each libcuda that is neither the driver's nor, while compat is on, its; spaces part it as well
_podsmith_unload() {
    _podsmith_rest=$LD_PRELOAD: _podsmith_list=
    while [ -n "$_podsmith_rest" ]; do
        _podsmith_entry=${_podsmith_rest%%[ :]*}
        _podsmith_rest=${_podsmith_rest#*[ :]}
        case $_podsmith_entry in
            '') continue ;;
            */libcuda.so*)
                if [ ! -e "$_podsmith_entry" ]; then
                    :
                elif [ -n "$_podsmith_on" ]; then
                    [ "$_podsmith_entry" -ef "$_podsmith_on/libcuda.so.1" ] || continue
                else
                    _podsmith_native "$_podsmith_entry" || continue
                fi
                ;;
        esac
        _podsmith_list=$_podsmith_list:$_podsmith_entry
    done
    _podsmith_list=${_podsmith_list#:}
    if [ -n "$_podsmith_list" ]; then
        export LD_PRELOAD="$_podsmith_list"
    else
        unset LD_PRELOAD
    fi
}

_podsmith_noglob=
case $- in
    *f*) _podsmith_noglob=1 && set +f ;;
esac

# WSL2: the driver is Windows' own, in a folder of its own, and no compat library fits it.
_podsmith_windows=
if [ -e "$_podsmith_wsl/libcuda.so.1" ]; then
    _podsmith_windows=1
fi
_podsmith_driver=
if [ -r "$_podsmith_sys" ]; then
    { IFS=' ' read -r _podsmith_driver <"$_podsmith_sys"; } 2>/dev/null || :
elif [ -r "$_podsmith_proc" ]; then
    { IFS= read -r _podsmith_driver <"$_podsmith_proc"; } 2>/dev/null || :
    case $_podsmith_driver in
        'NVRM version:'*'  '*) _podsmith_driver=${_podsmith_driver#*'  '} && _podsmith_driver=${_podsmith_driver%% *} ;;
        *) _podsmith_driver= ;;
    esac
fi

# The driver's own libcuda: its folder, the version in its name, and whether nothing but a driver lies there.
_podsmith_native='' _podsmith_version=$_podsmith_driver _podsmith_alone=
if [ -n "$_podsmith_windows" ]; then
    _podsmith_native=$_podsmith_wsl _podsmith_version=1 _podsmith_alone=1
elif [ -n "$_podsmith_driver" ]; then
    for _podsmith_entry in usr/lib/x86_64-linux-gnu usr/lib/aarch64-linux-gnu usr/lib64 usr/lib alone \
        usr/lib/x86_64-linux-gnu/nvidia/current usr/lib/aarch64-linux-gnu/nvidia/current usr/lib/aarch64-linux-gnu/nvidia \
        usr/lib64/nvidia usr/lib/nvidia usr/lib64-nvidia usr/local/nvidia/lib64 usr/local/nvidia/lib run/opengl-driver/lib \
        .singularity.d/libs home/kubernetes/bin/nvidia/lib64 var/lib/nvidia/lib64 opt/nvidia/current/lib64 \
        opt/nvidia/current/usr/lib64 tegra \
        usr/lib/aarch64-linux-gnu/nvidia usr/lib/aarch64-linux-gnu/tegra; do
        case $_podsmith_entry in
            alone) _podsmith_alone=1 ;;
            tegra) _podsmith_version=1.1 ;;
        esac
        if [ -e "$_podsmith_root/$_podsmith_entry/libcuda.so.$_podsmith_version" ]; then
            _podsmith_native=$_podsmith_root/$_podsmith_entry
            break
        fi
    done
    # Debian's packages have a folder of the driver's own, and a link to it in the distribution's.
    for _podsmith_entry in usr/lib/x86_64-linux-gnu usr/lib/aarch64-linux-gnu usr/lib64; do
        if _podsmith_native "$_podsmith_root/$_podsmith_entry/libcuda.so.1"; then
            _podsmith_alone=
        fi
    done
fi

_podsmith_entries=$_podsmith_compat:${PODSMITH_DRIVER_LIBRARIES-}:${_podsmith_cutlass:+$_podsmith_cutlass/include}
if [ -n "$_podsmith_cuda" ]; then
    _podsmith_entries=$_podsmith_entries:$_podsmith_cuda/bin:$_podsmith_cuda/lib64:$_podsmith_cuda/lib64/stubs
fi
_podsmith_on=
if [ -n "$_podsmith_enabled" ] && [ -z "$_podsmith_windows" ]; then
    _podsmith_library "$_podsmith_compat"
    if _podsmith_older "$_podsmith_driver" "$_podsmith_found" && _podsmith_allowed; then
        _podsmith_on=$_podsmith_compat
    fi
fi
_podsmith_loading=1 _podsmith_added=
_podsmith_place : "${LD_LIBRARY_PATH-}" ''
_podsmith_loading=
if [ -n "$_podsmith_windows" ]; then
    # The loader knows Windows' folder by a file of WSL's; where that was lost, the folder is named here, after all others.
    case :$_podsmith_list: in
        *":$_podsmith_wsl:"*) ;;
        *) [ -e "$_podsmith_wslconf" ] || _podsmith_list=${_podsmith_list:+$_podsmith_list:}$_podsmith_wsl ;;
    esac
elif [ -n "$_podsmith_native" ] && [ "$_podsmith_native/libcuda.so.1" -ef "$_podsmith_native/libcuda.so.$_podsmith_version" ]; then
    _podsmith_drive "$_podsmith_list"
fi
_podsmith_list=$_podsmith_on${_podsmith_on:+${_podsmith_list:+:}}$_podsmith_list
if [ -n "$_podsmith_list" ]; then
    export LD_LIBRARY_PATH="$_podsmith_list"
else
    unset LD_LIBRARY_PATH
fi

# What was added is recorded, for a later sourcing to take it back where it is of no more use.
if [ -n "$_podsmith_added" ]; then
    export PODSMITH_DRIVER_LIBRARIES="$_podsmith_added"
else
    unset PODSMITH_DRIVER_LIBRARIES
fi
if [ -n "$_podsmith_native" ]; then
    case ${LD_PRELOAD-} in
        */libcuda.so*) _podsmith_unload ;;
    esac
fi

# Inside a virtual environment of the user's own its python stays first and its packages stay unbound.
case ${VIRTUAL_ENV-} in
    '' | "$_podsmith_prefix"/environments/*) ;;
    *) _podsmith_venv= ;;
esac
if [ -n "$_podsmith_venv" ]; then
    export VIRTUAL_ENV="$_podsmith_venv"
    _podsmith_place ' ' "${PIP_CONSTRAINT-}" "$_podsmith_venv/constraints.txt"
    export PIP_CONSTRAINT="$_podsmith_list"
    _podsmith_place ' ' "${UV_CONSTRAINT-}" "$_podsmith_venv/constraints.txt"
    export UV_CONSTRAINT="$_podsmith_list"
    # What an isolated build installs is bound by variables of its own: in pip from 25.3 on (from 26.2 on by these alone), in uv always.
    _podsmith_place ' ' "${PIP_BUILD_CONSTRAINT-}" "$_podsmith_venv/constraints.txt"
    export PIP_BUILD_CONSTRAINT="$_podsmith_list"
    _podsmith_place ' ' "${UV_BUILD_CONSTRAINT-}" "$_podsmith_venv/constraints.txt"
    export UV_BUILD_CONSTRAINT="$_podsmith_list"
fi
_podsmith_list=${_podsmith_venv:+$_podsmith_venv/bin}${_podsmith_cuda:+${_podsmith_venv:+:}$_podsmith_cuda/bin}
_podsmith_place : "${PATH-}" "$_podsmith_list"
export PATH="$_podsmith_list"

if [ -n "$_podsmith_cuda" ]; then
    export CUDA_HOME="$_podsmith_cuda"
    _podsmith_place : "${LIBRARY_PATH-}" "$_podsmith_cuda/lib64:$_podsmith_cuda/lib64/stubs"
    export LIBRARY_PATH="$_podsmith_list"
fi
# Linkers that are given -l:libcuda.so.1, as Triton does, search a distribution's folders anyway, a driver's own not.
if [ -n "$_podsmith_alone" ] && [ -n "$_podsmith_native" ]; then
    case :${LIBRARY_PATH-}: in
        *":$_podsmith_native:"*) ;;
        *) export LIBRARY_PATH="${LIBRARY_PATH:+$LIBRARY_PATH:}$_podsmith_native" ;;
    esac
fi
# Searched after every -I and -isystem of a build, so that a project's own copy of CUTLASS stays the one it sees.
if [ -n "$_podsmith_cutlass" ]; then
    export CUTLASS_HOME="$_podsmith_cutlass"
    _podsmith_place : "${CPLUS_INCLUDE_PATH-}" "$_podsmith_cutlass/include"
    export CPLUS_INCLUDE_PATH="$_podsmith_list"
fi
if [ -n "$_podsmith_architectures" ] && [ -z "${TORCH_CUDA_ARCH_LIST-}" ]; then
    export TORCH_CUDA_ARCH_LIST="$_podsmith_architectures"
fi
export PODSMITH_PREFIX="$_podsmith_prefix"

if [ -n "$_podsmith_noglob" ]; then
    set -f
fi
unset -f _podsmith_older _podsmith_library _podsmith_allowed _podsmith_ours _podsmith_place
unset -f _podsmith_native _podsmith_astray _podsmith_drive _podsmith_unload
unset _podsmith_prefix _podsmith_venv _podsmith_cuda _podsmith_cutlass _podsmith_enabled _podsmith_compat
unset _podsmith_branches _podsmith_gpus _podsmith_root _podsmith_native _podsmith_version _podsmith_own
unset _podsmith_architectures _podsmith_sys _podsmith_proc _podsmith_field _podsmith_left _podsmith_right
unset _podsmith_found _podsmith_file _podsmith_rest _podsmith_list _podsmith_entry _podsmith_front
unset _podsmith_noglob _podsmith_driver _podsmith_entries _podsmith_on _podsmith_wsl _podsmith_wslconf _podsmith_windows
unset _podsmith_loading _podsmith_added _podsmith_alone

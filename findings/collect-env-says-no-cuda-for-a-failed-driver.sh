#!/bin/sh
# torch.utils.collect_env writes "No CUDA" for GPUs and driver of a host without either, and the very same for one where
# nvidia-smi is there and fails, as it does after an upgrade of the driver that nobody rebooted for. What nvidia-smi said
# is dropped. So a pasted report with "No CUDA" does not tell that there is no GPU.
#
# Seen: 2026-12-01, torch 2.13.0+cpu on CPython 3.11, Linux x86_64.
# Matters: whoever reads such a report, or plans by it: a GPU host with a broken driver looks like one for the CPU.
# Instead: ask for the output of nvidia-smi itself, and its exit status.
# Needs: PYTHON=python3.11, and an index with PyTorch's wheels for the CPU (200 MB), such as
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install torch==2.13.0+cpu

mkdir "$work/bin"
# What nvidia-smi prints after such an upgrade, and its status.
cat >"$work/bin/nvidia-smi" <<'END'
#!/bin/sh
echo "Failed to initialize NVML: Driver/library version mismatch"
echo "NVML library version: 580.95"
exit 18
END
chmod +x "$work/bin/nvidia-smi"

read_fields() {
    PATH=$1 "$work/venv/bin/python" -m torch.utils.collect_env 2>/dev/null |
        grep -E '^(GPU models and configuration|Nvidia driver version|CUDA runtime version):'
}
without=$(read_fields /usr/bin:/bin)
failed=$(read_fields "$work/bin:/usr/bin:/bin")
printf 'without nvidia-smi:\n%s\nwith an nvidia-smi that fails:\n%s\n' "$without" "$failed"
if [ "$without" != "$failed" ] || [ "$(echo "$failed" | grep -c ': No CUDA$')" != 3 ]; then
    echo "changed: expected three times No CUDA on both"
    exit 1
fi

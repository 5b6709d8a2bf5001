#!/usr/bin/env bash
# What people run by hand to set up a rented H100: step after step, the same on every driver. It runs on the pod as root, as
# `ssh root@POD bash -s <by_hand.sh`, and prints a line "<seconds>\t<step>" when a step is done. The steps and their order are those of a script in
# daily use; only the places to fetch from are the mirror's, and wget, which the pods do not have, is Python.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
begin=${EPOCHREALTIME/./}

done_with() {
  local now=${EPOCHREALTIME/./}
  printf '%d.%03d\t%s\n' $(((now - begin) / 1000000)) $(((now - begin) / 1000 % 1000)) "$1" >&3
  begin=$now
}
exec 3>&1 >/tmp/setup.log

apt-get update
apt-get install -y git g++ ca-certificates gnupg python3-venv python3-dev
done_with "base tools"

python3 -c 'from urllib.request import urlretrieve; urlretrieve("http://mirror/cuda/repos/debian12/x86_64/cuda-keyring_1.1-1_all.deb", "/tmp/cuda-keyring.deb")'
dpkg -i /tmp/cuda-keyring.deb
apt-get update
apt-get install -y cuda-toolkit-13-0
done_with "CUDA toolkit"

apt-get install -y cuda-compat-13-0
done_with "forward compatibility"

git clone git://mirror/cutlass.git /opt/cutlass
git -C /opt/cutlass checkout v4.3.0
done_with "CUTLASS"

python3 -m venv /opt/venv # Debian's own Python takes no packages from pip
# shellcheck disable=SC1091
. /opt/venv/bin/activate
pip install torch==2.9.0+cu130 torchvision==0.24.0+cu130 torchaudio==2.9.0+cu130 --index-url http://mirror/whl/cu130
done_with "PyTorch"

pip install xformers vllm==0.11.2 triton
done_with "xFormers, vLLM, Triton"

cat >>~/.bashrc <<'EXPORTS'
export CUDA_HOME=/usr/local/cuda-13.0
export CUTLASS_HOME=/opt/cutlass
export PATH=/opt/venv/bin:$CUDA_HOME/bin:$PATH
export LD_LIBRARY_PATH=$CUDA_HOME/compat:$CUDA_HOME/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
EXPORTS
# shellcheck disable=SC1090
. ~/.bashrc
nvcc --version
test -e "$CUDA_HOME/compat/libcuda.so.1"
python -c 'import torch; print(torch.__version__, torch.version.cuda); print(torch.cuda.get_device_name(0))'
test -e "$CUTLASS_HOME/include/cutlass/cutlass.h"
done_with "verification"

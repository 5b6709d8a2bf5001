# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for PyTorch, of the collection's simulated pods: it says which build it is and what CUDA it meets.

There are no tensors. Whether CUDA can start is answered by NVIDIA's own runtime, from the package on which it depends.
"""

from torch import _C, cuda, version

__version__ = version.__version__
__all__ = ["_C", "__version__", "cuda", "version"]

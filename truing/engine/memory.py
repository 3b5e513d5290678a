"""How a process on the CPU holds on to memory between the steps of a training run."""

import ctypes
import platform

# Parameters of the C library's `mallopt`, from its <malloc.h>.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_MOST = 2**31 - 1
_LARGEST_FROM_THE_HEAP = 2**30


def give_back_freed_memory() -> None:
    """Give the system what is free at this moment: what loading a model and its proof took."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def keep_freed_memory() -> bool:
    """Keep what is freed for the next step, instead of giving it back to the system each time.

    A step allocates and frees hundreds of buffers of megabytes. By default each is mapped anew, and
    the kernel clears every page on first touch: a tenth of a step. The highest use of memory stays
    what it is; what lies under it is kept until the process ends. True where the C library can.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    kept = library.mallopt(_TRIM_THRESHOLD, _MOST)
    return bool(kept and library.mallopt(_MMAP_THRESHOLD, _LARGEST_FROM_THE_HEAP))

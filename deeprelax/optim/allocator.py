"""The C library's allocator, set for training on CPUs. Imports nothing but the standard library."""

from __future__ import annotations

import ctypes
import platform


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, for training on CPUs; False where the C library is not glibc.

    To be called once, before training: what was allocated earlier may still go back. `deeprelax train` does it by
    itself. Memory on a GPU is not the C library's: there it changes nothing.

    By default glibc returns large blocks to the system when they are freed, and each pass gets its activations again
    as new pages, zeroed one by one. With this, blocks of up to 32 MiB stay with the process and are used again. Forward
    and backward passes of 128 images were 1.6 times as fast with LeNet, 1.2 times with WRN-16-4 and All-CNN
    (docs/performance.md).

    What it costs: freed memory is lent to no other process before this one ends, and the heap grows in steps of 64 MiB.
    Peak memory was that without it for LeNet and WRN-16-4, and 9 % more for All-CNN. It holds for the whole process
    and for those forked from it, and has no effect on another allocator, as a preloaded jemalloc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # M_... in malloc.h
    wanted = {trim_threshold: 2**31 - 1, top_pad: 2**26, mmap_threshold: 2**25}  # bytes; the last is glibc's maximum
    return all(library.mallopt(option, size) for option, size in wanted.items())

"""Keep freed host memory in the process (glibc)."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # malloc.h


def keep_freed() -> None:
    """Make glibc keep freed memory for the next allocation; do nothing with another C library.

    XLA's CPU client allocates a program's temporaries anew for every call. By default glibc maps and unmaps blocks of
    that size, so every step faults in and zeroes every page again, which takes a tenth of a small model's step. The
    process never shrinks after this call. Memory of accelerators is not affected.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(M_ARENA_MAX, 1)  # all threads share the one heap that can grow without bound
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)

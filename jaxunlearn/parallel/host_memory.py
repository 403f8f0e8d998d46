"""What glibc does with host memory that is freed: kept in the process for small models, returned for large ones."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -3, -4, -8  # malloc.h
LARGE = 2**26  # bytes of fp32 weights from which a model is large
MAPPED = 2**25  # bytes of a block that glibc maps by itself at the latest


def keep_freed() -> None:
    """Make glibc keep freed memory for the next allocation; do nothing with another C library.

    XLA's CPU client allocates a program's temporaries anew for every call. By default glibc maps and unmaps blocks of
    that size, so every step faults in and zeroes every page again, which takes a tenth of a small model's step. The
    process never shrinks after this call. Memory of accelerators is not affected.
    """
    if mallopt := _of_glibc("mallopt"):
        mallopt(M_ARENA_MAX, 1)  # all threads share the one heap that can grow without bound
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def return_freed(weights: int) -> None:
    """Undo keep_freed for blocks of 32 MiB and more where a model, read or made, has LARGE bytes or more.

    A large model's temporaries are gigabytes in one block. In a heap that never shrinks, smaller blocks come to lie
    where it was, so that the next one does not fit there any more, and the heap grows to several times what is in use
    (docs/benchmarks.md, "Host memory"). Blocks that are mapped by themselves cannot be split so.
    """
    mallopt, trim = _of_glibc("mallopt"), _of_glibc("malloc_trim")
    if weights >= LARGE and mallopt and trim:
        mallopt(M_MMAP_MAX, 2**16)
        mallopt(M_MMAP_THRESHOLD, MAPPED)
        trim(0)


def _of_glibc(name: str):
    return getattr(ctypes.CDLL(None), name, None)

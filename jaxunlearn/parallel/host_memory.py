"""What the C library does with memory that a step gives back."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # malloc.h


def keep_freed() -> None:
    """Keep freed memory for the next allocation instead of giving it to the system, where the C library is glibc.

    XLA's CPU client allocates a program's temporaries anew for every call. By default glibc maps blocks of that size
    and unmaps them again, and every page is then faulted in and zeroed in every step: a tenth of a small model's step.
    The process stays as large as it has been at its largest; memory of accelerators is not concerned.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(M_ARENA_MAX, 1)  # all threads share the one heap that can grow without bound
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)

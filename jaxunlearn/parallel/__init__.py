"""Devices and processes: the mesh, several processes as one run, preemption, progress."""

"""Speed and size: plans compiled for machines that are not here, and benchmarks."""

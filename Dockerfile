# jaxunlearn for CPUs and for NVIDIA GPUs. Checked by a linter and by tests/test_distribution.py, but never built: where
# the project is developed there is no Docker. Say so in an issue if a line of it does not hold.
#
#   docker build --target cpu -t jaxunlearn .
#   mkdir -p runs && docker run --rm -v "$PWD/runs:/work/runs" jaxunlearn demo
#   docker build --target cuda -t jaxunlearn:cuda .
#   docker run --rm --gpus all -v "$PWD:/work" jaxunlearn:cuda demo
#
# What is mounted must be writable by user 1000 (`sudo chown 1000 runs` where you are another); a folder that is not
# there Docker makes for root.
# CUDA itself comes with JAX's wheels: the host needs the driver and NVIDIA's container toolkit alone.

FROM python:3.12-slim AS source
WORKDIR /opt/jaxunlearn
COPY setup.py pyproject.toml README.md LICENSE ./
COPY jaxunlearn jaxunlearn
COPY configs configs
# the folder that a user mounts; whoever runs the image need not be root
RUN useradd --create-home --uid 1000 user && mkdir -p /work/runs && chown -R user /work

FROM source AS cpu
# setup.py has the ranges of versions; hadolint takes a folder for a package
# hadolint ignore=DL3013
RUN pip install --no-cache-dir '.[gguf,eval]'
USER 1000
WORKDIR /work
ENTRYPOINT ["jaxunlearn"]
CMD ["--help"]

FROM source AS cuda
# setup.py has the ranges of versions; hadolint takes a folder for a package
# hadolint ignore=DL3013
RUN pip install --no-cache-dir '.[gpu,gguf,eval]'
USER 1000
WORKDIR /work
ENTRYPOINT ["jaxunlearn"]
CMD ["--help"]

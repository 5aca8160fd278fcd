# Three images: `node` (neuron and broker), `coordinator`, and `dashboard` (the live page).
#
# All packages are pinned and checked against a hash (requirements/). The images contain no pip, no build tools and no
# sources. A change of the code changes only the last, small layer.

FROM python:3.13-slim AS base
# One BLAS thread: more threads would compete for the cores, and change the last bits of results.
# Bytecode is compiled when the image is built, because the programs run on a read-only file system.
ENV PATH=/opt/exmachina/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    OPENBLAS_NUM_THREADS=1 \
    OMP_NUM_THREADS=1 \
    MKL_NUM_THREADS=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1


# An empty environment, and beside it the pip that fills it: only with wheels, and without a cache.
FROM base AS environment
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ONLY_BINARY=:all: \
    PIP_NO_DEPS=1
RUN python -m venv /opt/pip && python -m venv --without-pip /opt/exmachina


# The requirements of a neuron: pyzmq, msgpack, numpy, PyNaCl.
FROM environment AS node-environment
COPY requirements/node.txt /requirements/
RUN /opt/pip/bin/pip --python /opt/exmachina/bin/python install --require-hashes --requirement /requirements/node.txt


# The requirements of the coordinator: the same, and its extra.
FROM node-environment AS coordinator-environment
COPY requirements/coordinator.txt /requirements/
RUN /opt/pip/bin/pip --python /opt/exmachina/bin/python install --require-hashes --requirement /requirements/coordinator.txt


# The requirements of the live page: those of the coordinator, and its extra.
FROM coordinator-environment AS dashboard-environment
COPY requirements/dashboard.txt /requirements/
RUN /opt/pip/bin/pip --python /opt/exmachina/bin/python install --require-hashes --requirement /requirements/dashboard.txt


# The project itself, built by a pinned setuptools, in an environment with the same path.
FROM environment AS program
COPY requirements/build.txt /requirements/
RUN /opt/pip/bin/pip install --require-hashes --requirement /requirements/build.txt
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY neuron_node neuron_node
COPY coordinator coordinator
RUN /opt/pip/bin/pip wheel --no-build-isolation --wheel-dir /wheel . \
    && /opt/pip/bin/pip --python /opt/exmachina/bin/python install --no-index /wheel/*.whl


FROM base AS runtime
# A fixed user id, so that a volume keeps its owner when the image changes.
RUN groupadd --gid 10001 exmachina \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin exmachina
# New volumes with keys that are mounted here get this owner and these modes.
RUN install --directory --owner exmachina --group exmachina /keys /keys/public \
    && install --directory --owner exmachina --group exmachina --mode 0700 \
        /keys/broker /keys/coordinator /keys/node /keys/operator /keys/viewer
LABEL org.opencontainers.image.title="Exmachina" \
      org.opencontainers.image.licenses="MIT"


# The packages of the three images. Each image has those of the one before it in the same layer, so that the machine
# stores them once; its own layer has only what is new.
FROM runtime AS node-packages
COPY --from=node-environment /opt/exmachina /opt/exmachina


FROM node-packages AS coordinator-packages
RUN --mount=type=bind,from=coordinator-environment,source=/opt/exmachina,target=/packages \
    tar --create --directory /packages . | tar --extract --skip-old-files --directory /opt/exmachina


FROM coordinator-packages AS dashboard-packages
RUN --mount=type=bind,from=dashboard-environment,source=/opt/exmachina,target=/packages \
    tar --create --directory /packages . | tar --extract --skip-old-files --directory /opt/exmachina


FROM coordinator-packages AS coordinator
LABEL org.opencontainers.image.description="Coordinator of a neural network in which every neuron is a program of its own"
# The folder for data sets that scikit-learn fetches: the root is read-only.
ENV SCIKIT_LEARN_DATA=/runs/datasets
# A new volume that is mounted here gets this owner.
RUN install --directory --owner exmachina --group exmachina /runs
COPY --from=program /opt/exmachina /opt/exmachina
# The base image has no bytecode of the standard library: compile the modules that the programs import.
RUN PYTHONDONTWRITEBYTECODE= coordinator --version
USER exmachina
CMD ["coordinator", "serve"]


FROM dashboard-packages AS dashboard
LABEL org.opencontainers.image.description="The live page of a neural network in which every neuron is a program of its own"
COPY --from=program /opt/exmachina /opt/exmachina
RUN PYTHONDONTWRITEBYTECODE= python -c "import coordinator.dashboard.server"
USER exmachina
EXPOSE 8420
CMD ["coordinator", "dashboard", "--host", "0.0.0.0"]


# This stage is the last one, so that a plain `docker build .` makes the image of a neuron.
FROM node-packages AS node
LABEL org.opencontainers.image.description="One neuron of a neural network in which every neuron is a program of its own"
COPY --from=program /opt/exmachina /opt/exmachina
RUN PYTHONDONTWRITEBYTECODE= neuron-node --version \
    && PYTHONDONTWRITEBYTECODE= neuron-broker --version
USER exmachina
CMD ["neuron-node"]

# The scanner as a container: docs/docker.md says how to build, run and schedule it.
#
# Any Debian-like base with python3 3.11 to 3.14 and venv will do; both stages must use the same one, because the
# environment made in the first points at that base's interpreter.
ARG BASE_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# Two environments: one that builds wheels, and the one that is shipped, which never sees pip or a build tool.
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/venv && mkdir /empty
# The lock files first, so that a change of source does not fetch the dependencies again. The secret is optional: a pip
# configuration (index, proxy, certificates) for networks that need one, present in these steps and never in the image.
COPY requirements-build.lock requirements.lock ./
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    /opt/build/bin/python -m pip install --require-hashes -r requirements-build.lock
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    /opt/build/bin/python -m pip wheel --require-hashes --no-build-isolation -r requirements.lock --wheel-dir /wheels
COPY pyproject.toml README.md LICENSE targets.example.txt ./
COPY templates templates
COPY scanner scanner
# Bytecode is compiled here, since nothing can be written later; unchecked, so that no file time can make it stale.
RUN /opt/build/bin/python -m pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/build/bin/python -m pip --python /opt/venv/bin/python install --no-index --no-deps --no-compile /wheels/*.whl \
    && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib

FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Entra TLS Scanner" \
      org.opencontainers.image.description="Measures which TLS versions hosts on the path to Microsoft Entra device registration accept, with evidence" \
      org.opencontainers.image.licenses="AGPL-3.0-or-later" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# No CA certificates are added: trust is judged with the stores that sslyze carries.
COPY --from=build /opt/venv /opt/venv
# Everything the user gives and gets is in /data; the rest of the file system may be read-only.
COPY --from=build --chown=10001:10001 /empty /data
# HOME does not exist on purpose: whatever would write there should fail in our tests and not on a user's cluster.
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/nonexistent
USER 10001:10001
WORKDIR /data
VOLUME /data
# As Ctrl-C: what was learned is kept and reported. A first process that has no handler ignores SIGTERM anyway.
STOPSIGNAL SIGINT
ENTRYPOINT ["/opt/venv/bin/entra-tls"]
CMD ["scan", "--file", "/data/targets.txt", "--html", "/data/report.html", "--json", "/data/report.json", \
     "--csv", "/data/report.csv", "--db", "/data/runs.sqlite"]

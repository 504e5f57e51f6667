# The operator's image (the last stage, so the default), and with --target examples the worker and publisher
# of the local stack. Versions come from constraints.txt; only the wheels stage reaches the network.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS wheels
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE THIRD_PARTY.md ./
COPY natsscaler/__init__.py natsscaler/
ENV PIP_CONSTRAINT=/source/constraints.txt PIP_BUILD_CONSTRAINT=/source/constraints.txt PIP_NO_CACHE_DIR=1
# The dependencies make a layer of their own, which a change of the code leaves in the cache.
RUN pip install --upgrade --constraint constraints.txt pip \
 && pip wheel --wheel-dir /wheels .
COPY natsscaler natsscaler
RUN pip wheel --no-deps --wheel-dir /wheels . \
 && python -m venv --without-pip /opt/natsscaler \
 && pip --python /opt/natsscaler install --no-index --no-compile --no-deps /wheels/*.whl \
 && python -m compileall -q -x /kubernetes/client/ --invalidation-mode unchecked-hash /opt/natsscaler/lib

FROM ${PYTHON_IMAGE} AS runtime
COPY --from=wheels /opt/natsscaler /opt/natsscaler
ENV PATH=/opt/natsscaler/bin:$PATH
# No package manager for Python stays, whether the base has its pip from python.org or from Debian. The last import
# leaves the bytecode of the standard library's modules in use, since at run time the file system is read-only.
RUN packages=$(/usr/local/bin/python -c 'import os, pip; print(os.path.dirname(*pip.__path__))') \
 && rm -rf "$packages"/pip "$packages"/pip-*.dist-info /usr/local/bin/pip* /usr/bin/pip* \
    "$(python -c 'import ensurepip; print(*ensurepip.__path__)')" \
 && python -c 'import natsscaler.app.cli, natsscaler.app.healthcheck'
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /

FROM runtime AS examples
COPY examples/*.py /opt/examples/
WORKDIR /opt/examples
ENTRYPOINT ["python"]
CMD ["worker.py"]

FROM runtime AS natsscaler
EXPOSE 8080 8081 8082
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-m", "natsscaler.app.healthcheck"]
ENTRYPOINT ["natsscaler"]
CMD ["run"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="natsscaler" \
      org.opencontainers.image.description="Scales Kubernetes Deployments on NATS JetStream backlog, by events instead of polling" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

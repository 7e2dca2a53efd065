# syntax=docker/dockerfile:1
# One image for every process of the service. A change of source rebuilds the last two layers only.
#   docker compose build                                     the build of torch that PyPI has, for NVIDIA GPUs and CPUs
#   docker compose build --build-arg TORCH_INDEX=URL         another one, such as the smaller CPU build of torch's own index

FROM python:3.13-slim-trixie AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/autointerp
ENV PATH=/opt/autointerp/bin:$PATH
WORKDIR /src
COPY constraints.txt pyproject.toml ./

# By far the largest, and alone: it stays when other packages change.
ARG TORCH_INDEX=
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$(grep '^torch==' constraints.txt)"

# What the project needs, without the project: read from pyproject.toml, so that source does not matter yet.
RUN --mount=type=cache,target=/root/.cache/pip \
    python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; e = p["optional-dependencies"]; print(*p["dependencies"], *(n for x in ("anthropic", "openai", "service", "s3", "flower") for n in e[x]), sep="\n")' > needs.txt \
    && pip install --constraint constraints.txt --requirement needs.txt "hatchling>=1.26"

COPY README.md LICENSE ./
COPY rubrics rubrics
COPY sae sae
COPY workers workers
COPY autointerp autointerp
RUN pip install --no-deps --no-build-isolation .

FROM python:3.13-slim-trixie
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home --home-dir /home/autointerp autointerp \
    && install --directory --owner autointerp --group autointerp /srv/results /srv/artifacts /var/lib/autointerp
COPY --from=build /opt/autointerp /opt/autointerp
ENV PATH=/opt/autointerp/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    AUTOINTERP_RESULTS=/srv/results \
    AUTOINTERP_LOG=json
USER 1000:1000
WORKDIR /srv
ENTRYPOINT ["tini", "--"]
CMD ["autointerp", "--help"]

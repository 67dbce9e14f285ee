# CPU image:  docker build -t kdrec .
# GPU image:  docker build -t kdrec:gpu --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126 .
#             (any index of a CUDA build of the torch pinned in constraints.txt; run with --gpus all)
# Use:        docker run --rm -v kdrec:/data kdrec python -m flows.study flows/studies/quickstart.toml
#             docker run --rm -v kdrec:/data kdrec kdrec suggest sms_spam --student small
#             compose.yaml runs the servers of a team from this image
FROM python:3.11-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

ENV PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    GIT_PYTHON_REFRESH=quiet \
    MLFLOW_DISABLE_TELEMETRY=true \
    PREFECT_SERVER_ANALYTICS_ENABLED=false

RUN useradd --create-home --uid 10001 kdrec \
    && install --directory --owner=kdrec --group=kdrec /data /artifacts

WORKDIR /opt/kdrec
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY models models
COPY kdrec kdrec
RUN pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" --constraint constraints.txt ".[server,s3]"

COPY prefect.yaml ./
COPY flows flows

USER 10001
ENV KDREC_HOME=/data
VOLUME /data
CMD ["kdrec", "--help"]

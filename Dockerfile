# The server with the default classifier, on the processor. It is reached at port 8000:
#
#   docker build --tag vggface-gender .
#   docker run --rm --publish 127.0.0.1:8000:8000 vggface-gender
#
# TensorFlow is not in it: answers come from ONNX Runtime.
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml setup.py README.md LICENSE ./
COPY vggface_gender vggface_gender
COPY model_files/default model_files/default
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir '.[serve]'

FROM python:3.12-slim
COPY --from=build /opt/venv /opt/venv
RUN useradd --uid 1000 --no-create-home server
USER 1000
WORKDIR /tmp
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=4)"]
ENTRYPOINT ["vggface-gender", "serve", "--host", "0.0.0.0", "--port", "8000"]

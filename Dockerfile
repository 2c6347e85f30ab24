# One image for every process of the Procfile.
FROM python:3.13-slim AS build
RUN pip install --no-cache-dir uv==0.*
WORKDIR /build
COPY requirements/runtime.txt requirements/
RUN uv venv /venv && uv pip install --python /venv/bin/python --no-cache --require-hashes -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY worker worker
COPY migrations migrations
RUN uv pip install --python /venv/bin/python --no-cache --no-deps .

FROM python:3.13-slim
RUN useradd --create-home --uid 10001 cyclr
COPY --from=build /venv /venv
COPY alembic.ini /app/
COPY migrations /app/migrations
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /app
USER cyclr
CMD ["cyclr-bulk", "--help"]

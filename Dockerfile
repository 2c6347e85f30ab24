# One image for every process of the Procfile. All of Python in it is compiled: no process writes to the image, so what is
# not compiled here would be compiled anew at every start and every check of health.
FROM python:3.13.14-slim-trixie AS build
RUN pip install --no-cache-dir uv==0.13.9
ENV UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never
WORKDIR /build
COPY requirements requirements
RUN uv venv /venv && uv pip install --python /venv/bin/python --require-hashes -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY worker worker
COPY migrations migrations
RUN uv pip install --python /venv/bin/python --no-deps --build-constraints requirements/dev.txt .
COPY alembic.ini /app/
COPY migrations /app/migrations
RUN python -m compileall -q /app/migrations

FROM python:3.13.14-slim-trixie
# The base image comes without the compiled form of the standard library.
RUN python -m compileall -q -x site-packages "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && useradd --create-home --uid 10001 cyclr
COPY --from=build /venv /venv
COPY --from=build /app /app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER cyclr
CMD ["cyclr-bulk", "--help"]

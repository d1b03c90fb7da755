# The product in one image: run it as `receiver`, `worker cdrs`, `scheduler`, `migrate` or any other `cdr` command.

FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# Two environments: what runs, which is copied, and what builds, which stays behind.
RUN python -m venv --without-pip /opt/cdr && python -m venv --without-pip builder
# Dependencies change seldom and come first, so that a change of the code repeats only the last steps.
COPY requirements/image.txt requirements/build.txt requirements/
RUN pip --python /opt/cdr/bin/python install --require-hashes -r requirements/image.txt
RUN pip --python builder/bin/python install --require-hashes -r requirements/build.txt
COPY . .
RUN pip --python builder/bin/python wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && pip --python /opt/cdr/bin/python install --no-deps dist/*.whl

FROM python:3.13-slim
# A fixed number, so that files in volumes keep their owner from one image to the next. Volumes take over the owner of
# the folders that they are mounted on.
RUN groupadd --gid 10001 cdr \
    && useradd --uid 10001 --gid cdr --no-create-home --home-dir /var/lib/cdr --shell /usr/sbin/nologin cdr \
    && install -d -o cdr -g cdr -m 0750 /var/lib/cdr /var/lib/cdr/recordings /var/lib/cdr/spool
COPY --from=build /opt/cdr /opt/cdr
# With the RQ_ classes stock `rq` commands are as safe as ours: see common/job_queue.py.
ENV PATH=/opt/cdr/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RQ_JOB_CLASS=common.job_queue.CdrJob \
    RQ_QUEUE_CLASS=common.job_queue.CdrQueue \
    RQ_WORKER_CLASS=worker.queue_worker.CdrWorker
USER 10001:10001
WORKDIR /var/lib/cdr
STOPSIGNAL SIGTERM
ENTRYPOINT ["cdr"]
CMD ["--help"]

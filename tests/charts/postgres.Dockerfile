# For image_test.py: PostgreSQL with wal2json in a pod, on the port PGPORT of loopback, without passwords.
FROM docker.io/library/debian:bookworm-slim
RUN apt-get update && \
    apt-get install -y --no-install-recommends postgresql-common && \
    sed -i 's/^#create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf && \
    apt-get install -y --no-install-recommends postgresql-15 postgresql-15-wal2json && \
    rm -rf /var/lib/apt/lists/* && install -d -o 65532 -g 65532 /data
RUN echo 'postgres:x:65532:65532::/data:/bin/sh' >>/etc/passwd
COPY postgres-in-a-pod /usr/bin/
USER 65532:65532
ENTRYPOINT ["/usr/bin/postgres-in-a-pod"]

# 15.19 or later: compose.yaml gives it output_plugin_libraries, and servers before do not start with a setting they do not know.
# `docker compose build --pull` fetches it where an older one is kept.
FROM postgres:15
RUN apt-get update && apt-get install -y --no-install-recommends postgresql-15-wal2json && rm -rf /var/lib/apt/lists/*

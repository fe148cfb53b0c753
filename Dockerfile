# The sidecar on Debian 12. Build: `docker build -t syncflow-sidecar:0.1.0 .`, or the same with podman or buildah.
# It runs as nobody in particular, with a root file system that is read-only, and writes only below /var/lib/syncflow-sidecar.
FROM docker.io/library/debian:bookworm-slim AS build
WORKDIR /src
COPY scripts/setup scripts/setup
RUN scripts/setup build && rm -rf /var/lib/apt/lists/*
COPY CMakeLists.txt CMakePresets.json LICENSE ./
COPY cmake cmake
COPY config config
COPY adapter adapter
COPY replication replication
COPY sidecar sidecar
RUN --mount=type=cache,target=/ccache \
    CCACHE_DIR=/ccache && export CCACHE_DIR && \
    cmake --preset release -D BUILD_TESTING=OFF -D CMAKE_EXE_LINKER_FLAGS=-s && \
    cmake --build --preset release --target syncflow-sidecar

FROM docker.io/library/debian:bookworm-slim
RUN apt-get update && \
    apt-get install -y --no-install-recommends ca-certificates libpq5 libssl3 libsimdjson14 libyaml-cpp0.7 \
      libprometheus-cpp-core1.0 libcivetweb1 libspdlog1.10 libisal2 libxxhash0 libcctz2 tzdata && \
    rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/* && \
    install -d -o 65532 -g 65532 -m 0700 /var/lib/syncflow-sidecar
COPY --from=build /src/build/release/syncflow-sidecar /usr/bin/
COPY --from=build /src/LICENSE /src/config/sidecar.example.yaml /usr/share/doc/syncflow-sidecar/
LABEL org.opencontainers.image.title="syncflow-sidecar" \
      org.opencontainers.image.description="Hands every change of a SyncFlow database on PostgreSQL to consumers" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT"
USER 65532:65532
EXPOSE 7433 9464
ENTRYPOINT ["/usr/bin/syncflow-sidecar"]
CMD ["run", "--config", "/etc/syncflow-sidecar/sidecar.yaml"]

# The Weir image: site, program, runtime. Debian's FFmpeg is GPL, so the image is too (docs/GPL-NOTICE.md).

# 1. The site.
FROM debian:trixie-slim AS web
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates nodejs npm \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build/web
COPY web/package.json web/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY web .
RUN npm run build

# 2. The program. A stand-in source compiles the dependencies first, so that a change of ours does not compile them again.
FROM rust:1.95-slim-trixie AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential pkg-config libclang-dev \
       libavcodec-dev libavformat-dev libavutil-dev libswscale-dev libswresample-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
RUN mkdir src benches \
    && touch src/lib.rs \
    && echo 'fn main() {}' > src/main.rs \
    && sed -n '/^\[\[bench\]\]/,/^$/s/^name = "\(.*\)"/\1/p' Cargo.toml | while read -r name; do touch "benches/$name.rs"; done \
    && cargo build --release --locked
COPY config config
COPY migrations migrations
COPY src src
COPY --from=web /build/web/dist web/dist
# The copies carry the dates of the checkout: newer ones tell cargo that the stand-in is out of date.
RUN find src -name '*.rs' -exec touch {} + && cargo build --release --locked

# 3. The runtime.
FROM debian:trixie-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
       libavcodec61 libavformat61 libavutil59 libswscale8 libswresample5 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin weir \
    && install -d -o weir -g weir -m 0750 /data
COPY --from=build /build/target/release/weir /usr/local/bin/weir
COPY LICENSE docs/GPL-NOTICE.md /usr/share/doc/weir/
ENV WEIR_DATA_DIR=/data
USER weir
WORKDIR /data
VOLUME /data
# HTTP, RTMP, HTTPS with RTMPS; 9090 is the admin listener (health, metrics) and is not for the outside.
EXPOSE 8080 1935 8443 9090
# Ready means 200 on the admin listener; bash alone asks, so the image needs no HTTP client.
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9090 && printf 'GET /readyz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["weir"]
CMD ["serve"]

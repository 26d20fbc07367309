# syntax=docker/dockerfile:1
# One static binary on an empty file system. Built on the builder's own platform and cross-compiled:
#   docker buildx build --platform linux/amd64,linux/arm64 -t REGISTRY/tenant-kms-operator:0.1.0 --push .

FROM --platform=$BUILDPLATFORM rust:1.95-bookworm AS build
ARG TARGETARCH
WORKDIR /build

# Static glibc: since 2.34 name resolution by hosts file and DNS is part of libc.a, so that nothing is
# loaded at run time and the image can be empty.
ENV RUSTFLAGS="-C target-feature=+crt-static"
# When crossing, g++ brings the C library to link with; gcc only recommends it.
RUN case "$TARGETARCH" in \
      amd64) triple=x86_64 ;; \
      arm64) triple=aarch64 ;; \
      *) echo "no build for TARGETARCH '$TARGETARCH'" >&2; exit 1 ;; \
    esac \
 && echo "$triple-unknown-linux-gnu" > /target \
 && rustup target add "$(cat /target)" \
 && if [ "$(uname -m)" != "$triple" ]; then \
      apt-get update \
   && apt-get install -y --no-install-recommends \
        "gcc-$(echo $triple | tr _ -)-linux-gnu" "g++-$(echo $triple | tr _ -)-linux-gnu" \
   && rm -rf /var/lib/apt/lists/*; \
    fi
# Debian's native compiler has these names as well. (RUSTFLAGS and these hold for the target alone: with
# --target, build scripts and procedural macros are built for the builder without them.)
ENV CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc

# A layer of dependencies, rebuilt only when a manifest or the lock file changes: the workspace with
# empty sources.
COPY Cargo.toml Cargo.lock ./
COPY tests/fakecloud/Cargo.toml tests/fakecloud/
COPY tests/harness/Cargo.toml tests/harness/
COPY xtask/Cargo.toml xtask/
RUN for member in . tests/fakecloud tests/harness xtask; do \
      mkdir -p "$member/src" && touch "$member/src/lib.rs" \
   && echo 'fn main() {}' > "$member/src/main.rs"; \
    done \
 && cargo build --release --locked --package tenant-kms-operator --bin tenant-kms --target "$(cat /target)"

# The product. touch: cargo compares times, and the copied files may be older than the empty ones.
COPY src src
RUN touch src/lib.rs src/main.rs \
 && cargo build --release --locked --package tenant-kms-operator --bin tenant-kms --target "$(cat /target)" \
 && cp "target/$(cat /target)/release/tenant-kms" /tenant-kms

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /tenant-kms /tenant-kms
# A number, so that runAsNonRoot can be checked without a user database.
USER 65532:65532
ENTRYPOINT ["/tenant-kms"]
CMD ["operator"]

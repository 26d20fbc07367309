# syntax=docker/dockerfile:1
# One static binary on an empty file system. Built on the builder's own platform and cross-compiled:
#   docker buildx build --platform linux/amd64,linux/arm64 -t REGISTRY/tenant-kms-operator:0.1.0 --push .

# Pinned by the index of all platforms, so that the compiler of a release does not move by itself. To move it:
#   docker buildx imagetools inspect rust:1.95-bookworm --format '{{.Manifest.Digest}}'
ARG RUST_IMAGE=docker.io/library/rust:1.95-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1

FROM --platform=$BUILDPLATFORM ${RUST_IMAGE} AS build
WORKDIR /build

# What writes the list of crates into the program, and what makes an SBOM of that list; and the newest
# of what the image has of Debian, however old the base image is. Before TARGETARCH, so that all
# platforms share this layer.
RUN cargo install --locked cargo-auditable@0.7.7 auditable2cdx@0.1.0 \
 && rm -rf /usr/local/cargo/registry \
 && apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates jq libc6-dev \
 && rm -rf /var/lib/apt/lists/*

ARG TARGETARCH

# Static glibc: since 2.34 name resolution by hosts file and DNS is part of libc.a, so that nothing is
# loaded at run time and the image can be empty.
ENV RUSTFLAGS="-C target-feature=+crt-static"
# When crossing, the C library to link with is the other architecture's own package: Debian's
# libc6-dev-*-cross gets no security updates.
RUN case "$TARGETARCH" in \
      amd64) triple=x86_64 ;; \
      arm64) triple=aarch64 ;; \
      *) echo "no build for TARGETARCH '$TARGETARCH'" >&2; exit 1 ;; \
    esac \
 && echo "$triple-unknown-linux-gnu" > /target \
 && rustup target add "$(cat /target)" \
 && if [ "$(uname -m)" != "$triple" ]; then \
      dpkg --add-architecture "$TARGETARCH" \
   && apt-get update \
   && apt-get install -y --no-install-recommends \
        "gcc-$(echo $triple | tr _ -)-linux-gnu" "libc6-dev:$TARGETARCH" \
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
COPY tests/fuzz/Cargo.toml tests/fuzz/
COPY tests/harness/Cargo.toml tests/harness/
COPY xtask/Cargo.toml xtask/
RUN for member in . tests/fakecloud tests/fuzz tests/harness xtask; do \
      mkdir -p "$member/src" && touch "$member/src/lib.rs" \
   && echo 'fn main() {}' > "$member/src/main.rs"; \
    done \
 && cargo auditable build --release --locked --package tenant-kms-operator --bin tenant-kms --target "$(cat /target)"

# The product. touch: cargo compares times, and the copied files may be older than the empty ones.
COPY src src
RUN touch src/lib.rs src/main.rs \
 && cargo auditable build --release --locked --package tenant-kms-operator --bin tenant-kms --target "$(cat /target)" \
 && cp "target/$(cat /target)/release/tenant-kms" /tenant-kms

# The SBOM: the crates as the program itself names them, and what the image has of Debian.
RUN auditable2cdx /tenant-kms > /crates.json \
 && for package in "libc6-dev:$TARGETARCH" ca-certificates; do \
      dpkg-query --show --showformat '${Package} ${Version} ${Architecture} ${source:Package}\n' "$package"; \
    done > /debian.txt \
 && jq --rawfile debian /debian.txt ' \
      .components += [$debian | split("\n")[] | select(. != "") | split(" ") \
        | . as [$name, $version, $arch, $source] \
        | "pkg:deb/debian/\($name)@\($version | @uri)?arch=\($arch)&distro=debian-12&upstream=\($source)" as $purl \
        | {type: "library", name: $name, version: $version, purl: $purl, "bom-ref": $purl}]' \
      /crates.json > /tenant-kms.cdx.json

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /tenant-kms.cdx.json /usr/share/sbom/tenant-kms.cdx.json
COPY --from=build /tenant-kms /tenant-kms
# A number, so that runAsNonRoot can be checked without a user database.
USER 65532:65532
ENTRYPOINT ["/tenant-kms"]
CMD ["operator"]

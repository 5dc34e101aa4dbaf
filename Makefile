# What people and the build server run. Anything after ARGS= goes to the program:
#   make demo ARGS="--once -o json"

GO       ?= go
FUZZTIME ?= 30s
ARGS     ?=
SEEDS    ?= 200
WHAT     ?= engine --events 1000000
ROUNDS   ?= 7

# The race detector needs a C compiler. Without one, tests run all the same.
RACE := $(shell command -v "$${CC:-gcc}" >/dev/null 2>&1 && echo -race)

# Packages whose tests start a broker: they run twice, in process and real.
BROKER := $$($(GO) list -f '{{range .TestImports}}{{.}} {{end}}{{range .XTestImports}}{{.}} {{end}} {{.ImportPath}}' ./... \
	| awk '/pipeline\/kafkatest/ {print $$NF}')

.DEFAULT_GOAL := help
.PHONY: help demo build dashboards test check lint bench bench-compare sim fault fault-long fuzz fuzz-long clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## everything on this machine: Kafka, ClickHouse, the service, a shop's year
	./bin/refundguard demo $(ARGS)

build: ## bin/refundguard
	$(GO) build -trimpath -o bin/refundguard ./cmd/refundguard

dashboards: ## Grafana's JSON from dashboards/gen
	$(GO) run ./dashboards/gen dashboards

test: ## every test, on the real Kafka (Java; Maven fetches it) and the real ClickHouse (npm fetches it)
	@[ -n "$(RACE)" ] || echo "no C compiler: tests run without the race detector"
	REFUNDGUARD_TEST_KAFKA=apache $(GO) test $(RACE) -count=1 -p 2 -timeout 30m $(BROKER)
	$(GO) test $(RACE) -timeout 30m ./...
	$(GO) -C tools test -timeout 5m ./...
	$(GO) test -count=1 -timeout 5m -run TestHostileRules ./rules # times mean nothing to the race detector

check: lint ## what to run before a commit: formatting, vet, staticcheck, the fast tests
	$(GO) test -short ./...

lint: ## formatting, vet, staticcheck
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "not formatted (run gofmt -w):"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) -C tools vet ./...
	"$$($(GO) -C tools tool -n staticcheck)" ./...

bench: build ## speed of the engine alone, and through a broker
	./bin/refundguard bench $(ARGS)

# Figures of one run say little on a machine that does other work, too.
bench-compare: ## this tree's speed against another version's, in turn: OLD=v1.0 WHAT="gate --events 500000" ROUNDS=7
	@[ -n "$(OLD)" ] || { echo 'say what to compare with: make bench-compare OLD=HEAD~1'; exit 2; }
	$(GO) -C tools run ./benchcompare -root $(CURDIR) -old $(OLD) -what "$(WHAT)" -rounds $(ROUNDS) $(ARGS)

# Each seed is a process of its own. A report of 1,000 seeds and more is kept.
sim: ## simulations of the core, scheduled by seeds: SEEDS=1000, SEED=7 for one (pipeline/sim)
	$(GO) test ./pipeline/sim -run 'TestSeeds$(if $(SEED),,|TestReplay)' -count=1 -v -timeout 24h -args -exact \
		$(if $(SEED),-seed $(SEED),-seeds $(SEEDS)) -report $(CURDIR)/bin/sim $(ARGS)
	@if [ -z "$(SEED)" ] && [ $(SEEDS) -ge 1000 ]; then cp bin/sim/report.md pipeline/sim/report.md; fi

# Both break the program that is shipped, on the real Kafka. They end in time
# whatever happens: no fault begins after -for, and waiting is bounded.
fault: ## kills, zombies, torn networks, dead brokers under load; a report in bin/fault (under 3 minutes)
	$(GO) test $(RACE) ./pipeline/fault -run TestFaults -count=1 -v -timeout 15m -args -build="$(RACE)" \
		-kills 18 -zombies 8 -terms 4 -proxy 10 -broker 2 -for 100s -report $(CURDIR)/bin/fault $(ARGS)

fault-long: ## 390 faults; its report is kept in pipeline/fault (half an hour)
	$(GO) test ./pipeline/fault -run TestFaults -count=1 -v -timeout 90m -args \
		-kills 200 -zombies 50 -terms 20 -proxy 100 -broker 20 -for 60m -rate 300 -report $(CURDIR)/bin/fault $(ARGS)
	cp bin/fault/report.md pipeline/fault/report.md

fuzz: ## every fuzzer for FUZZTIME (30s), side by side (under 5 minutes on 4 cores)
	$(GO) -C tools run ./fuzz -root $(CURDIR) -time $(FUZZTIME) $(ARGS)

fuzz-long: ## every fuzzer for 10 minutes; its report is kept in tools/fuzz (an hour on 4 cores)
	$(GO) -C tools run ./fuzz -root $(CURDIR) -time 10m -report $(CURDIR)/tools/fuzz/report.md $(ARGS)

clean: ## remove what make made here
	rm -rf bin
